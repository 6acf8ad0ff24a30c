import { type AcquirePhase, messageOf, numbersOf, PoolError } from '../errors.ts'
import { inTheWay, nextStep } from '../options/taken-places.ts'
import type { PoolStats } from '../stats.ts'
import { brief, IN_PROGRESS, lastError, progressOf } from './causes.ts'
import { adviceFor } from './connect-advice.ts'
import { isCausedByStalls, isNotableStall } from './stall-blame.ts'
import { counted, firstFew } from './wording.ts'
import { noConnection } from './wrong-arguments.ts'

/**
 * All errors that a pool gives to callers are in this file, so that they have one style: what happened, the numbers,
 * the next step.
 */

const MOST_HOLDERS = 5
const UNLENT = 'Nothing was lent'
/** Most characters of a cause beside long advice, so that a message stays under 400. */
const BESIDE_ADVICE = 180

const of = (stats: PoolStats) => ({ pool: stats.name, stats })

const heldBy = (holders: readonly string[] = []): string =>
  holders.length === 0 ? '' : ` Held, longest first: ${firstFew(holders, MOST_HOLDERS, '; ')}.`

/** What is said of stalls, and where: first if they explain the wait, and last where something else does. */
function stallIn(share: number, millis: number, otherwise: unknown): [first: string, last: string] {
  if (!isNotableStall(share)) return ['', '']
  const words = ` The event loop was blocked for ${Math.round(millis)} ms of that`
  if (isCausedByStalls(share, otherwise !== undefined)) return [`${words}: look for blocking code first.`, '']
  return ['', `${words.replace('that', 'the wait')}, too.`]
}

export function acquireTimeout(
  stats: PoolStats,
  phase: AcquirePhase,
  waitedMillis: number,
  stalledMillis: number,
  cause: unknown,
  holders?: readonly string[],
  silence?: string,
): PoolError {
  const [stalledFirst, stalledLast] = stallIn(stalledMillis / waitedMillis, stalledMillis, cause ?? silence)
  const held = heldBy(holders)
  const silent = silence === undefined ? '' : ` ${silence}.`
  return new PoolError(
    'POOL_ACQUIRE_TIMEOUT',
    `ResourceRequest timed out: pool '${stats.name}' had no connection within ${Math.round(waitedMillis)} ms, ` +
      `phase ${phase} ${numbersOf(stats)}.${stalledFirst}${lastError(cause, stats)}${silent}${held} ${nextStep(stats, phase, cause, silence)}.${stalledLast}`,
    {
      ...of(stats),
      phase,
      waitedMillis,
      stalledMillis,
      ...(cause === undefined ? {} : { cause }),
      ...(holders === undefined ? {} : { holders }),
    },
  )
}

/** For an acquire with `timeoutMillis: 0`. */
export function noneAtHand(stats: PoolStats, phase: AcquirePhase, cause: unknown): PoolError {
  return new PoolError(
    'POOL_ACQUIRE_TIMEOUT',
    `ResourceRequest timed out: pool '${stats.name}' had no connection within 0 ms, phase ${phase} ${numbersOf(stats)}.` +
      `${lastError(cause, stats)} ${inTheWay(stats, phase)}, and timeoutMillis 0 does not wait for that. Give it some milliseconds, or keep ` +
      'connections ready with min.',
    { ...of(stats), phase, waitedMillis: 0, stalledMillis: 0, ...(cause === undefined ? {} : { cause }) },
  )
}

/** The message is exactly generic-pool's, because its users compare it. The rest is in `hint`. */
export function queueFull(stats: PoolStats, most: number): PoolError {
  const hint =
    `pool '${stats.name}': ${most} acquires already wait, and maxWaitingClients allows no more ${numbersOf(stats)}. Slow the ` +
    'callers down, raise max, or raise maxWaitingClients if the wait is acceptable'
  return new PoolError('POOL_QUEUE_FULL', 'max waitingClients count exceeded', { ...of(stats), hint })
}

/** Rejected by CoDel after some wait. */
export function shed(stats: PoolStats, waitedMillis: number, targetMillis: number): PoolError {
  return new PoolError(
    'POOL_SHED',
    `pool '${stats.name}' is overloaded and sheds load: this acquire had waited ${Math.round(waitedMillis)} ms, and ` +
      `no acquire has waited less than the target of ${targetMillis} ms for an interval ${numbersOf(stats)}. Let the ` +
      'caller retry later; send less, shorten the work done on a connection, or raise max if the server can take it',
    { ...of(stats), waitedMillis },
  )
}

/** Refused at once by `earlyRefusal`. */
export function hopeless(stats: PoolStats, estimatedMillis: number, timeout: number): PoolError {
  return new PoolError(
    'POOL_SHED',
    `pool '${stats.name}' would have a connection in about ${Math.round(estimatedMillis)} ms, and this acquire has ` +
      `only ${timeout} ms ${numbersOf(stats)}. Send less, shorten the work done on a connection, or raise max`,
    { ...of(stats), waitedMillis: 0, estimatedMillis },
  )
}

/** What a breaker knows about why no connection can be made. */
interface ConnectTrouble {
  readonly lastError: unknown
  /** What to do, if trying again will not help. */
  readonly permanentAdvice: string | undefined
}

/** No connection can be made, and waiting for one will not help, or has not helped for long enough. */
export function cannotConnect(
  stats: PoolStats,
  { lastError: cause, permanentAdvice }: ConnectTrouble,
): PoolError {
  const times = stats.createFailures === 1 ? '' : `, ${stats.createFailures} times in a row`
  if (permanentAdvice !== undefined) {
    return new PoolError(
      'POOL_CONNECT_FAILED',
      `pool '${stats.name}' cannot connect${times}: ${brief(cause, BESIDE_ADVICE)} ${numbersOf(stats)}. ${permanentAdvice}. It ` +
        'tries again after a second, and then less often',
      { ...of(stats), cause },
    )
  }
  return new PoolError(
    'POOL_UNHEALTHY',
    `pool '${stats.name}' cannot connect${times}: ${brief(cause)} ${numbersOf(stats)}. It keeps trying, at least ` +
      `once a second while connections are asked for. ${adviceFor(cause)}`,
    { ...of(stats), cause },
  )
}

export function aborted(stats: PoolStats, waitedMillis: number, cause: unknown, then = UNLENT): PoolError {
  return new PoolError(
    'POOL_ABORTED',
    `the caller's signal ended the acquire on pool '${stats.name}' after ${Math.round(waitedMillis)} ms ${numbersOf(stats)}: ` +
      `${messageOf(cause)}. ${then}`,
    { ...of(stats), waitedMillis, cause },
  )
}

/** @param then - what happens to the pool now */
export function callAborted(
  stats: PoolStats,
  what: 'ready' | 'drain' | 'close' | 'nodes',
  waitedMillis: number,
  then: string,
  signal: AbortSignal | undefined,
  holders: readonly string[] = [],
): PoolError {
  return new PoolError(
    'POOL_ABORTED',
    `the caller's signal ended ${what} of pool '${stats.name}' after ${Math.round(waitedMillis)} ms ${numbersOf(stats)}: ` +
      `${messageOf(signal?.reason)}.${heldBy(holders)} ${then}`,
    { ...of(stats), waitedMillis, cause: signal?.reason, holders },
  )
}

export function closed(stats: PoolStats): PoolError {
  return new PoolError(
    'POOL_CLOSED',
    `pool is draining and cannot accept work: pool '${stats.name}' is ${stats.state} ${numbersOf(stats)}. ` +
      'Stop acquiring before drain() or close(), or make a new pool',
    of(stats),
  )
}

export function notBorrowed(stats: PoolStats, what: 'release' | 'destroy', resource?: unknown): PoolError {
  const wrong = noConnection(resource, what)
  if (wrong !== undefined) {
    return new PoolError(
      'POOL_NOT_BORROWED',
      `Resource not currently part of this pool: ${what} of pool '${stats.name}' was given ${wrong.what} ` +
        `${numbersOf(stats)}. ${wrong.instead}. Nothing was changed`,
      of(stats),
    )
  }
  return new PoolError(
    'POOL_NOT_BORROWED',
    `Resource not currently part of this pool: ${what} refused, because pool '${stats.name}' has not lent it, or ` +
      `already has it back ${numbersOf(stats)}. Nothing was changed. End each loan once, where it was acquired, or let use() do it`,
    of(stats),
  )
}

export function leaseEnded(stats: PoolStats, what: string): PoolError {
  return new PoolError(
    'POOL_LEASE_ENDED',
    `${what} after the end of its lease on pool '${stats.name}' ${numbersOf(stats)}: the connection may already be lent ` +
      'again. Keep the work inside the lease, or acquire a new one',
    of(stats),
  )
}

/**
 * A loan has ended, and data written in it will not arrive.
 * @param why - in words
 */
export function unsent(stats: PoolStats, bytes: number, why: string): PoolError {
  const what =
    bytes > 0
      ? `with ${bytes} bytes that the server has not accepted`
      : 'while a stream was still being piped into it'
  return new PoolError(
    'POOL_UNSENT',
    `a connection of pool '${stats.name}' was returned ${what}: ${why} ${numbersOf(stats)}. The connection has been ` +
      'destroyed, and what was not sent is lost. Await the end of a write or of a pipe, or the answer to it, before the ' +
      'loan ends; if the server is only slow, raise resetTimeoutMillis',
    of(stats),
  )
}

/** @param holders - who held connections when the time limit passed, longest first */
export function drainTimeout(
  stats: PoolStats,
  millis: number,
  what: string,
  then: string,
  holders: readonly string[],
): PoolError {
  return new PoolError(
    'POOL_DRAIN_TIMEOUT',
    `${what} of pool '${stats.name}' has not ended after ${millis} ms: ${counted(stats.borrowed, 'connection')} still lent, ` +
      `${counted(stats.pending, 'acquire')} waiting ${numbersOf(stats)}.${heldBy(holders)} ${then} End these ` +
      'loans first, or allow more time',
    { ...of(stats), holders },
  )
}

export function notReady(
  stats: PoolStats,
  millis: number,
  { lastError: cause, permanentAdvice }: ConnectTrouble,
): PoolError {
  const why = cause === undefined ? '' : `; last error: ${messageOf(cause)}`
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `pool '${stats.name}' has not reached min=${stats.min} connections within ${Math.round(millis)} ms ${numbersOf(stats)}${why}. ` +
      `It keeps trying. ${permanentAdvice ?? adviceFor(cause)}`,
    { ...of(stats), ...(cause === undefined ? {} : { cause }) },
  )
}

export function connectTimeout(stats: PoolStats, millis: number, cause: unknown): PoolError {
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `pool '${stats.name}': connecting took longer than ${millis} ms${progressOf(cause)} ${numbersOf(stats)}. If the server is slow, ` +
      'raise createTimeoutMillis; if it does not answer, check it, any proxy, and whether both sides use TLS',
    { ...of(stats), cause },
  )
}

/** No connect has failed so far, and none has ended. */
export function stillDialing(stats: PoolStats, millis: number): PoolError {
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `pool '${stats.name}': ${IN_PROGRESS} for ${Math.round(millis)} ms ${numbersOf(stats)}. Check whether the server ` +
      'accepts connections without an answer, a firewall drops packets, or only one side uses TLS. A lower ' +
      'createTimeoutMillis leaves time to try again',
    of(stats),
  )
}

/** What is known of a connection that ended before it had been of use. */
interface EarlyEnd {
  readonly detail: string
  readonly ageMillis: number
  readonly wasLent: boolean
}

export function endedEarly(stats: PoolStats, { detail, ageMillis, wasLent }: EarlyEnd): PoolError {
  const when = wasLent
    ? `ended ${Math.round(ageMillis)} ms after it was created, before its first loan had brought an answer`
    : 'ended before it was lent'
  const next = detail.startsWith('factory.')
    ? 'Check that hook'
    : 'The server, or a proxy in front of it, may be refusing this client after accepting it'
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `pool '${stats.name}': a new connection ${when}: ${detail} ${numbersOf(stats)}. ${next}`,
    of(stats),
  )
}

export function madeTwice(stats: PoolStats, resource: unknown): PoolError {
  const next =
    resource === undefined
      ? 'It returned undefined: make it return the connection, or a promise of it'
      : 'Two borrowers would share one connection; make a new one on every call'
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `pool '${stats.name}': factory.create returned a resource that the pool already holds ${numbersOf(stats)}. ${next}`,
    of(stats),
  )
}

/** generic-pool's users look for this text. No caller gets this error: it is emitted as `factoryDestroyError`. */
export function destroyTimeout(stats: PoolStats, millis: number): Error {
  return new Error(
    `destroy timed out after ${millis} ms: pool '${stats.name}' no longer counts the connection ${numbersOf(stats)}. See ` +
      'whether factory.destroy can hang, or raise destroyTimeoutMillis',
  )
}
