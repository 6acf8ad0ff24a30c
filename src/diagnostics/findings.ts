import { isUsedUp, raiseLimit, usedUp } from '../api/budget.ts'
import { isCausedByStalls } from '../api/messages/stall-blame.ts'
import { firstFew } from '../api/messages/wording.ts'
import { callSite } from './call-sites.ts'
import type { LeaseReport, PoolReport } from './pool-report.ts'
import { sitesInWords } from './recent-problems.ts'

/** Stalls in the last minute that add up to this much are the first thing to report. Milliseconds. */
const MUCH_STALL_MILLIS = 250
const MINUTE_MILLIS = 60_000
/** Problems older than this are left to the other sections. Milliseconds. */
const RECENT_MILLIS = 600_000

/**
 * Describes in words what is wrong, the most important first: what an expert would conclude from the rest of the
 * report, with the numbers that show it, and nothing beyond that.
 */
export function findingsIn(report: PoolReport): string[] {
  const server = [...unreachable(report), ...silent(report)]
  const leaks = forgotten(report)
  const deadlocks = broken(report)
  const [first, last] = loop(report, isExplained(report, server, [...leaks, ...deadlocks]))
  return [
    ...first,
    ...server,
    ...leaks,
    ...deadlocks,
    ...nested(report),
    ...budgetUsedUp(report),
    ...full(report),
    ...halfClosed(report),
    ...closedByServer(report),
    ...unread(report),
    ...overloaded(report),
    ...(leaks.length > 0 ? [] : longHeld(report)),
    ...last,
  ]
}

/** Does something other than stalls explain why acquires wait or, if none does, what went wrong before? */
function isExplained(
  { leases, waiters, stats }: PoolReport,
  server: readonly string[],
  others: readonly string[],
): boolean {
  if (server.length > 0) return true
  if (waiters.length === 0) return others.length > 0
  return leases.filter(({ suspect }) => suspect).length >= stats.max
}

/** What is said of stalls, and where: first if all else may follow from them, and last where something else explains it. */
function loop({ stalls, waiters }: PoolReport, isExplained: boolean): [first: string[], last: string[]] {
  const recent = stalls.filter(stall => stall.agoMillis < MINUTE_MILLIS)
  const sum = recent.reduce((total, { millis }) => total + millis, 0)
  if (sum < MUCH_STALL_MILLIS) return [[], []]
  const longest = recent.reduce((most, { millis }) => Math.max(most, millis), 0)
  // Not by spreading: there may be more waiters than a call may have arguments.
  const waited = waiters.reduce((most, { waitedMillis }) => Math.max(most, waitedMillis), 0)
  const within = stalls.reduce((total, { agoMillis, millis }) => {
    return total + Math.max(Math.min(millis, waited - agoMillis), 0)
  }, 0)
  const isCause = waiters.length === 0 ? !isExplained : isCausedByStalls(within / waited, isExplained)
  const words = `The event loop was blocked for ${ms(sum)} of the last minute (${ms(longest)} at the longest)`
  return isCause
    ? [
        [
          `${words}: blocking code, or a process without CPU. Everything else in this report may follow from it; find the ` +
            'code with a CPU profile.',
        ],
        [],
      ]
    : [[], [`${words}, which does not explain the findings above.`]]
}

function unreachable({ connecting, stats }: PoolReport): string[] {
  const slow = stats.connecting > 0 && stats.pending > 0 && stats.borrowed === 0 && connecting.failures === 0
  if (slow)
    return [
      `${stats.pending} acquires wait for connections that are being created: the server is slow to answer.`,
    ]
  if (connecting.failures === 0) return []
  return [
    `Connecting fails, ${connecting.failures} times in a row: ${connecting.lastError}. Callers cannot do anything ` +
      'about it: check the server and the network.',
  ]
}

/**
 * A lease with work in progress and no byte for this long is waiting for a silent server, or for a command that waits
 * on purpose. Milliseconds.
 */
const QUIET_MILLIS = 1000

function silent({ leases }: PoolReport): string[] {
  const found = silenceAmong(leases)
  return found === undefined ? [] : [`${found}. Check the server and the network, and see stuckMillis.`]
}

/** The leases that have waited long for an answer while no data arrives, the longest first. */
export const unansweredAmong = (all: readonly LeaseReport[]): LeaseReport[] =>
  all
    .filter(({ busy, quietMillis = 0 }) => busy && quietMillis >= QUIET_MILLIS)
    .filter(({ command }) => !WAITS_ON_PURPOSE.test(command ?? ''))
    .sort((a, b) => (b.quietMillis ?? 0) - (a.quietMillis ?? 0))

/**
 * The sentence for a pool where most lent connections wait for an answer and no data arrives. A single one does not tell
 * a silent server from a command that takes long.
 */
export function silenceAmong(all: readonly LeaseReport[]): string | undefined {
  const leases = all.filter(({ command }) => !WAITS_ON_PURPOSE.test(command ?? ''))
  const waiting = unansweredAmong(all)
  const [longest] = waiting
  if (longest === undefined || waiting.length * 2 < leases.length) return undefined
  const others = all.length - leases.length
  const least =
    waiting.length > 1 ? `, each of them for at least ${ms(waiting.at(-1)?.quietMillis ?? 0)}` : ''
  return (
    `The server is silent${waiting.length === 1 ? ', or slow with this one command' : ''}: ${waiting.length} of the ${leases.length} lent connections wait for an answer, the longest ` +
    `(${longest.command ?? 'a command'} on #${longest.connection}) for ${ms(longest.quietMillis ?? 0)} without a byte${least}` +
    (others > 0 ? `; ${others} more run commands that wait on purpose, such as BLPOP` : '') +
    (longest.command === undefined ? '. Requests that wait on purpose look the same' : '')
  )
}

/** Redis's commands that the server may leave without an answer for as long as the caller allowed. */
const WAITS_ON_PURPOSE =
  /^(?:B(?:[LR]POP|RPOPLPUSH|LMOVE|LMPOP|ZPOPMIN|ZPOPMAX|ZMPOP)|XREAD(?:GROUP)?|WAIT(?:AOF)?|MONITOR|[PS]?SUBSCRIBE)$/i

function forgotten({ leases, stats }: PoolReport): string[] {
  const suspects = leases.filter(lease => lease.suspect)
  if (suspects.length === 0) return []
  return [
    `${suspects.length} of ${stats.borrowed} leases look forgotten: ${list(suspects)}. Their holders have not used ` +
      'them for longer than leakThresholdMillis; look for a path on which they are not released.',
  ]
}

function broken({ deadlocks, stats }: PoolReport): string[] {
  const [latest] = deadlocks
  if (latest === undefined) return []
  const { deadlocks: count } = stats.totals
  const sites = deadlocks.map(
    ({ times, pools, askedAt, heldAt }) =>
      `${times === 1 ? 'once' : `${times} times`}, ${sitesInWords(pools, askedAt, heldAt)}`,
  )
  return [
    `${count === 1 ? '1 deadlock has' : `${count} deadlocks have`} been broken so far, the last one ${ms(latest.agoMillis)} ` +
      `ago, each by rejecting one acquire: ${firstFew(sites, 3, '; ')}. Pass the connection on instead of acquiring a second ` +
      'one inside, or take all of them in the same order.',
  ]
}

function nested({ leases, waiters }: PoolReport): string[] {
  // A pool that only the async context names may belong to a long-lived lease that every request inherits.
  const isSure = (pool: string): boolean => pool.endsWith("'")
  const waiting = waiters.filter(waiter => waiter.nestedUnder?.some(isSure))
  if (waiting.length === 0) return []
  return [
    `${waiting.length} of ${waiters.length} waiting acquires are made while a connection is held (${leases.length} ` +
      'leases): taking a second connection while holding a first can deadlock the pool.',
  ]
}

function budgetUsedUp({ stats }: PoolReport): string[] {
  const { budget, size, max, pending } = stats
  if (budget === undefined || pending === 0 || !isUsedUp(budget, size, max)) return []
  return [
    `${pending} acquires wait, and this pool may create no connection: it has ${size} of at most ${max}, but ${usedUp(budget)}. ` +
      `Have the others give up connections (idleTimeoutMillis), or ${raiseLimit(budget)}.`,
  ]
}

function full({ leases, stats }: PoolReport): string[] {
  if (stats.pending === 0 || stats.borrowed < stats.max) return []
  const silent = leases.filter(lease => lease.busy === false)
  const hint =
    silent.length * 2 > leases.length
      ? ` ${silent.length} of them have no command in progress: their holders are doing something else.`
      : ''
  return [
    `All ${stats.max} connections are lent, and ${stats.pending} acquires wait. Longest held: ${list(leases)}.${hint}`,
  ]
}

function halfClosed({ connections, stats }: PoolReport): string[] {
  const closed = connections.filter(({ socket }) => socket?.state === 'CLOSE_WAIT')
  const unread = connections.filter(({ socket, state }) => state === 'idle' && (socket?.unreadBytes ?? 0) > 0)
  const found: string[] = []
  if (closed.length > 0) {
    found.push(
      `${closed.length} sockets are in CLOSE_WAIT: the server has closed them, and this process has not yet. If this ` +
        'lasts, the event loop does not get to them.',
    )
  }
  if (unread.length > 0) found.push(`${unread.length} idle connections have bytes that nobody has read.`)
  if (stats.state === 'open' && stats.closing > 0 && stats.closing >= stats.max) {
    found.push(`All places are taken by ${stats.closing} connections that do not finish closing.`)
  }
  return found
}

function closedByServer({ troubles, stats }: PoolReport): string[] {
  const closed = troubles.filter(
    ({ what, agoMillis }) => what.includes('half-closed') && agoMillis < RECENT_MILLIS,
  )
  const times = closed.reduce((sum, trouble) => sum + trouble.times, 0)
  if (times === 0) return []
  const { limitMillis } = stats.serverTimeout
  const limit = limitMillis === undefined ? '' : ` Its idle limit seems to be ${ms(limitMillis)}.`
  return [
    `The server, or something on the way to it, has closed ${times} connections lately. Each was noticed, closed here ` +
      `too, and not lent.${limit} Compare its idle timeout, and those of proxies, with idleTimeoutMillis.`,
  ]
}

function unread({ stats }: PoolReport): string[] {
  const { dropped, waiting } = stats.log
  if (dropped === 0) return []
  return [
    `${dropped} lines of the library's own log have been dropped so far, and ${waiting} wait: nobody reads stderr, or not ` +
      'fast enough. The pool is not affected, but another logger may block on stderr, or keep every line in memory.',
  ]
}

function overloaded({ stats }: PoolReport): string[] {
  const { shed, timeouts } = stats.totals
  if (shed === 0 && timeouts === 0) return []
  return [`Acquires so far: ${timeouts} timed out, ${shed} shed.`]
}

/** From this on a lease is told also while nobody waits for its connection. Milliseconds. */
const LONG_HELD_MILLIS = 10_000

function longHeld({ leases, stats }: PoolReport): string[] {
  const long = leases.filter(({ heldMillis }) => heldMillis >= LONG_HELD_MILLIS)
  if (long.length === 0 || (stats.pending > 0 && stats.borrowed >= stats.max)) return []
  return [
    `${long.length} of ${stats.borrowed} leases have been held for more than ${LONG_HELD_MILLIS / 1000} s: ${list(long)}.`,
  ]
}

const list = (leases: readonly LeaseReport[]): string => firstFew(leases.map(holderInWords), 3, '; ')

/** Describes one lease in a few words: which connection, for how long, taken where. */
export function holderInWords({
  connection,
  heldMillis,
  unusedMillis,
  busy,
  command,
  stack,
}: LeaseReport): string {
  const site = callSite(stack)
  const unused =
    unusedMillis === undefined || unusedMillis < 1000 ? '' : `, not used for the last ${ms(unusedMillis)}`
  const work = busy ? `, at work${command === undefined ? '' : ` (${command})`}` : ''
  return `#${connection} for ${ms(heldMillis)}${work}${unused}${site === undefined ? '' : ` ${site}`}`
}

const ms = (millis: number): string => `${Math.round(millis)} ms`
