import { holderInWords, silenceAmong, unansweredAmong } from '../../../diagnostics/findings.ts'
import type { PoolReport } from '../../../diagnostics/pool-report.ts'
import { sitesInWords } from '../../../diagnostics/recent-problems.ts'
import type { PoolState, ProcessState } from '../../inspect/pools-of.ts'
import { count, type Finding, inSeconds } from '../finding.ts'

/*
 * What pools of this package say of themselves. They have guarded against it, so the process may seem to be well.
 */

/** What happened longer ago is over. Milliseconds. */
const RECENT_MILLIS = 600_000

/** @param before - the same pools some seconds earlier: what lasts must have been there then, too */
export function reportFindings(before: ProcessState, after: ProcessState): Finding[] {
  return after.pools.flatMap(pool => {
    const { json } = pool
    const earlier = before.pools.find(({ kind, name }) => kind === pool.kind && name === pool.name)?.json
    if (json === undefined || earlier === undefined) return []
    return [
      silent(pool.name, json, earlier),
      leak(pool.name, json),
      deadlock(pool.name, json),
      unreachable(pool.name, json, earlier),
      idleLimit(pool.name, json),
      unreadLog(json, earlier),
    ].filter(finding => finding !== undefined)
  })
}

function silent(name: string, report: PoolReport, earlier: PoolReport): Finding | undefined {
  const { leases } = report
  const words = silenceAmong(leases)
  if (words === undefined || silenceAmong(earlier.leases) === undefined || isOneCommand(report))
    return undefined
  return {
    pattern: 'silent-peer',
    title: `The server of pool '${name}' does not answer.`,
    evidence: [`${words}.`, ...linesOf(leases)],
    next: [
      'Look at the server: run the doctor on it, or ask it from another client.',
      'Give commands a deadline (ioredis: commandTimeout, socketTimeout; stuckMillis).',
    ],
  }
}

/** A single command without an answer may be slow. If others wait for its connection, it is told nevertheless. */
const isOneCommand = ({ leases, stats }: PoolReport): boolean =>
  unansweredAmong(leases).length === 1 && stats.pending === 0

/** Commands that may be slow, or whose server may be silent: that cannot be told from one. */
export const unsureOf = ({ pools }: ProcessState): string[] =>
  pools.flatMap(({ name, json }) => {
    const [one] = json !== undefined && isOneCommand(json) ? unansweredAmong(json.leases) : []
    if (one === undefined) return []
    return [
      `pool '${name}': ${holderInWords(one)} has had no byte of an answer for ${inSeconds(one.quietMillis ?? 0)}: a slow command, or a silent server; one connection does not tell`,
    ]
  })

/** The leases whose commands have waited longest for an answer, with their call sites. */
const linesOf = (leases: PoolReport['leases']): string[] =>
  leases
    .filter(({ busy }) => busy)
    .slice(0, 3)
    .map(lease => `lent: ${holderInWords(lease)}`)

/** Of all pools: who waits for an answer, and where. */
export const waitingLines = ({ pools }: ProcessState): string[] =>
  pools.flatMap(({ json }) => linesOf(json?.leases ?? [])).slice(0, 3)

function leak(name: string, { leases, stats }: PoolReport): Finding | undefined {
  const suspects = leases.filter(({ suspect }) => suspect)
  if (suspects.length === 0) return undefined
  return {
    pattern: 'leak',
    title: `${count(suspects.length, 'connection')} of pool '${name}' ${suspects.length === 1 ? 'was' : 'were'} lent, and ${suspects.length === 1 ? 'is' : 'are'} neither used nor given back.`,
    evidence: [
      `${suspects.length} of ${stats.borrowed} that are lent, of at most ${stats.max}; ${stats.pending} acquires wait`,
      ...suspects.slice(0, 3).map(lease => `lent: ${holderInWords(lease)}`),
    ],
    next: [
      'Look there for a path on which the loan does not end: an exception, an early return. use() ends it on every path.',
    ],
  }
}

function deadlock(name: string, { deadlocks = [], stats }: PoolReport): Finding | undefined {
  const recent = deadlocks.filter(({ agoMillis }) => agoMillis < RECENT_MILLIS)
  const [latest] = recent
  if (latest === undefined) return undefined
  return {
    pattern: 'deadlock',
    title: `Acquires of pool '${name}' are nested, and deadlock; the pool breaks that by rejecting one.`,
    evidence: [
      `${stats.totals.deadlocks} so far, the last one ${inSeconds(latest.agoMillis)} ago`,
      ...recent
        .slice(0, 3)
        .map(({ times, pools, askedAt, heldAt }) => `${times}×: ${sitesInWords(pools, askedAt, heldAt)}`),
    ],
    next: ['Pass the connection on to what is called, instead of acquiring a second one inside.'],
  }
}

function unreachable(name: string, { connecting }: PoolReport, earlier: PoolReport): Finding | undefined {
  if (connecting.breaker !== 'open' || earlier.connecting.breaker !== 'open') return undefined
  return {
    pattern: 'unreachable',
    title: `Pool '${name}' cannot connect to its server.`,
    evidence: [
      `${count(connecting.failures, 'connect')} in a row without a connection; what is known of the last one: ${connecting.lastError}`,
    ],
    next: ['Look at the server and at the network; the pool finds it by itself once it is back.'],
  }
}

function idleLimit(name: string, { troubles, stats }: PoolReport): Finding | undefined {
  const closed = troubles.filter(
    ({ what, agoMillis }) => /as half-closed/.test(what) && agoMillis < RECENT_MILLIS,
  )
  const times = closed.reduce((sum, trouble) => sum + trouble.times, 0)
  const { limitMillis } = stats.serverTimeout
  // One may be a restart. Several, or a limit that is known, are a habit.
  if (times < 2 && (times === 0 || limitMillis === undefined)) return undefined
  return {
    pattern: 'idle-limit',
    title: `The server of pool '${name}', or something on the way to it, closes connections that are idle.`,
    evidence: [
      `it closed ${times} of them lately, the last one ${inSeconds(closed[0]?.agoMillis ?? 0)} ago; the pool noticed each, and lent none`,
      ...(limitMillis === undefined ? [] : [`its idle limit seems to be ${inSeconds(limitMillis)}`]),
    ],
    next: [
      "Leave serverIdleTimeoutMillis at 'auto', or set it, or idleTimeoutMillis, below that limit; look at proxies and firewalls in between.",
    ],
  }
}

function unreadLog({ stats: { log } }: PoolReport, { stats: earlier }: PoolReport): Finding | undefined {
  if (log.waiting === 0 || earlier.log.waiting === 0 || log.dropped === 0) return undefined
  return {
    pattern: 'unread-pipe',
    title: 'Nobody reads stderr, or not fast enough.',
    evidence: [
      `${count(log.dropped, 'line')} of the log of this library ${log.dropped === 1 ? 'was' : 'were'} dropped, ${log.dropped - earlier.log.dropped} of them just now, and ${log.waiting} wait`,
    ],
    next: [
      'Have it read, or written to a file. Another logger may block on it, or keep every line in memory.',
    ],
  }
}

/** The pools all of whose connections look forgotten: there is no other cause to look for. */
export const isAllForgotten = ({ json, max }: PoolState): boolean =>
  json !== undefined && json.leases.filter(({ suspect }) => suspect).length >= max
