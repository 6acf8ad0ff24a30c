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

function tcpStates(pid: Pid): Map<string, TcpState> {
  const byInode = new Map<string, TcpState>()
  for (const table of ['tcp', 'tcp6']) {
    let text: string
    try {
      text = readFileSync(`/proc/${pid}/net/${table}`, 'latin1')
    } catch {
      continue // A kernel without IPv6.
    }
    for (const line of text.split('\n').slice(1)) {
      const columns = line.trim().split(/\s+/)
      const state = TCP_STATES[Number.parseInt(columns[3] ?? '', 16) - 1]
      if (state !== undefined && columns[9] !== undefined) byInode.set(columns[9], state)
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
  const byInode = tcpStates(pid)
  const tcp: SocketCensus['tcp'] = {}
  for (const inode of inodes) {
    const state = byInode.get(inode)
    if (state !== undefined) tcp[state] = (tcp[state] ?? 0) + 1
  }
  return { fds: open.length, sockets: inodes.length, tcp }
}
