import type { Socket } from 'node:net'
import { fileText, linkOf } from '../runtime/log/output.ts'
import { descriptorOf } from './conn-check.ts'

/** What the kernel says about a socket, whatever the event loop has or has not delivered. */
export interface TcpSocket {
  /** The name that `ss` and `netstat` use: ESTABLISHED, CLOSE_WAIT, … */
  readonly state: string
  /** Bytes that have arrived and that the process has not read. */
  readonly unreadBytes: number
  /** Bytes sent that the peer has not acknowledged. */
  readonly unsentBytes: number
}

/** The TCP states in the order in which /proc/net/tcp numbers them, from 1 (Linux, include/net/tcp_states.h). */
export const TCP_STATES = [
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
] as const

/** A line of /proc/net/tcp or tcp6. */
export interface TcpRow extends TcpSocket {
  /** Addresses as the kernel writes them: hexadecimal, in the byte order of the machine, and the port. */
  readonly local: string
  readonly remote: string
  /** `0`: a connection that waits to be accepted, or one whose process has let go of it. */
  readonly inode: string
}

/** @param table - the text of /proc/net/tcp or tcp6 */
export function* tcpRows(table: string): Generator<TcpRow> {
  for (const line of table.split('\n').slice(1)) {
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    const columns = line.trim().split(/\s+/)
    const state = TCP_STATES[Number.parseInt(columns[3] ?? '', 16) - 1]
    if (state === undefined) continue
    const [unsent = '', unread = ''] = (columns[4] ?? '').split(':')
    yield {
      state,
      unreadBytes: Number.parseInt(unread, 16),
      unsentBytes: Number.parseInt(unsent, 16),
      local: columns[1] ?? '',
      remote: columns[2] ?? '',
      inode: columns[9] ?? '',
    }
  }
}

/**
 * Finds sockets in the kernel's tables for a report, on Linux and for TCP only. It reads files in /proc that list all
 * sockets of the machine: about a millisecond per thousand.
 *
 * @returns the sockets that were found
 */
export function tcpSockets(sockets: readonly Socket[]): Map<Socket, TcpSocket> {
  const found = new Map<Socket, TcpSocket>()
  const byInode = new Map<string, Socket>()
  if (process.platform !== 'linux') return found
  for (const socket of sockets) {
    const fd = descriptorOf(socket)
    const inode = fd === undefined ? undefined : /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/self/fd/${fd}`))?.[1]
    if (inode !== undefined) byInode.set(inode, socket)
  }
  if (byInode.size === 0) return found
  for (const table of ['tcp', 'tcp6']) {
    if (found.size === byInode.size) break
    for (const { inode, state, unreadBytes, unsentBytes } of tcpRows(fileText(`/proc/self/net/${table}`))) {
      const socket = byInode.get(inode)
      if (socket !== undefined) found.set(socket, { state, unreadBytes, unsentBytes })
    }
  }
  return found
}
