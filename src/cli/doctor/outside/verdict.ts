import { firstFew } from '../../../api/messages/wording.ts'
import { showAddress } from '../../proc/addresses.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import { loadOf, type Series, threadIds } from '../../proc/series.ts'
import { count, type Finding, grouped, percent } from '../finding.ts'
import { blockedLoop } from './blocked-loop.ts'
import { halfClosed } from './half-closed.ts'
import { descriptors, silentPeer, stopped } from './others.ts'
import { growing, neverClosed } from './unowned-sockets.ts'
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
        keptOutput(proc, series),
        halfClosed(series),
        growing(series),
        neverClosed(series),
        await silentPeer(proc, series),
      ]
  return [...found, limit].filter(finding => finding !== undefined)
}

/** Why nothing was found: what was examined, and in which state it was. */
export function reasonsOf(series: Series): string[] {
  const { last, samples, target } = series
  const busiest = threadIds(series)
    .map(tid => ({ tid, ...loadOf(series, tid) }))
    .sort((a, b) => b.cpu - a.cpu)[0]
  const closeWait = last.sockets.filter(({ state }) => state === 'CLOSE_WAIT').length
  // Without rights, what was not seen is no reason.
  if (last.links.size === 0)
    return [
      'its sockets, pipes and system calls cannot be seen by this user (see below)',
      `the busiest thread used ${percent(busiest?.cpu ?? 0)} of a processor`,
    ]
  const rests = samples.filter(({ threads }) => threads[0]?.call?.kind === 'wait').length
  return [
    closeWait === 0
      ? 'no socket in CLOSE_WAIT'
      : `${count(closeWait, 'socket')} in CLOSE_WAIT, but only for a moment`,
    'no thread is blocked in a write',
    `the main thread was waiting for events in ${rests} of ${samples.length} looks${busiest ? `; the busiest thread used ${percent(busiest.cpu)} of a processor` : ''}`,
    'no input waited unread',
    `${last.links.size} of ${target.mostDescriptors ?? 'any number of'} descriptors`,
  ]
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
