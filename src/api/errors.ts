import { errorUrl } from './docs-url.ts'
import type { PoolStats } from './stats.ts'

/** Every way in which the pool refuses or fails. */
export type PoolErrorCode =
  | 'POOL_ACQUIRE_TIMEOUT'
  | 'POOL_QUEUE_FULL'
  | 'POOL_SHED'
  | 'POOL_NESTED_ACQUIRE'
  | 'POOL_DEADLOCK'
  | 'POOL_CONNECT_FAILED'
  | 'POOL_FAILOVER'
  | 'POOL_UNHEALTHY'
  | 'POOL_ABORTED'
  | 'POOL_CLOSED'
  | 'POOL_NOT_BORROWED'
  | 'POOL_LEASE_ENDED'
  | 'POOL_DRAIN_TIMEOUT'
  | 'POOL_UNSENT'
  | 'POOL_BAD_OPTIONS'

/** What an acquire was waiting for when its time was up. */
export type AcquirePhase = 'queue' | 'connect' | 'validate'

/** The parts of a {@link PoolError} beside code and message; what does not apply is left out. */
export interface PoolErrorDetails {
  pool?: string
  stats?: PoolStats
  /** The numbers and the operator's next step, where the message itself must stay as generic-pool's users know it. */
  hint?: string
  cause?: unknown
  phase?: AcquirePhase
  waitedMillis?: number
  stalledMillis?: number
  /** `POOL_SHED` by `earlyRefusal`: how long the wait would have been. */
  estimatedMillis?: number
  /** Of a full pool's first timeout: who holds its connections, longest first. */
  holders?: readonly string[]
  /** `POOL_BAD_OPTIONS`: each thing that is wrong. */
  issues?: readonly string[]
  /** `POOL_DEADLOCK`, `POOL_NESTED_ACQUIRE`: where the leases that this context holds were taken, innermost first. */
  heldStacks?: readonly string[]
  /** Where the acquire was called. */
  waitStack?: string
  /** `POOL_DEADLOCK`: the pools of the knot. `POOL_NESTED_ACQUIRE`: those that this context holds leases of. */
  pools?: readonly string[]
}

/** By which every copy of this package knows an error of the pool. */
const BRAND = Symbol.for('lifeguard-pool.error')

/**
 * The one error class of the pool. Tell errors apart by {@link PoolError.code} or {@link isPoolError}.
 *
 * `name` is `'TimeoutError'` for acquire timeouts, as users of generic-pool test for it, and `'PoolError'` otherwise.
 */
export class PoolError extends Error {
  readonly code: PoolErrorCode
  /** Where this code is explained. Printed with the error, and not part of its message, which people compare. */
  readonly docs: string
  declare readonly pool?: string
  declare readonly stats?: PoolStats
  declare readonly hint?: string
  declare readonly phase?: AcquirePhase
  declare readonly waitedMillis?: number
  declare readonly stalledMillis?: number
  declare readonly estimatedMillis?: number
  declare readonly holders?: readonly string[]
  declare readonly issues?: readonly string[]
  declare readonly heldStacks?: readonly string[]
  declare readonly waitStack?: string
  declare readonly pools?: readonly string[]
  readonly #stats: PoolStats | undefined

  static {
    // Before any error takes its stack, whose first line has the name.
    PoolError.prototype.name = 'PoolError'
    Object.defineProperty(PoolError.prototype, BRAND, { value: true })
    // To be read, and not to be printed with each error: fifty lines would hide the message.
    Object.defineProperty(PoolError.prototype, 'stats', {
      get(this: PoolError): PoolStats | undefined {
        return this.#stats
      },
    })
  }

  constructor(code: PoolErrorCode, message: string, details: PoolErrorDetails = {}) {
    const { cause, stats, ...rest } = details
    super(message, 'cause' in details ? { cause } : undefined)
    if (code === 'POOL_ACQUIRE_TIMEOUT') this.name = 'TimeoutError'
    this.code = code
    Object.assign(this, rest)
    this.docs = errorUrl(code)
    this.#stats = stats
  }
}

type OfPool = 'pool' | 'stats'

/** What an error of each code always says; everything else may be missing. */
interface Said {
  POOL_ACQUIRE_TIMEOUT: OfPool | 'phase' | 'waitedMillis' | 'stalledMillis'
  POOL_QUEUE_FULL: OfPool | 'hint'
  POOL_SHED: OfPool | 'waitedMillis'
  POOL_NESTED_ACQUIRE: OfPool | 'heldStacks' | 'waitStack' | 'pools'
  POOL_DEADLOCK: OfPool | 'heldStacks' | 'waitStack' | 'pools' | 'waitedMillis'
  POOL_CONNECT_FAILED: never
  POOL_FAILOVER: 'pool'
  POOL_UNHEALTHY: OfPool
  POOL_ABORTED: OfPool | 'waitedMillis'
  POOL_CLOSED: OfPool
  POOL_NOT_BORROWED: OfPool
  POOL_LEASE_ENDED: OfPool
  POOL_DRAIN_TIMEOUT: OfPool
  POOL_UNSENT: OfPool
  POOL_BAD_OPTIONS: 'issues'
}

/** A {@link PoolError} with this code, and with what such an error always says. */
export type PoolErrorOf<C extends PoolErrorCode> = C extends PoolErrorCode
  ? PoolError & { readonly code: C } & Required<Pick<PoolError, Said[C]>>
  : never

/**
 * Is this an error of a pool, and with this code? Works across several copies of the package in one process.
 *
 * @param code - one of {@link PoolErrorCode}; left out: any
 */
export function isPoolError<C extends PoolErrorCode>(error: unknown, code: C): error is PoolErrorOf<C>
export function isPoolError(error: unknown, code?: PoolErrorCode): error is PoolError
export function isPoolError(error: unknown, code?: PoolErrorCode): error is PoolError {
  // Other libraries have codes like these, too: `POOL_CLOSED` is one of mysql's.
  try {
    if (!(error instanceof Error) || !(BRAND in error)) return false
    return code === undefined || (error as Partial<PoolError>).code === code
  } catch {
    // What throws when it is looked at is none of ours.
    return false
  }
}

/**
 * Runs what an entry point does; an error for its options points at the line that called it.
 *
 * @param entry - the function that the user has called
 */
export function forCaller<R>(entry: (...args: never[]) => unknown, run: () => R): R {
  try {
    return run()
  } catch (error) {
    if (isPoolError(error, 'POOL_BAD_OPTIONS')) Error.captureStackTrace(error, entry)
    throw error
  }
}

/** The message of whatever was thrown. Never throws itself, whatever that was. */
export function messageOf(error: unknown, depth = 0): string {
  try {
    // Happy eyeballs, for one, fails with an AggregateError whose own message is empty.
    if (error instanceof AggregateError && error.message === '' && depth < 3) {
      return error.errors.map(each => messageOf(each, depth + 1)).join('; ')
    }
    return error instanceof Error ? String(error.message) : String(error)
  } catch {
    return 'something that cannot be shown was thrown'
  }
}

/** The numbers that every message carries. */
export function numbersOf(stats: PoolStats): string {
  const { size, max, idle, borrowed, pending, connecting, validating, resetting, closing } = stats
  const transit = [
    connecting > 0 ? `, connecting=${connecting}` : '',
    validating > 0 ? `, validating=${validating}` : '',
    resetting > 0 ? `, resetting=${resetting}` : '',
    closing > 0 ? `, closing=${closing}` : '',
  ].join('')
  return `(total=${size}, max=${max}, idle=${idle}, borrowed=${borrowed}, pending=${pending}${transit})`
}
