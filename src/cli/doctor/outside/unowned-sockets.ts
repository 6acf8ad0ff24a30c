import { firstFew } from '../../../api/messages/wording.ts'
import { showAddress } from '../../proc/addresses.ts'
import type { Sample } from '../../proc/sample.ts'
import { type Series, staying } from '../../proc/series.ts'
import { count, type Finding, grouped, inSeconds } from '../finding.ts'

/** Fewer new sockets than this may come from a pool at work. */
const MANY = 10
/** The number must grow in each of this many parts of the time, so that it is no single burst. */
const PARTS = 3

/** Finds accepted connections that their peers have closed, and that the process neither watches nor closes. */
export function neverClosed(series: Series): Finding | undefined {
  const stay = staying(series, ({ state, direction }) => state === 'CLOSE_WAIT' && direction === 'in')
  if (stay.length === 0) return undefined
  const { last } = series
  const watched = new Set([...last.epolls.values()].flatMap(epoll => [...epoll.keys()]))
  const strangers = last.epolls.size === 0 ? [] : stay.filter(({ fd }) => !watched.has(fd))
  const ports = grouped(stay, ({ local }) => `port ${local.port}`)
  return {
    pattern: 'unowned-sockets',
    title: `${count(stay.length, 'accepted connection')} that the client has closed ${stay.length === 1 ? 'is' : 'are'} never closed here.`,
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
