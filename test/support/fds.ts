import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { TCP_STATES } from '../../src/sockets/tcp-table.ts'

export type TcpState = (typeof TCP_STATES)[number]

/** What a process holds: `sockets` counts all kinds, `tcp` those of TCP by their state. */
export interface SocketCensus {
  fds: number
  sockets: number
  tcp: Partial<Record<TcpState, number>>
}

type Pid = number | 'self'

function links(pid: Pid): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
    } catch {
      // Closed since the directory was read, as is the one that read it.
      return []
    }
  })
}

function table(pid: Pid, name: 'tcp' | 'tcp6' | 'unix'): string[][] {
  try {
    const lines = readFileSync(`/proc/${pid}/net/${name}`, 'latin1').split('\n').slice(1)
    return lines.map(line => line.trim().split(/\s+/))
  } catch {
    return [] // A kernel without IPv6.
  }
}

/** The states of these sockets. Reads a table only if they may be in it, as the kernel takes milliseconds for each. */
function tcpStates(pid: Pid, inodes: readonly string[]): Map<string, TcpState> {
  const byInode = new Map<string, TcpState>()
  const unseen = new Set(inodes)
  if (unseen.size === 0) return byInode
  for (const columns of table(pid, 'unix')) unseen.delete(columns[6] ?? '')
  for (const name of ['tcp', 'tcp6'] as const) {
    if (unseen.size === 0) break
    for (const columns of table(pid, name)) {
      const [, , , code = '', , , , , , inode = ''] = columns
      const state = TCP_STATES[Number.parseInt(code, 16) - 1]
      if (state !== undefined && unseen.delete(inode)) byInode.set(inode, state)
    }
  }
  return byInode
}

/**
 * Counts the sockets of a process (this one by default) through /proc; undefined where there is none. Worker threads
 * share the table of file descriptors, so what they hold counts, too. Costs milliseconds.
 */
export function countSockets(pid: Pid = 'self'): SocketCensus | undefined {
  let open: string[]
  try {
    open = links(pid)
  } catch {
    return undefined
  }
  const inodes = open.flatMap(link => link.match(/^socket:\[(\d+)\]$/)?.[1] ?? [])
  const byInode = tcpStates(pid, inodes)
  const tcp: SocketCensus['tcp'] = {}
  for (const inode of inodes) {
    const state = byInode.get(inode)
    if (state !== undefined) tcp[state] = (tcp[state] ?? 0) + 1
  }
  return { fds: open.length, sockets: inodes.length, tcp }
}
