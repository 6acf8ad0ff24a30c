import { firstFew } from '../../../api/messages/wording.ts'
import { isLoopback, showAddress } from '../../proc/addresses.ts'
import { holdersOf } from '../../proc/holders.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import { listeningAt, type Sample, type SocketSample } from '../../proc/sample.ts'
import {
  hasRun,
  loadOf,
  type Series,
  sampleSeries,
  staying,
  threadIds,
  threadOver,
} from '../../proc/series.ts'
import { descriptorOfCall } from '../../proc/system-calls.ts'
import { nameOf, targetOf } from '../../proc/target.ts'
import { count, type Finding, grouped, inSeconds, percent } from '../finding.ts'

/*
 * Problems that are none of the five outages.
 */

export function stopped(series: Series): Finding | undefined {
  const samples = threadOver(series, series.target.pid)
  if (samples === undefined || !samples.every(({ state }) => state === 'T' || state === 't')) return undefined
  const { pid } = series.target
  const isTraced = samples.some(({ state }) => state === 't')
  return {
    pattern: 'stopped',
    standsStill: 'in the kernel',
    title: isTraced ? 'A debugger has stopped the process.' : 'The process is stopped (SIGSTOP, Ctrl-Z).',
    evidence: [
      `state ${samples.at(-1)?.state} in each of ${samples.length} looks over ${inSeconds(series.seconds * 1000)}`,
    ],
    next: isTraced
      ? ['See what traces it: TracerPid in /proc/PID/status.']
      : [`kill -CONT ${pid} lets it go on.`],
  }
}

const NEARLY_ALL = 0.9

export function descriptors({ target, last }: Series): Finding | undefined {
  const { mostDescriptors: most } = target
  const used = last.links.size
  if (most === undefined || used < NEARLY_ALL * most) return undefined
  const kinds = grouped(
    [...last.links.values()],
    link => /^(?:socket|pipe|anon_inode)/.exec(link)?.[0] ?? 'file',
  )
  return {
    pattern: 'descriptors',
    title: `${used} of ${most} descriptors are in use (${percent(used / most)}): accept, connect and open are about to fail with EMFILE.`,
    evidence: [
      `by kind: ${kinds.map(([kind, links]) => `${links.length} ${kind}`).join(', ')}`,
      ...grouped(last.sockets, ({ state, remote, direction }) =>
        direction === 'out' ? `${state} to ${showAddress(remote)}` : `${state}, accepted`,
      )
        .slice(0, 3)
        .map(([kind, sockets]) => `${count(sockets.length, 'socket')} ${kind}`),
    ],
    next: ['Find out what keeps them open; a higher limit (ulimit -n, LimitNOFILE) only gives time.'],
  }
}

/** If a process writes at least this many bytes during the observation, its data moves. */
const FLOWS = 4096

/**
 * Finds servers that do not read what they are sent, or that are stopped, if they run on this machine.
 *
 * The same number of bytes in each sample proves little: requests of equal size look the same while a server
 * handles one after the other. So either the server must have read nothing, or the process must have written nothing.
 */
export async function silentPeer(proc: ProcFiles, series: Series): Promise<Finding | undefined> {
  const open = staying(series, ({ state, direction }) => state === 'ESTABLISHED' && direction === 'out')
  for (const [peer, sockets] of grouped(open, ({ remote }) => showAddress(remote))) {
    const [one] = sockets
    const pid =
      one !== undefined && isLoopback(one.remote) ? serverAt(proc, series, one.remote.port) : undefined
    const server = pid === undefined ? undefined : nameOf(proc, pid)
    const isStopped = server !== undefined && /, stopped\)$/.test(server)
    const left = sockets.filter(({ inode }) => stuckIn(series, inode, 'unreadByPeer'))
    const readsNothing = isStopped || (left.length > 0 && pid !== undefined && !(await reads(proc, pid)))
    const unread = readsNothing ? left : []
    const unsent = sockets.filter(socket => takesNothing(series, socket))
    if (unread.length + unsent.length === 0 && !isStopped) continue
    return {
      pattern: 'silent-peer',
      title: isStopped
        ? `The server at ${peer} is stopped.`
        : `The server at ${peer} does not read what it is sent, for at least ${inSeconds(series.seconds * 1000)}.`,
      evidence: [
        ...(server === undefined ? [] : [`${peer} is ${server}`]),
        `${count(sockets.length, 'connection')} to it, none of which it has closed`,
        ...(unread.length > 0
          ? [
              `on ${unread.length} of them requests have lain there unread for at least ${inSeconds(series.seconds * 1000)}: ${firstFew(unread.map(({ fd, unreadByPeer }) => `fd ${fd}: ${unreadByPeer} bytes`))}`,
            ]
          : []),
        ...(unsent.length > 0
          ? [
              `${unsent.length} of them with data that it has not acknowledged for at least ${inSeconds(series.seconds * 1000)}: ${firstFew(unsent.map(({ fd, unsent: bytes }) => `fd ${fd} Send-Q ${bytes}`))}`,
            ]
          : []),
      ],
      next: [
        isStopped
          ? 'Let the server go on (kill -CONT), or find out who stopped it.'
          : 'Look at the server: run the doctor on it, if it is here.',
        'Give commands a deadline (ioredis: commandTimeout, socketTimeout; lifeguard-pool: stuckMillis).',
      ],
    }
  }
  return undefined
}

/** Bytes that were there in all samples, while none of them was ever taken. */
function stuckIn({ samples }: Series, inode: string, what: 'unsent' | 'unreadByPeer'): boolean {
  let before = 0
  for (const { sockets } of samples) {
    const bytes = sockets.find(socket => socket.inode === inode)?.[what] ?? 0
    if (bytes === 0 || bytes < before) return false
    before = bytes
  }
  return true
}

/**
 * Does the peer of a socket take nothing of what was sent? Node writes by calls that the kernel counts. Others may send
 * by calls that it does not: then the queue must stay as it is to the byte, and whoever waits for room must sleep on.
 */
function takesNothing(series: Series, { inode, fd, unreadByPeer = 0 }: SocketSample): boolean {
  if (!stuckIn(series, inode, 'unsent') || flowed(series) >= FLOWS) return false
  // A peer on this machine may read without making room for more yet.
  if (unreadByPeer > 0 && !stuckIn(series, inode, 'unreadByPeer')) return false
  if (series.target.isNode) return true
  const sizes = new Set(series.samples.map(({ sockets }) => sockets.find(one => one.inode === inode)?.unsent))
  const writers = series.last.threads.filter(
    ({ call }) => call?.kind === 'write' && descriptorOfCall(call) === fd,
  )
  return sizes.size === 1 && writers.every(({ tid }) => !hasRun(series, tid))
}

const flowed = ({ first, last }: Series): number => bytesWritten(last) - bytesWritten(first)

const bytesWritten = ({ threads }: Sample): number =>
  threads.reduce((sum, { io }) => sum + (io?.writtenBytes ?? 0), 0)

/** Does a server read anything? Also true if it may read in a way that /proc does not count. */
async function reads(proc: ProcFiles, pid: number): Promise<boolean> {
  const server = targetOf(proc, pid)
  const series = server && (await sampleSeries(proc, server, SHORT_LOOK_SECONDS))
  if (server === undefined || series === undefined) return true
  const readsOf = ({ threads }: Sample): number => threads.reduce((sum, { io }) => sum + (io?.reads ?? 0), 0)
  // `recv`, which Python uses, is not counted. For such a server, only one that does nothing at all reads nothing.
  const works = !server.isNode && threadIds(series).some(tid => loadOf(series, tid).cpu > IDLE)
  return works || readsOf(series.first) !== readsOf(series.last) || series.first.threads[0]?.io === undefined
}

const SHORT_LOOK_SECONDS = 0.5
const IDLE = 0.05

/** The process that listens on a port of this machine. */
function serverAt(proc: ProcFiles, { target }: Series, port: number): number | undefined {
  const [row] = listeningAt(proc, target.pid, port)
  const link = `socket:[${row?.inode}]`
  const holder = row === undefined ? undefined : holdersOf(proc, new Set([link])).get(link)?.[0]
  return holder?.pid
}
