import { notOptions } from '../api/acquire-request.ts'
import { isNews, warn } from '../api/messages/warnings.ts'
import { noOptionOf } from '../api/options/option-names.ts'
import { isRecord, show } from '../api/options/read-input.ts'
import { badOptions } from '../api/options/resolve-options.ts'
import type { PoolStats } from '../api/stats.ts'

/** The time limit of one call in milliseconds, instead of the option that is its default, and a signal that ends it. */
export interface CallOptions {
  timeoutMillis?: number | false | undefined
  signal?: AbortSignal | undefined
}

/** The same options, checked and complete. */
export interface Limits {
  millis: number
  readonly signal: AbortSignal | undefined
}

export const UNLIMITED: Limits = { millis: Number.POSITIVE_INFINITY, signal: undefined }

/** The pool whose method is called. */
interface Called {
  readonly options: { readonly name: string }
  stats(): PoolStats
}

const KNOWN: ReadonlySet<string> = new Set(['timeoutMillis', 'signal'])

/** @throws if `close` was called with something that is not options, such as a number */
export function checkOptions(callOptions: unknown, { options, stats }: Called, call = 'close'): void {
  if (callOptions === null || isRecord(callOptions) || callOptions instanceof AbortSignal) return
  throw badOptions(
    [`${call} takes { timeoutMillis, signal }, got ${show(callOptions)}`],
    options.name,
    stats(),
    `the arguments of ${call}`,
  )
}

/** Once for each pool: generic-pool ignores what is passed here, so it is not refused. */
function warnOfNumber(pool: string, given: number): void {
  if (!isNews(`number given to ${pool}`)) return
  warn(
    'ARGUMENT',
    `ready or drain of pool '${pool}' was given ${given}, which is ignored, as in generic-pool. A time limit is passed ` +
      `as { timeoutMillis: ${given} }`,
  )
}

/**
 * Reads the options of `ready`, `drain` and `close`. Ignores an event's arguments, as generic-pool does:
 * `process.once('SIGTERM', drain)` passes the signal's name.
 */
export function readLimits(callOptions: unknown, fallback: number, { options, stats }: Called): Limits {
  if (typeof callOptions === 'number') warnOfNumber(options.name, callOptions)
  const { timeoutMillis = fallback, signal: given, ...others } = isRecord(callOptions) ? callOptions : {}
  const signal = given ?? undefined
  const unknown = Object.keys(others).filter(name => others[name] !== undefined)
  const issues = unknown.map(name => noOptionOf('this call', name, KNOWN))
  if (callOptions instanceof AbortSignal) issues.push(notOptions(callOptions))
  if (timeoutMillis !== false && !(typeof timeoutMillis === 'number' && timeoutMillis >= 0))
    issues.push(`timeoutMillis must be milliseconds ≥ 0, or false, got ${show(timeoutMillis)}`)
  if (signal !== undefined && !(signal instanceof AbortSignal))
    issues.push(`signal must be an AbortSignal, got ${show(signal)}`)
  if (issues.length > 0) throw badOptions(issues, options.name, stats(), 'the options of the call')
  const millis = timeoutMillis === false ? Number.POSITIVE_INFINITY : (timeoutMillis as number)
  return { millis, signal: signal as AbortSignal | undefined }
}
