import { showAddress } from '../../proc/addresses.ts'
import { EPOLLIN, isOnlyEnd, type Sample, type ThreadSample } from '../../proc/sample.ts'
import type { Series } from '../../proc/series.ts'
import { descriptorOfCall, type SystemCall } from '../../proc/system-calls.ts'

/** Input counts as untouched if the thread neither waited for it nor took any of it for this long. Milliseconds. */
const TOO_LONG_MILLIS = 500

/** A period in which input was left untouched. */
export interface Standstill {
  readonly from: Sample
  readonly to: Sample
  /** Without the time in which the process waited for a processor, because it could do nothing then. */
  readonly millis: number
}

/**
 * The longest such period, if it is too long.
 *
 * @param others - listening sockets that other processes have open as well: whoever is free accepts there
 */
export function longestStandstill(
  series: Series,
  others: ReadonlySet<string> = new Set(),
): Standstill | undefined {
  const [longest] = standstillsOf(series, others).sort((a, b) => b.millis - a.millis)
  return longest !== undefined && longest.millis >= TOO_LONG_MILLIS ? longest : undefined
}

/** Was the process at a standstill in the last sample, but not yet for long enough to be sure? */
export function mayStandStill(series: Series): boolean {
  const last = standstillsOf(series, new Set()).at(-1)
  return last?.to === series.last && longestStandstill(series) === undefined
}

function standstillsOf({ samples, target }: Series, others: ReadonlySet<string>): Standstill[] {
  const all: Standstill[] = []
  let from: Sample | undefined
  let before: Sample | undefined
  let left = new Map<string, number>()
  for (const sample of samples) {
    const threads = target.isNode ? sample.threads.slice(0, 1) : sample.threads
    const input = inputOf(sample, target.isNode)
    for (const inode of others) input.delete(inode)
    if (input.size === 0 || isAttended(sample, threads, input, target.isNode)) from = undefined
    else if (from === undefined || before === undefined || !isUntouched(left, input)) from = sample
    else if (hasAccepted(before, sample) || hasGoneOn(before, sample, target.isNode)) from = sample
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
 * The end of a stream is none: whoever does not act on it has another problem.
 */
export function inputOf({ sockets, epolls }: Sample, isNode: boolean): Map<string, number> {
  // A socket that an event loop does not watch at the moment is paused, so its input is not waited for. A program
  // without an event loop reads one socket at a time, so what waits on another says nothing. Where connections wait to be
  // accepted, somebody waits for certain.
  const isWatched = (fd: number): boolean =>
    [...epolls.values()].some(watched => ((watched.get(fd) ?? 0) & EPOLLIN) !== 0)
  const counts = ({ fd, direction }: Sample['sockets'][number]): boolean =>
    !isNode && direction === 'listen' ? true : isWatched(fd)
  const waiting = sockets.filter(socket => socket.unread > 0 && !isOnlyEnd(socket) && counts(socket))
  return new Map(waiting.map(({ inode, unread }) => [inode, unread]))
}

const isUntouched = (before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): boolean =>
  [...before].every(([inode, bytes]) => (now.get(inode) ?? 0) >= bytes)

/**
 * Has it accepted any of the connections that waited? Others may have come in their place. One that its client has reset
 * is in the kernel's table no more, but counts as waiting.
 */
function hasAccepted(before: Sample, now: Sample): boolean {
  const [earlier, later] = [before, now].map(({ queued }) => new Set(queued.map(connection)))
  if (earlier === undefined || later === undefined) return false
  const hasGone = [...earlier].some(each => !later.has(each))
  const came = [...later].filter(each => !earlier.has(each)).length
  return hasGone && came > backlogOf(now) - backlogOf(before)
}

const backlogOf = ({ sockets }: Sample): number =>
  sockets.reduce((sum, { direction, unread }) => sum + (direction === 'listen' ? unread : 0), 0)

const connection = ({ local, remote }: Sample['queued'][number]): string =>
  `${showAddress(local)} ${showAddress(remote)}`

/**
 * Has it taken any input? Node reads by calls that the kernel counts. Others may receive by calls that it does not: one
 * that sleeps has gone on if it has run at all.
 */
function hasGoneOn(before: Sample, now: Sample, isNode: boolean): boolean {
  if (readsOf(before, isNode) !== readsOf(now, isNode)) return true
  if (isNode) return false
  const [main] = now.threads
  return main?.state !== 'R' && main?.ranMillis !== before.threads[0]?.ranMillis
}

/** Is one of the threads asleep in a call that this input would wake it from? */
function isAttended(
  { sockets, epolls }: Sample,
  threads: readonly ThreadSample[],
  input: ReadonlyMap<string, number>,
  isNode: boolean,
): boolean {
  return threads.some(({ call, state }) => {
    // A thread of its own for each listener sleeps in accept.
    if (!isNode && call?.name.startsWith('accept')) return state !== 'R' && acceptsAny(sockets, input, call)

    if (call?.kind !== 'wait') return false
    const watched = call.name.startsWith('epoll') ? epolls.get(descriptorOfCall(call) ?? -1) : undefined
    // The thread is in poll or select, or in a call whose arguments cannot be read.
    if (watched === undefined) return true
    return sockets.some(({ inode, fd }) => input.has(inode) && watched.has(fd))
  })
}

function acceptsAny(
  sockets: Sample['sockets'],
  input: ReadonlyMap<string, number>,
  call: SystemCall,
): boolean {
  const fd = descriptorOfCall(call)
  return fd === undefined || sockets.some(socket => socket.fd === fd && input.has(socket.inode))
}

function readsOf({ threads }: Sample, onlyMain: boolean): number {
  const counted = onlyMain ? threads.slice(0, 1) : threads
  return counted.reduce((sum, { io }) => sum + (io?.reads ?? 0), 0)
}

const queuedOf = ({ threads }: Sample): number => threads[0]?.queuedMillis ?? 0
