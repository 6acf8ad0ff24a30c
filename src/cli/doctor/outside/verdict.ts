import { firstFew } from '../../../api/messages/wording.ts'
import { showAddress } from '../../proc/addresses.ts'
import { holdersOf } from '../../proc/holders.ts'
import { isAtRest, isInOtherLoop } from '../../proc/main-thread.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import { isOnlyEnd, type Sample } from '../../proc/sample.ts'
import { isBeingRead, loadOf, type Series, threadIds, threadOver } from '../../proc/series.ts'
import { descriptorOfCall } from '../../proc/system-calls.ts'
import { nameOf } from '../../proc/target.ts'
import { count, type Finding, grouped, percent } from '../finding.ts'
import { blockedLoop, sharedListeners } from './blocked-loop.ts'
import { halfClosed } from './half-closed.ts'
import { descriptors, silentPeer, stopped } from './others.ts'
import { growing, neverClosed, neverRead } from './unowned-sockets.ts'
import { keptOutput, unreadOutput } from './unread-pipe.ts'

/**
 * What is wrong, with causes before their consequences: a stopped process also reads nothing, and a blocked one closes
 * nothing.
 */
export async function findingsOf(proc: ProcFiles, series: Series): Promise<Finding[]> {
  const limit = descriptors(series)
  const isStill = stopped(series) ?? unreadOutput(proc, series) ?? blockedLoop(proc, series)
  const found = isStill
    ? [isStill]
    : [
        await keptOutput(proc, series),
        halfClosed(series),
        growing(series),
        neverClosed(series),
        neverRead(series),
        await silentPeer(proc, series),
      ]
  return [...found, limit].filter(finding => finding !== undefined)
}

/** Why nothing was found: what was examined, and in which state it was. */
export function reasonsOf(proc: ProcFiles, series: Series): string[] {
  const { last, target } = series
  const busiest = threadIds(series)
    .map(tid => ({ tid, ...loadOf(series, tid) }))
    .sort((a, b) => b.cpu - a.cpu)[0]
  const load = `the busiest thread used ${percent(busiest?.cpu ?? 0)} of a processor`
  // Without rights, what was not seen is no reason.
  if (last.links.size === 0 && proc.refused.has('fd'))
    return ['its sockets, pipes and system calls cannot be seen by this user (see below)', load]
  return [
    ...halfClosedInWords(series),
    ...writesInWords(series),
    `${mainThreadInWords(proc, series)}; ${load}`,
    ...unreadInWords(proc, series),
    `${last.links.size} of ${target.mostDescriptors ?? 'any number of'} descriptors`,
  ]
}

function halfClosedInWords(series: Series): string[] {
  const all = series.last.sockets.filter(({ state }) => state === 'CLOSE_WAIT')
  const read = all.filter(({ inode }) => isBeingRead(series, inode))
  const others = all.length - read.length
  return [
    ...(all.length === 0 ? ['no socket in CLOSE_WAIT'] : []),
    ...(others > 0 ? [`${count(others, 'socket')} in CLOSE_WAIT, but only for a moment`] : []),
    ...(read.length > 0
      ? [
          `${count(read.length, 'socket')} in CLOSE_WAIT, of which the data that came before the end is being read: ${firstFew(read.map(({ fd }) => `fd ${fd}`))}`,
        ]
      : []),
  ]
}

function writesInWords(series: Series): string[] {
  const slow = threadIds(series).flatMap(tid => {
    const samples = threadOver(series, tid) ?? []
    const writes = samples.flatMap(({ call }) => (call?.kind === 'write' ? [descriptorOfCall(call)] : []))
    const [fd] = writes
    const link = fd === undefined ? '' : (series.last.links.get(fd) ?? '')
    const isWaiting = writes.length * 2 > samples.length && /^(?:pipe|socket):/.test(link)
    return isWaiting ? [`fd ${fd} (${link})`] : []
  })
  if (slow.length === 0) return ['no thread stays in a write']
  return [
    `${count(slow.length, 'thread')} in a write most of the time, to ${firstFew([...new Set(slow)])}, but woken now and then: its reader is slow, and reads`,
  ]
}

function placeOf(sample: Sample, isNode: boolean): string {
  const [main] = sample.threads
  if (main?.state === 'R') return 'running'
  const name = main?.call?.name ?? main?.wchan ?? ''
  return isNode && isInOtherLoop(sample)
    ? `${name} of another loop than its event loop, as in execSync`
    : name
}

function mainThreadInWords(proc: ProcFiles, { samples, target }: Series): string {
  const rests = samples.filter(sample => isAtRest(sample, target.isNode)).length
  const words = `the main thread was waiting for events in ${rests} of ${samples.length} looks`
  const places = samples
    .filter(sample => !isAtRest(sample, target.isNode))
    .map(sample => placeOf(sample, target.isNode))
  const [place, looks] = grouped(places.filter(Boolean), each => each)[0] ?? []
  if (place === undefined || looks === undefined) return words
  const children = target.children.map(pid => nameOf(proc, pid))
  const isWaiting = place !== 'running' && /^(?:e?poll|wait)/.test(place) && children.length > 0
  const turns =
    target.isNode && place === 'running' && rests === 0
      ? ' (whether its event loop turns cannot be seen, since no input waited: --inspect asks)'
      : ''
  return `${words}, and ${place === 'running' ? place : `in ${place}`} in ${looks.length}${isWaiting ? `, for its children ${firstFew(children)}` : ''}${turns}`
}

function unreadInWords(proc: ProcFiles, series: Series): string[] {
  const { last, target } = series
  const shared = sharedListeners(proc, series)
  const lines = last.sockets
    .filter(({ inode }) => shared.has(inode))
    .map(({ local, inode }) => {
      const holders = holdersOf(proc, new Set([`socket:[${inode}]`])).get(`socket:[${inode}]`) ?? []
      const others = [...new Set(holders.map(({ pid }) => pid))].filter(pid => pid !== target.pid)
      return `connections to ${showAddress(local)} wait to be accepted, where others accept too: look at ${firstFew(others.map(pid => nameOf(proc, pid)))}`
    })
  const unread = last.sockets.filter(
    socket => socket.direction !== 'listen' && socket.unread > 0 && !isOnlyEnd(socket),
  )
  if (unread.length > 0)
    lines.push(
      `${count(
        unread.reduce((sum, socket) => sum + socket.unread, 0),
        'byte',
      )} unread on ${firstFew(unread.map(({ fd, remote }) => `fd ${fd} (${showAddress(remote)})`))}: that alone is no fault, since a program may read them later`,
    )
  return lines.length > 0 ? lines : ['no input waited unread']
}

/** Describes the sockets of a process in a few lines. */
export function socketsInWords({ first, last }: Series): string[] {
  const before = new Set(first.sockets.map(({ inode }) => inode))
  const groups = grouped(last.sockets, ({ direction, remote, local, state }) =>
    direction === 'listen'
      ? `LISTEN ${showAddress(local)}`
      : `${state} ${direction === 'out' ? `to ${showAddress(remote)}` : `at port ${local.port}`}`,
  )
  return groups.map(([group, sockets]) => {
    const sum = (of: (socket: (typeof sockets)[number]) => number): number =>
      sockets.reduce((total, socket) => total + of(socket), 0)
    const unread = sum(({ unread: bytes }) => bytes)
    const unsent = sum(({ unsent: bytes }) => bytes)
    if (group.startsWith('LISTEN')) return `${group}, ${count(unread, 'connection')} to be accepted`
    const fresh = sockets.filter(({ inode }) => !before.has(inode)).length
    return `${sockets.length} ${group}, Recv-Q ${unread}, Send-Q ${unsent}${fresh > 0 ? `, ${fresh} of them new` : ''}: ${firstFew(sockets.map(({ fd }) => `fd ${fd}`))}`
  })
}
