import { firstFew } from '../../../api/messages/wording.ts'
import { flagsOf, type Holder, holdersOf, O_NONBLOCK, readersOf } from '../../proc/holders.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import { EPOLLIN, EPOLLOUT, type Sample, sampleOf, type ThreadSample } from '../../proc/sample.ts'
import { hasRun, pause, type Series, threadIds, threadOver } from '../../proc/series.ts'
import { descriptorOfCall } from '../../proc/system-calls.ts'
import { nameOf } from '../../proc/target.ts'
import { count, type Finding, inSeconds } from '../finding.ts'

const OUTPUTS: Readonly<Record<number, string>> = { 1: 'stdout', 2: 'stderr' }
const PIPE_OR_SOCKET = /^(?:pipe|socket):\[/
/**
 * If this many bytes pass through a pipe during the observation, it is being read, even if it is full most of the time.
 */
const FLOWS = 4096

/** Evidence in a process that a pipe, or a socket used like one, accepts no more data. */
interface Stuck {
  readonly fd: number
  readonly how: string
  /** Does the whole process wait for it, or all threads that write? */
  readonly blocks: boolean
}

/** Finds an output that nobody reads, so that the process is blocked on it. */
export function unreadOutput(proc: ProcFiles, series: Series): Finding | undefined {
  const stuck = inWrite(proc, series) ?? inRetries(proc, series)
  return stuck && findingOf(proc, series, stuck)
}

/** Finds the same in a process that keeps running: its event loop stores the data that nobody reads. */
export async function keptOutput(proc: ProcFiles, series: Series): Promise<Finding | undefined> {
  const stuck = await inMemory(proc, series)
  return stuck && findingOf(proc, series, stuck)
}

function findingOf(proc: ProcFiles, series: Series, stuck: Stuck): Finding {
  const { fd, how, blocks } = stuck
  const { target, last } = series
  const link = last.links.get(fd) ?? '?'
  const isPipe = !link.startsWith('socket:')
  const others = isPipe ? (holdersOf(proc, new Set([link])).get(link) ?? []) : []
  const readers = readersOf(others)
  const closeWait = [...last.sockets, ...last.queued].filter(({ state }) => state === 'CLOSE_WAIT')
  const unread = closeWait.reduce((sum, socket) => sum + socket.unread, 0)
  const name = OUTPUTS[fd] === undefined ? `descriptor ${fd}` : OUTPUTS[fd]
  return {
    pattern: 'unread-pipe',
    ...(blocks ? { standsStill: 'in the kernel' as const } : {}),
    title: blocks
      ? `The process is blocked: it writes to ${name}, and nobody reads it.`
      : `Nobody reads ${name} of the process: it keeps its output in memory.`,
    evidence: [
      `fd ${fd} (${name}) is ${link}`,
      how,
      isPipe
        ? readersInWords(proc, target.pid, readers)
        : 'who holds the other end of a socket cannot be seen in /proc',
      ...(closeWait.length > 0
        ? [
            `a consequence: ${count(closeWait.length, 'connection')} in CLOSE_WAIT with ${count(unread, 'byte')} unread; no thread is free to serve or close them`,
          ]
        : []),
    ],
    next: [
      'Make something read it again. The process that started this one holds the other end, or has passed it on.',
      'Log to a file or to a collector, not to a pipe of an ssh or a supervisor that may end.',
      'Use a logger that drops and counts lines instead of waiting, such as LogSink of lifeguard-pool/diagnostics.',
    ],
  }
}

function readersInWords(proc: ProcFiles, pid: number, readers: readonly Holder[]): string {
  const others = readers.filter(holder => holder.pid !== pid)
  const names = [...new Set(others.map(holder => holder.pid))].map(one => nameOf(proc, one))
  if (names.length > 0) return `its other end is held by ${firstFew(names)}, and not read there`
  const unseen = (proc.refused.get('fd') ?? 0) > 0 ? ', of those that may be examined' : ''
  return readers.length > 0
    ? `only the process itself holds its other end${unseen}`
    : `no process holds its other end${unseen}`
}

const isOutput = (link: string | undefined, proc: ProcFiles, pid: number, fd: number): boolean =>
  link !== undefined && (PIPE_OR_SOCKET.test(link) || proc.pipe(`${pid}/fd/${fd}`) !== undefined)

/** Threads that stay in the same call of write all the time. */
function inWrite(proc: ProcFiles, series: Series): Stuck | undefined {
  const { target, last, seconds } = series
  const byFd = new Map<number, ThreadSample[]>()
  const read = new Set<number>()
  for (const tid of threadIds(series)) {
    const samples = threadOver(series, tid)
    const [first] = samples ?? []
    if (samples === undefined || first?.call?.kind !== 'write') continue
    const args = first.call.args.join()
    const isSame = samples.every(
      ({ call, io }) => call?.args.join() === args && io?.writes === first.io?.writes,
    )
    const fd = descriptorOfCall(first.call) ?? outputOf(proc, series)
    const isTcp = last.sockets.some(socket => socket.fd === fd)
    if (!isSame || fd === undefined || isTcp) continue
    // Whoever is woken finds some room: somebody reads, however slowly.
    if (hasRun(series, tid)) read.add(fd)
    if (!isOutput(last.links.get(fd), proc, target.pid, fd) && !isTerminal(last.links.get(fd))) continue
    byFd.set(fd, [...(byFd.get(fd) ?? []), first])
  }
  const [most] = [...byFd].filter(([fd]) => !read.has(fd)).sort(([, a], [, b]) => b.length - a.length)
  if (most === undefined) return undefined
  const [fd, threads] = most
  const where = threads[0]?.wchan ? `, asleep in ${threads[0].wchan}` : ''
  return {
    fd,
    blocks: true,
    how: `${count(threads.length, 'thread')} of ${last.threads.length} in the same write to it for at least ${inSeconds(seconds * 1000)}, never woken${where}: ${firstFew(threads.map(({ tid, name }) => `${name} ${tid}`))}`,
  }
}

const isTerminal = (link: string | undefined): boolean => /^\/dev\/(?:pts\/|tty)/.test(link ?? '')

/** Used where `syscall` may not be read: the output that can block. */
const outputOf = (proc: ProcFiles, { target, last }: Series): number | undefined =>
  [2, 1].find(fd => isOutput(last.links.get(fd), proc, target.pid, fd))

/** For this share of the time, up to the end, nothing must have been taken. */
const LEAST_SHARE = 1 / 2

/** A synchronous logger on a non-blocking pipe: it writes nothing, sleeps, and tries again. */
function inRetries(proc: ProcFiles, series: Series): Stuck | undefined {
  const { target, seconds, last } = series
  const samples = threadOver(series, target.pid)
  const to = samples?.at(-1)?.io
  const fd = outputOf(proc, series)
  if (samples === undefined || to === undefined || fd === undefined) return undefined
  // The pipe may have become full only while it was looked at.
  const since = samples.findIndex(({ io }) => io?.writtenBytes === to.writtenBytes)
  const millis = last.at - (series.samples[since]?.at ?? last.at)
  const writes = to.writes - (samples[since]?.io?.writes ?? to.writes)
  if (writes < 2 || millis < seconds * 1000 * LEAST_SHARE) return undefined
  if (samples.slice(since).some(({ call }) => call?.kind === 'wait')) return undefined
  if (((flagsOf(proc, target.pid, fd) ?? 0) & O_NONBLOCK) === 0) return undefined
  if (last.sockets.some(socket => socket.fd === fd)) return undefined
  return {
    fd,
    blocks: true,
    how: `in ${inSeconds(millis)} the main thread called write ${writes} times, not one byte was taken, and between them it sleeps: it waits for room, and never comes back to its event loop`,
  }
}

/** An event loop that waits all the time for room in its output. */
async function inMemory(proc: ProcFiles, series: Series): Promise<Stuck | undefined> {
  const { target, samples, last, first, seconds } = series
  for (const fd of [2, 1]) {
    const link = last.links.get(fd)
    if (link === undefined || !isOutput(link, proc, target.pid, fd)) continue
    if (last.sockets.some(socket => socket.fd === fd)) continue
    const waits = samples.every(({ epolls }) =>
      [...epolls.values()].some(watched => ((watched.get(fd) ?? 0) & EPOLLOUT) !== 0),
    )
    if (!waits) continue
    const written = bytesWritten(last.threads) - bytesWritten(first.threads)
    const readers = link.startsWith('socket:')
      ? []
      : readersOf(holdersOf(proc, new Set([link])).get(link) ?? [])
    const others = readers.filter(({ pid }) => pid !== target.pid)
    if (link.startsWith('socket:') && written > FLOWS) continue
    if ((await Promise.all(others.map(reader => mayRead(proc, reader)))).some(Boolean)) continue
    return {
      fd,
      blocks: false,
      how: `in each of ${samples.length} looks over ${inSeconds(seconds * 1000)} its event loop waited for room there`,
    }
  }
  return undefined
}

const bytesWritten = (threads: readonly ThreadSample[]): number =>
  threads.reduce((sum, { io }) => sum + (io?.writtenBytes ?? 0), 0)

/** A slow reader gets this long to read something. Milliseconds. */
const SLOW_MILLIS = 1000

/** May a process read from the descriptor that it holds? Not if it waits for other things only, or reads nothing at all. */
async function mayRead(proc: ProcFiles, { pid, fd }: Holder): Promise<boolean> {
  const before = sampleOf(proc, pid, 0)
  if (isReading(before, fd)) return true
  await pause(SLOW_MILLIS)
  const after = sampleOf(proc, pid, SLOW_MILLIS)
  if (isReading(after, fd)) return true
  // An event loop reads what it watches. Of any other program that reads something, it may be this.
  return after.epolls.size === 0 && readsOf(before) !== readsOf(after)
}

const readsOf = ({ threads }: Sample): number => threads.reduce((sum, { io }) => sum + (io?.reads ?? 0), 0)

function isReading({ threads, epolls }: Sample, fd: number): boolean {
  const isWatched = [...epolls.values()].some(watched => ((watched.get(fd) ?? 0) & EPOLLIN) !== 0)
  if (isWatched) return true
  return threads.some(({ call, state }) => {
    if (call === undefined) return state === 'R' && epolls.size === 0
    const readsIt = call.kind === 'read' && descriptorOfCall(call) === fd
    return readsIt || (call.kind === 'wait' && !call.name.startsWith('epoll'))
  })
}
