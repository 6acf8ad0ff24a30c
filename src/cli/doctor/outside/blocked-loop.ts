import { firstFew } from '../../../api/messages/wording.ts'
import { showAddress } from '../../proc/addresses.ts'
import { holdersOf } from '../../proc/holders.ts'
import { isStuck } from '../../proc/main-thread.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import type { ThreadSample } from '../../proc/sample.ts'
import { loadOf, type Series, threadOver } from '../../proc/series.ts'
import { descriptorOfCall, type SystemCall } from '../../proc/system-calls.ts'
import { nameOf } from '../../proc/target.ts'
import { count, type Finding, inSeconds, percent } from '../finding.ts'
import { inputOf, longestStandstill, type Standstill } from './standstill.ts'

/**
 * If a thread that never sleeps spends more than this share of its time in the kernel, it makes system calls all the
 * time.
 */
export const CALLS_ALL_THE_TIME = 0.05

export function blockedLoop(proc: ProcFiles, series: Series): Finding | undefined {
  const still = longestStandstill(series, sharedListeners(proc, series))
  return still === undefined ? blockedUnnoticed(proc, series) : withInput(proc, series, still)
}

function withInput(proc: ProcFiles, series: Series, still: Standstill): Finding | undefined {
  const { target } = series
  const threads = threadOver(series, target.pid) ?? []
  const meanwhile = threads.filter((_, at) => {
    const time = series.samples[at]?.at ?? 0
    return time >= still.from.at && time <= still.to.at
  })
  const load = loadOf({ ...series, first: still.from, last: still.to }, target.pid)
  const call = mostOften(meanwhile.flatMap(thread => thread.call ?? []))
  const runs = meanwhile.filter(({ state }) => state === 'R').length > meanwhile.length / 2
  // Data received by programs other than Node is not counted, and requests of equal size look as if none were served.
  // For these, only connections that nobody accepts count.
  const isAccepting = still.to.sockets.every(
    ({ direction, unread }) => direction !== 'listen' || unread === 0,
  )
  if (runs && !target.isNode && isAccepting) return undefined
  const where = runs
    ? [
        `the thread has run all the time (${percent(load.cpu)} of a processor, ${percent(load.inKernel)} of it in the kernel) and has not asked for events: it is in its own code`,
      ]
    : [inCall(proc, series, call, meanwhile.at(-1))]
  return {
    pattern: 'blocked-loop',
    standsStill: runs ? 'in its code' : 'in the kernel',
    title: `${target.isNode ? 'The event loop' : 'The process'} was blocked for at least ${inSeconds(still.to.at - still.from.at)} while input waited.`,
    evidence: [...inputInWords(still, target.isNode), ...where],
    next: [
      ...(runs
        ? [
            'Find the code that runs: with --inspect for Node, py-spy dump or gdb -p for others.',
            'Move long computations to a worker thread, or split them; look for a regular expression or JSON.parse on large input.',
          ]
        : nextFor(call)),
      'Proxies in front give up meanwhile: CLOSE_WAIT sockets here are a consequence, not the cause.',
    ],
  }
}

/** A loop that is blocked while nothing has come in is told from this time on, or for nearly all of a short look. */
const UNNOTICED_MILLIS = 1000
const NEARLY_ALL = 0.8

/**
 * A main thread of Node that stays where no event reaches it, while nothing has come in. If it has connections to serve,
 * somebody will notice soon.
 */
function blockedUnnoticed(proc: ProcFiles, series: Series): Finding | undefined {
  const { target, samples, last, seconds } = series
  // It may have begun after the first look.
  const since = samples.findLastIndex(sample => !isStuck(sample, true)) + 1
  const from = samples[since]
  if (!target.isNode || from === undefined) return undefined
  if (last.at - from.at < Math.min(UNNOTICED_MILLIS, NEARLY_ALL * seconds * 1000)) return undefined
  const served = last.sockets.filter(
    ({ direction, state }) => direction === 'listen' || state === 'ESTABLISHED',
  )
  if (served.length === 0) return undefined
  const main = (threadOver(series, target.pid) ?? []).slice(since)
  const call = mostOften(main.flatMap(thread => thread.call ?? []))
  return {
    pattern: 'blocked-loop',
    standsStill: 'in the kernel',
    title: `The event loop has been blocked for at least ${inSeconds(last.at - from.at)}. No input waits for it yet.`,
    evidence: [
      inCall(proc, series, call, main.at(-1)),
      `so it was in each of the last ${samples.length - since} looks; it has ${count(served.length, 'socket')} to serve`,
    ],
    next: nextFor(call),
  }
}

/** Listening sockets with connections to be accepted that other processes have open too, as workers of a server do. */
export function sharedListeners(proc: ProcFiles, { target, samples }: Series): ReadonlySet<string> {
  const waiting = new Set<string>()
  for (const { sockets } of samples)
    for (const { direction, unread, inode } of sockets)
      if (direction === 'listen' && unread > 0) waiting.add(inode)
  const holders = holdersOf(proc, new Set([...waiting].map(inode => `socket:[${inode}]`)))
  const isShared = (inode: string): boolean =>
    holders.get(`socket:[${inode}]`)?.some(({ pid }) => pid !== target.pid) ?? false
  return new Set([...waiting].filter(isShared))
}

function inputInWords({ to }: Standstill, isNode: boolean): string[] {
  const input = inputOf(to, isNode)
  const waiting = to.sockets.filter(({ inode }) => input.has(inode))
  const ports = waiting.filter(({ direction }) => direction === 'listen')
  const others = waiting.filter(({ direction }) => direction !== 'listen')
  const bytes = others.reduce((sum, { unread }) => sum + unread, 0)
  const halfClosed = to.queued.filter(({ state }) => state === 'CLOSE_WAIT').length
  return [
    ...ports.map(
      ({ local, unread }) =>
        `${count(unread, 'connection')} to ${showAddress(local)} ${unread === 1 ? 'waits' : 'wait'} to be accepted`,
    ),
    ...(halfClosed > 0 ? [`${halfClosed} of them were given up by their peers (CLOSE_WAIT)`] : []),
    ...(others.length > 0
      ? [
          `${count(bytes, 'byte')} unread on ${count(others.length, 'socket')}: ${firstFew(others.map(({ fd, remote, state, unread }) => `fd ${fd} ${showAddress(remote)} ${state} Recv-Q ${unread}`))}`,
        ]
      : []),
  ]
}

function inCall(
  proc: ProcFiles,
  { target, last }: Series,
  call: SystemCall | undefined,
  thread: ThreadSample | undefined,
): string {
  if (call === undefined)
    return `the main thread sleeps in the kernel, in ${thread?.wchan || 'an unknown place'}`
  const fd = descriptorOfCall(call)
  if (call.kind === 'wait') {
    const children = target.children.map(pid => nameOf(proc, pid))
    return `the main thread waits in another loop (${call.name} on fd ${fd}), as execSync and spawnSync do${children.length > 0 ? `; its children: ${firstFew(children)}` : ''}`
  }
  const socket = last.sockets.find(one => one.fd === fd)
  const about =
    fd === undefined
      ? ''
      : ` on fd ${fd} (${socket ? `a connection to ${showAddress(socket.remote)}` : (last.links.get(fd) ?? '?')})`
  return `the main thread sleeps in ${call.name}${about}`
}

function nextFor(call: SystemCall | undefined): string[] {
  switch (call?.kind) {
    case 'lock':
      return ['Look for Atomics.wait, a synchronous worker, or a lock that another thread holds.']
    case 'wait':
    case 'child':
      return ['Replace execSync and spawnSync, or os.system, by calls that do not block.']
    case 'read':
    case 'connect':
    case 'write':
      return ['Replace the synchronous client or file access by one that does not block, with a deadline.']
    default:
      return ['Find the call: with --inspect for Node, py-spy dump or gdb -p for others.']
  }
}

function mostOften(calls: readonly SystemCall[]): SystemCall | undefined {
  const times = new Map<string, number>()
  for (const { name, args } of calls) {
    const key = `${name} ${args[0]}`
    times.set(key, (times.get(key) ?? 0) + 1)
  }
  const [most] = [...times].sort(([, a], [, b]) => b - a)[0] ?? []
  return calls.find(({ name, args }) => `${name} ${args[0]}` === most)
}
