import { firstFew } from '../../../api/messages/wording.ts'
import { showAddress } from '../../proc/addresses.ts'
import { EPOLLIN, type Sample } from '../../proc/sample.ts'
import { isBeingRead, type Series, staying } from '../../proc/series.ts'
import { descriptorOfCall } from '../../proc/system-calls.ts'
import { count, type Finding, grouped, inSeconds } from '../finding.ts'

/** Fewer new sockets than this may come from a pool at work. */
const MANY = 10
/** The number must grow in each of this many parts of the time, so that it is no single burst. */
const PARTS = 3

/** Finds accepted connections that their peers have closed, and that the process neither watches nor closes. */
export function neverClosed(series: Series): Finding | undefined {
  const stay = staying(series, ({ state, direction }) => state === 'CLOSE_WAIT' && direction === 'in').filter(
    ({ inode }) => !isBeingRead(series, inode),
  )
  if (stay.length === 0) return undefined
  const { last } = series
  const watched = new Set([...last.epolls.values()].flatMap(epoll => [...epoll.keys()]))
  const strangers = last.epolls.size === 0 ? [] : stay.filter(({ fd }) => !watched.has(fd))
  const ports = grouped(stay, ({ local }) => `port ${local.port}`)
  return {
    pattern: 'unowned-sockets',
    title: `${count(stay.length, 'accepted connection')} that the client has closed ${stay.length === 1 ? 'is' : 'are'} still open here.`,
    evidence: [
      ...ports.map(
        ([port, sockets]) =>
          `${count(sockets.length, 'socket')} at ${port} in CLOSE_WAIT for at least ${inSeconds(series.seconds * 1000)}: ${firstFew(sockets.map(({ fd, unread }) => `fd ${fd} Recv-Q ${unread}`))}`,
      ),
      ...(strangers.length > 0
        ? [`${strangers.length} of them are watched by no epoll: no event can reach them`]
        : []),
    ],
    next: [
      'Either a failure between accept and the first read loses the socket (look for errors in the log at the times of the accepts), or the handlers of these requests wait without end, for example for a connection of a pool: use --inspect.',
    ],
  }
}

/** As much as a request may have. More of it waits because its reader is slower than its sender. */
const REQUEST_BYTES = 16_384
/** A program without an event loop may be busy with another connection for a while. */
const LONG_SECONDS = 2.5

/** Finds accepted connections, still open, with a request that nobody reads, and of which no event tells anybody. */
export function neverRead(series: Series): Finding | undefined {
  const { samples, last, seconds } = series
  const isWatching = ({ epolls }: Sample, fd: number): boolean =>
    [...epolls.values()].some(watched => ((watched.get(fd) ?? 0) & EPOLLIN) !== 0)
  const first = new Map(series.first.sockets.map(({ inode, unread }) => [inode, unread]))
  const stay = staying(
    series,
    ({ state, direction, unread, inode }) =>
      state === 'ESTABLISHED' &&
      direction === 'in' &&
      unread > 0 &&
      unread < REQUEST_BYTES &&
      unread === first.get(inode),
  ).filter(({ fd }) => !samples.some(sample => isWatching(sample, fd)))
  const hasLoop = samples.every(({ epolls }) => epolls.size > 0)
  const mayRead = (fd: number): boolean =>
    samples.some(({ threads }) =>
      threads.some(({ call }) => {
        if (call?.kind === 'wait') return !call.name.startsWith('epoll')
        return call?.kind === 'read' && descriptorOfCall(call) === fd
      }),
    )
  if (!hasLoop && seconds < LONG_SECONDS) return undefined
  const orphans = hasLoop ? stay : stay.filter(({ fd }) => !mayRead(fd))
  if (orphans.length === 0) return undefined
  // Where threads or processes share the work (the primary process of `cluster`), a request may wait for one that is free.
  const { isNode, children } = series.target
  const isLost = children.length === 0 && (isNode || (hasLoop && last.threads.length === 1))
  return {
    pattern: isLost ? 'unowned-sockets' : 'unread-requests',
    title: `${count(orphans.length, 'accepted connection')} ${orphans.length === 1 ? 'holds' : 'hold'} a request that nobody reads, and nothing waits for it.`,
    evidence: [
      `${firstFew(orphans.map(({ fd, remote, unread }) => `fd ${fd} from ${showAddress(remote)} Recv-Q ${unread}`))}: the same in each of ${samples.length} looks over ${inSeconds(seconds * 1000)}`,
      hasLoop
        ? `none of them is watched by one of its ${count(last.epolls.size, 'epoll')}: no event can reach them`
        : 'no thread was in a call that reads one of them, or waits for it',
    ],
    next: [
      isLost
        ? 'Either they were lost between accept and the first read (look for errors in the log at the times of the accepts), or they are paused on purpose (pause(), pauseOnConnect).'
        : `Either all that serve requests are busy, or these were lost between accept and the first read: look at ${children.length > 0 ? `its children (${firstFew(children.map(pid => `pid ${pid}`))})` : 'the stacks of its threads (py-spy dump, jstack, gdb -p)'}.`,
    ],
  }
}

/** Finds connections that the process opens in growing numbers and does not close. */
export function growing(series: Series): Finding | undefined {
  const { first, last, samples, seconds } = series
  const peers = new Set(last.sockets.filter(({ direction }) => direction === 'out').map(peerOf))
  for (const peer of peers) {
    const at = (sample: Sample) =>
      new Set(sample.sockets.filter(one => peerOf(one) === peer).map(one => one.inode))
    const [before, after] = [at(first), at(last)]
    const made = [...after].filter(inode => !before.has(inode)).length
    const closed = [...before].filter(inode => !after.has(inode)).length
    const steps = Array.from({ length: PARTS + 1 }, (_, part) => {
      const sample = samples[Math.round((part * (samples.length - 1)) / PARTS)]
      return sample === undefined ? 0 : at(sample).size
    })
    const grows = steps.every((size, part) => part === 0 || size > (steps[part - 1] ?? 0))
    if (made < MANY || !grows || closed * 10 > made) continue
    return {
      pattern: 'unowned-sockets',
      title: `The process opens more and more connections to ${peer} and does not close them.`,
      evidence: [
        `sockets to ${peer}: ${steps.join(', ')} in ${inSeconds(seconds * 1000)}, ${made} new and ${closed} closed`,
        `${count(last.sockets.filter(one => peerOf(one) === peer && one.state === 'CLOSE_WAIT').length, 'socket')} of them in CLOSE_WAIT`,
      ],
      next: [
        'Every failure after a connect must close the socket: handshake, AUTH, SELECT, an init hook that throws, a deadline that passes before the connection is there.',
        '--inspect shows how many of them the pools of the process own. A pool that is only being filled stops growing: run the doctor again.',
      ],
    }
  }
  return undefined
}

const peerOf = ({ remote }: { remote: { host: string; port: number } }): string => showAddress(remote)
