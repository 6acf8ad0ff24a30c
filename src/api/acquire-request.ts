import { warnOfPriority } from './messages/wrong-arguments.ts'
import { noOptionOf } from './options/option-names.ts'
import { time } from './options/option-table.ts'
import type { AcquireOptions } from './options/options.ts'
import { isRecord, show } from './options/read-input.ts'
import { badOptions, noLimit, type ResolvedOptions } from './options/resolve-options.ts'
import type { PoolStats } from './stats.ts'

const MILLIS = time(0)
/** The names of the options of an acquire. */
export const ACQUIRE_OPTIONS: ReadonlySet<string> = new Set([
  'priority',
  'signal',
  'timeoutMillis',
  'detached',
])

/**
 * Reads the argument of an acquire: generic-pool's priority number, or {@link AcquireOptions}.
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong
 */
export function readRequest(
  given: number | AcquireOptions | null | undefined,
  options: ResolvedOptions,
  plain: Request,
  stats: () => PoolStats,
): Request {
  if (given === undefined || given === null) return plain
  const issues = typeof given === 'object' || typeof given === 'function' ? requestIssues(given) : []
  if (issues.length > 0) throw badOptions(issues, options.name, stats(), 'the options of the acquire')
  if (typeof given !== 'object') return { ...plain, priority: priorityOf(given, options) }
  const { priority, timeoutMillis, detached } = given
  const signal = given.signal ?? undefined
  return {
    priority: priorityOf(priority, options),
    timeout: timeoutMillis === undefined ? plain.timeout : Math.ceil(noLimit(timeoutMillis)),
    signal,
    detached: detached === true,
  }
}

/**
 * What is wrong with the options of an acquire.
 *
 * @param call - the method that takes them
 * @param known - their names
 */
export function requestIssues(
  given: object,
  call = 'acquire',
  known: ReadonlySet<string> = ACQUIRE_OPTIONS,
): string[] {
  if (typeof given === 'function')
    return [
      'acquire takes no callback: it returns a promise, as in generic-pool 3. Await that, or better: pool.use(fn)',
    ]
  const { signal, timeoutMillis, detached } = given as AcquireOptions
  const issues: string[] = []
  const names = Object.keys(given)
  // An AbortSignal, a Map and the like would otherwise be ignored silently.
  if (Array.isArray(given) || (names.length === 0 && !isRecord(given))) issues.push(notOptions(given))
  else for (const name of names) if (!known.has(name)) issues.push(noOptionOf(call, name, known))
  if (signal !== undefined && signal !== null && !(signal instanceof AbortSignal))
    issues.push(`signal must be an AbortSignal, got ${show(signal)}`)
  if (detached !== undefined && typeof detached !== 'boolean') issues.push('detached must be true or false')
  if (timeoutMillis !== undefined && timeoutMillis !== false && !MILLIS.ok(timeoutMillis))
    issues.push(`timeoutMillis must be ${MILLIS.want}, or false, got ${show(timeoutMillis)}`)
  return issues
}

/** What to do instead of passing this value as the options of a call. */
export const notOptions = (given: unknown): string =>
  given instanceof AbortSignal
    ? 'pass the signal as { signal }'
    : `options must be an object, got ${show(given)}`

/** As in generic-pool, a value that is no number means the highest priority, and a number out of range the lowest. */
function priorityOf(priority: unknown, { priorityRange: range, name }: ResolvedOptions): number {
  const isNumeric = typeof priority === 'string' || typeof priority === 'boolean'
  const number = typeof priority === 'number' || isNumeric ? Number(priority) : Number.NaN
  const line = Math.trunc(number) || 0
  const taken = line < 0 || line >= range ? range - 1 : line
  if (taken !== number && priority !== undefined && priority !== null)
    warnOfPriority(name, priority, range, taken)
  return taken
}

/** Is this request marked `detached`? Options that cannot be read are refused later. */
export function isDetached(given: number | AcquireOptions | undefined): boolean {
  try {
    return typeof given === 'object' && given !== null && given.detached === true
  } catch {
    return false
  }
}

/** The options of an acquire, once they have been read. */
export interface Request {
  readonly priority: number
  /** Whole milliseconds, or `Infinity`. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  /** Whether no holder of a connection waits for it. */
  readonly detached: boolean
}
