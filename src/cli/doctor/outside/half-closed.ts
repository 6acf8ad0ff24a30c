import { firstFew } from '../../../api/messages/wording.ts'
import { showAddress } from '../../proc/addresses.ts'
import { isBeingRead, loadOf, type Series, staying, threadIds } from '../../proc/series.ts'
import { count, type Finding, grouped, inSeconds, percent } from '../finding.ts'
import { CALLS_ALL_THE_TIME } from './blocked-loop.ts'

/** A thread that wants to run for this share of the time hardly ever sleeps. */
const NEVER_SLEEPS = 0.9

/** Finds connections that the peer has closed and the process has not, in all samples. */
export function halfClosed(series: Series): Finding | undefined {
  // Whoever still reads what came before the end will come to the end, too.
  const stay = staying(series, ({ state }) => state === 'CLOSE_WAIT').filter(
    ({ inode }) => !isBeingRead(series, inode),
  )
  if (stay.length === 0) return undefined
  const millis = series.seconds * 1000
  const spinning = threadIds(series)
    .map(tid => ({ tid, ...loadOf(series, tid) }))
    .find(({ busy, inKernel }) => busy >= NEVER_SLEEPS && inKernel >= CALLS_ALL_THE_TIME)
  const theirs = stay.filter(({ direction }) => direction === 'out')
  // Accepted connections are another pattern, unless a loop keeps spinning on them.
  if (theirs.length === 0 && spinning === undefined) return undefined
  const peers = grouped(stay, ({ remote, direction, local }) =>
    direction === 'out' ? `to ${showAddress(remote)}` : `at port ${local.port}`,
  )
  const unread = stay.filter(one => one.unread > 1)
  return {
    pattern: 'half-closed',
    title: `${count(stay.length, 'connection')} that the other side has closed ${stay.length === 1 ? 'is' : 'are'} still open here${spinning ? ', and a thread spins on it' : ''}.`,
    evidence: [
      ...peers.map(
        ([peer, sockets]) =>
          `${count(sockets.length, 'socket')} ${peer} in CLOSE_WAIT for at least ${inSeconds(millis)}: ${firstFew(sockets.map(({ fd }) => `fd ${fd}`))}`,
      ),
      unread.length > 0
        ? `${unread.length} of them with data that nobody has read: ${firstFew(unread.map(one => `fd ${one.fd} Recv-Q ${one.unread}`))}`
        : `nothing else to read on them: the end of the stream is what nobody has ${stay.some(one => one.unread === 1) ? 'read' : 'acted on'}`,
      ...(spinning
        ? [
            `thread ${spinning.tid} never sleeps (${percent(spinning.busy)} of the time running or ready to run, ${percent(spinning.inKernel)} of it in the kernel): its loop is woken by ${count(stay.length, 'socket')} and does nothing about it`,
          ]
        : ['the process does not spin: each only costs a descriptor, until it is used or closed']),
    ],
    next: [
      'The server, or a proxy on the way, closes idle connections: compare its idle limit (Redis: CONFIG GET timeout; MySQL: wait_timeout) with that of the pool.',
      'Use a pool that looks at idle connections and closes half-closed ones, and ends them before the server does.',
      `To get rid of them now: restart it, or close them from outside: gdb -p ${series.target.pid} -batch -ex 'call (int)close(${stay[0]?.fd})'.`,
    ],
  }
}
