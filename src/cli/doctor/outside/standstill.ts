import { EPOLLIN, type Sample, type ThreadSample } from '../../proc/sample.ts'
import type { Series } from '../../proc/series.ts'
import { descriptorOfCall } from '../../proc/system-calls.ts'

/** Input counts as untouched if the thread neither waited for it nor took any of it for this long. Milliseconds. */
const TOO_LONG_MILLIS = 500

/** A period in which input was left untouched. */
export interface Standstill {
  readonly from: Sample
  readonly to: Sample
  /** Without the time in which the process waited for a processor, because it could do nothing then. */
  readonly millis: number
}

/** The longest such period, if it is too long. */
export function longestStandstill(series: Series): Standstill | undefined {
  const [longest] = standstillsOf(series).sort((a, b) => b.millis - a.millis)
  return longest !== undefined && longest.millis >= TOO_LONG_MILLIS ? longest : undefined
}

/** Was the process at a standstill in the last sample, but not yet for long enough to be sure? */
export function mayStandStill(series: Series): boolean {
  const last = standstillsOf(series).at(-1)
  return last?.to === series.last && longestStandstill(series) === undefined
}

function standstillsOf({ samples, target }: Series): Standstill[] {
  const all: Standstill[] = []
  let from: Sample | undefined
  let before: Sample | undefined
  let left = new Map<string, number>()
  for (const sample of samples) {
    const threads = target.isNode ? sample.threads.slice(0, 1) : sample.threads
    const input = inputOf(sample)
    if (input.size === 0 || isAttended(sample, threads, input)) from = undefined
    else if (from === undefined || before === undefined || !isUntouched(left, input)) from = sample
    else if (readsOf(before, target.isNode) !== readsOf(sample, target.isNode)) from = sample
    else {
      if (all.at(-1)?.from === from) all.pop()
      const millis = sample.at - from.at - (queuedOf(sample) - queuedOf(from))
      all.push({ from, to: sample, millis })
    }
    left = input
    before = sample
  }
  return all
}

/**
 * The input that is in the kernel for the process, per socket: unread bytes, or connections that nobody has accepted.
 */
export function inputOf({ sockets, epolls }: Sample): Map<string, number> {
  // A socket that an event loop does not watch at the moment is paused, so its input is not waited for. Without an
  // epoll, all sockets count.
  const isWatched = (fd: number): boolean =>
    epolls.size === 0 || [...epolls.values()].some(watched => ((watched.get(fd) ?? 0) & EPOLLIN) !== 0)
  const waiting = sockets.filter(({ fd, unread }) => unread > 0 && isWatched(fd))
  return new Map(waiting.map(({ inode, unread }) => [inode, unread]))
}

const isUntouched = (before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): boolean =>
  [...before].every(([inode, bytes]) => (now.get(inode) ?? 0) >= bytes)

/** Is one of the threads asleep in a call that this input would wake it from? */
function isAttended(
  { sockets, epolls }: Sample,
  threads: readonly ThreadSample[],
  input: ReadonlyMap<string, number>,
): boolean {
  return threads.some(({ call }) => {
    if (call?.kind !== 'wait') return false
    const watched = call.name.startsWith('epoll') ? epolls.get(descriptorOfCall(call) ?? -1) : undefined
    // The thread is in poll or select, or in a call whose arguments cannot be read.
    if (watched === undefined) return true
    return sockets.some(({ inode, fd }) => input.has(inode) && watched.has(fd))
  })
}

function readsOf({ threads }: Sample, onlyMain: boolean): number {
  const counted = onlyMain ? threads.slice(0, 1) : threads
  return counted.reduce((sum, { io }) => sum + (io?.reads ?? 0), 0)
}

const queuedOf = ({ threads }: Sample): number => threads[0]?.queuedMillis ?? 0
