import { readFileSync, readlinkSync } from 'node:fs'

/*
 * What an operator reads of a process from outside, without asking it anything: a process that is stuck answers
 * nothing. Everything is undefined where there is no /proc.
 */

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}

/** The fields of /proc/PID/stat behind the name, which may itself hold spaces and brackets. */
function fields(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`)
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** Linux counts CPU time in ticks of USER_HZ, which is 100 on every architecture that Node runs on. */
const TICK_MILLIS = 10

/** CPU time used so far, user and system, in milliseconds. */
export function cpuMillis(pid: number): number | undefined {
  const stat = fields(pid)
  return stat && (Number(stat[11]) + Number(stat[12])) * TICK_MILLIS
}

/** Resident memory in bytes. */
export function rssBytes(pid: number): number | undefined {
  const kilobytes = read(`/proc/${pid}/status`)?.match(/^VmRSS:\s+(\d+) kB$/m)?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}

/** What a file descriptor is: `pipe:[123]`, `socket:[456]`, a path. */
export function fdTarget(pid: number, fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    return undefined
  }
}

/** Where in the kernel the main thread sleeps, as in `pipe_write`; only a few may ask. */
export function sleepsIn(pid: number): string | undefined {
  const symbol = read(`/proc/${pid}/wchan`)
  return symbol && symbol !== '0' ? symbol : undefined
}

/** Connections whose local end is one of some ports, counted by state, and the bytes that nobody has read from them. */
export interface PortCensus {
  closeWait: number
  established: number
  /** Recv-Q of those in CLOSE_WAIT, in bytes. */
  unread: number
}

/**
 * Counts what the kernel holds for some ports of this machine. Unlike the list of a process's file descriptors, that
 * includes connections which nobody has accepted yet. Costs milliseconds, and many on a machine with many connections.
 */
export function portCensus(...ports: number[]): PortCensus | undefined {
  const text = read('/proc/net/tcp')
  if (text === undefined) return undefined
  const census: PortCensus = { closeWait: 0, established: 0, unread: 0 }
  const locals = ports.map(port => `:${port.toString(16).toUpperCase().padStart(4, '0')}`)
  for (const line of text.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/, 5)
    if (!locals.some(local => columns[1]?.endsWith(local))) continue
    // 01 and 08 of include/net/tcp_states.h.
    if (columns[3] === '01') census.established += 1
    if (columns[3] !== '08') continue
    census.closeWait += 1
    census.unread += Number.parseInt(columns[4]?.split(':')[1] ?? '0', 16)
  }
  return census
}
