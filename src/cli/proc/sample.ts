import { type TcpRow, tcpRows } from '../../sockets/tcp-table.ts'
import { type Address, addressOf } from './addresses.ts'
import type { ProcFiles } from './proc-files.ts'
import { type SystemCall, systemCallOf } from './system-calls.ts'

/** One thread at one moment. Times count from its start. */
export interface ThreadSample {
  readonly tid: number
  readonly name: string
  /** R: running or ready, S: sleeping, D: sleeping and not interruptible, T: stopped. */
  readonly state: string
  readonly call: SystemCall | undefined
  /** Where in the kernel it sleeps. Empty if it does not sleep, or where that cannot be read. */
  readonly wchan: string
  /** The time on a processor, and the time ready but waiting for one. Milliseconds. */
  readonly ranMillis: number
  readonly queuedMillis: number
  /** Parts of its running time, in the kernel's clock ticks. */
  readonly userTicks: number
  readonly systemTicks: number
  /** Calls of read and write, and the bytes they moved. Undefined where that cannot be read. */
  readonly io: { reads: number; writes: number; readBytes: number; writtenBytes: number } | undefined
}

type Direction = 'in' | 'out' | 'listen'

export interface SocketSample {
  readonly fd: number
  readonly inode: string
  readonly state: string
  readonly direction: Direction
  readonly local: Address
  readonly remote: Address
  readonly unread: number
  readonly unsent: number
  /** Bytes that its peer has not read, where the peer is on this machine too. */
  readonly unreadByPeer: number | undefined
}

/** A connection that the kernel has accepted for a port of the process, but the process has not. */
type QueuedSocket = Omit<SocketSample, 'fd' | 'inode' | 'direction' | 'unreadByPeer'>

/** Is there nothing to read but the end of the stream? It counts as one byte. */
export const isOnlyEnd = ({ state, unread }: { state: string; unread: number }): boolean =>
  state === 'CLOSE_WAIT' && unread <= 1

/** What an epoll watches: the events of each descriptor, as epoll_ctl has them. */
type Watched = ReadonlyMap<number, number>
export const EPOLLIN = 1
export const EPOLLOUT = 4

/** A process at one moment, as seen from outside. */
export interface Sample {
  /** Milliseconds. */
  readonly at: number
  readonly threads: readonly ThreadSample[]
  readonly sockets: readonly SocketSample[]
  readonly queued: readonly QueuedSocket[]
  /** What each descriptor leads to. */
  readonly links: ReadonlyMap<number, string>
  readonly epolls: ReadonlyMap<number, Watched>
}

/** Of a process with more threads, only this many are read, because each takes time. */
const MOST_THREADS = 64

export function sampleOf(proc: ProcFiles, pid: number, at: number): Sample {
  // Threads before sockets: what counts is where a thread was while input was already there.
  const threads = threadsOf(proc, pid)
  const links = new Map<number, string>()
  const epolls = new Map<number, Watched>()
  for (const name of proc.names(`${pid}/fd`)) {
    const link = proc.link(`${pid}/fd/${name}`)
    if (link === '') continue
    links.set(Number(name), link)
    if (link === 'anon_inode:[eventpoll]') epolls.set(Number(name), watchedBy(proc, pid, name))
  }
  return { at, threads, links, epolls, ...socketsOf(proc, pid, links) }
}

function threadsOf(proc: ProcFiles, pid: number): ThreadSample[] {
  const ids = proc
    .names(`${pid}/task`)
    .map(Number)
    .sort((a, b) => a - b)
  return ids.slice(0, MOST_THREADS).flatMap(tid => {
    const folder = `${pid}/task/${tid}`
    const stat = proc.text(`${folder}/stat`)
    if (stat === '') return []
    // The name itself may contain spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [ran = 0, queued = 0] = proc.text(`${folder}/schedstat`).split(' ').map(Number)
    const wchan = proc.text(`${folder}/wchan`).trim().replace(/^0$/, '')
    return [
      {
        tid,
        name: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
        state: fields[0] ?? '?',
        call: systemCallOf(proc.text(`${folder}/syscall`), wchan, process.arch),
        wchan,
        ranMillis: ran / 1e6,
        queuedMillis: queued / 1e6,
        userTicks: Number(fields[11]),
        systemTicks: Number(fields[12]),
        io: ioOf(proc.text(`${folder}/io`)),
      },
    ]
  })
}

function ioOf(text: string): ThreadSample['io'] {
  const count = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
  if (text === '') return undefined
  return {
    reads: count('syscr'),
    writes: count('syscw'),
    readBytes: count('rchar'),
    writtenBytes: count('wchar'),
  }
}

function watchedBy(proc: ProcFiles, pid: number, fd: string): Watched {
  const lines = proc.text(`${pid}/fdinfo/${fd}`).matchAll(/^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)/gm)
  return new Map([...lines].map(([, tfd, events = '0']) => [Number(tfd), Number.parseInt(events, 16)]))
}

function socketsOf(
  proc: ProcFiles,
  pid: number,
  links: ReadonlyMap<number, string>,
): Pick<Sample, 'sockets' | 'queued'> {
  const fds = new Map<string, number>()
  for (const [fd, link] of links) {
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
    if (inode !== undefined) fds.set(inode, fd)
  }
  const rows = rowsOf(proc, pid, fds.keys())
  const portOf = (address: string): string => address.slice(address.lastIndexOf(':'))
  const listening = new Set<string>()
  const own = new Set<string>()
  const unread = new Map<string, number>()
  for (const { state, local, remote, inode, unreadBytes } of rows) {
    unread.set(`${local} ${remote}`, unreadBytes)
    if (state !== 'LISTEN') continue
    listening.add(portOf(local))
    if (fds.has(inode)) own.add(portOf(local))
  }
  const sockets: SocketSample[] = []
  const queued: QueuedSocket[] = []
  for (const row of rows) {
    const fd = fds.get(row.inode)
    const isIn = listening.has(portOf(row.local))
    const direction = row.state === 'LISTEN' ? 'listen' : isIn ? 'in' : 'out'
    const unreadByPeer = unread.get(`${row.remote} ${row.local}`)
    if (fd !== undefined) sockets.push({ fd, inode: row.inode, direction, unreadByPeer, ...plain(row) })
    else if (row.inode === '0' && WAIT_TO_BE_ACCEPTED.has(row.state) && own.has(portOf(row.local)))
      queued.push(plain(row))
  }
  return { sockets, queued }
}

/**
 * The tables of the network namespace of a process, which may differ from ours, as far as its sockets can be in them. The
 * kernel takes milliseconds for each, most of all on a machine with much memory, and few processes use both.
 */
function rowsOf(proc: ProcFiles, pid: number, inodes: Iterable<string>): TcpRow[] {
  const unseen = new Set(inodes)
  if (unseen.size === 0) return []
  for (const [, inode = ''] of proc.text(`${pid}/net/unix`).matchAll(UNIX_INODE)) unseen.delete(inode)
  const rows: TcpRow[] = []
  for (const table of ['tcp', 'tcp6']) {
    if (unseen.size === 0) break
    for (const row of tcpRows(proc.text(`${pid}/net/${table}`))) {
      // It belongs to no process any more.
      if (row.state === 'TIME_WAIT') continue
      rows.push(row)
      unseen.delete(row.inode)
    }
  }
  return rows
}

/** Of a line in /proc/net/unix, after its address, count, protocol, flags, type and state. */
const UNIX_INODE = /^[0-9a-f]+: (?:\w+ +){5}(\d+)/gim

/** Who listens at a port, in the network namespace of a process. */
export function listeningAt(proc: ProcFiles, pid: number, port: number): { inode: string; local: Address }[] {
  const rows = ['tcp', 'tcp6'].flatMap(table => [...tcpRows(proc.text(`${pid}/net/${table}`))])
  return rows
    .filter(({ state }) => state === 'LISTEN')
    .map(({ inode, local }) => ({ inode, local: addressOf(local) }))
    .filter(({ local }) => local.port === port)
}

const WAIT_TO_BE_ACCEPTED = new Set(['ESTABLISHED', 'CLOSE_WAIT'])

const plain = ({ state, local, remote, unreadBytes, unsentBytes }: TcpRow): QueuedSocket => ({
  state,
  local: addressOf(local),
  remote: addressOf(remote),
  unread: unreadBytes,
  unsent: unsentBytes,
})
