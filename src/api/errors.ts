import { types } from 'node:util'
import { errorUrl } from './messages/docs-url.ts'
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
  | 'POOL_MOVED'
  | 'POOL_COMMAND_REFUSED'
  | 'POOL_CONNECTION_LOST'
  | 'POOL_BAD_REPLY'
  | 'POOL_UNHEALTHY'
  | 'POOL_ABORTED'
  | 'POOL_CLOSED'
  | 'POOL_NOT_BORROWED'
  | 'POOL_LEASE_ENDED'
  | 'POOL_DRAIN_TIMEOUT'
  | 'POOL_UNSENT'
  | 'POOL_BAD_OPTIONS'

/** What an acquire was waiting for when its time limit passed. */
export type AcquirePhase = 'queue' | 'connect' | 'validate'

/** The parts of a {@link PoolError} besides code and message. Parts that do not apply are left out. */
export interface PoolErrorDetails {
  pool?: string
  stats?: PoolStats
  /** The numbers and the operator's next step, where the message itself must match generic-pool's. */
  hint?: string
  cause?: unknown
  phase?: AcquirePhase
  waitedMillis?: number
  stalledMillis?: number
  /** `POOL_SHED` by `earlyRefusal`: how long the wait would have been. */
  estimatedMillis?: number
  /** In the first timeout of a full pool: who holds its connections, longest first. */
  holders?: readonly string[]
  /** `POOL_BAD_OPTIONS`: each thing that is wrong. */
  issues?: readonly string[]
  /**
   * `POOL_DEADLOCK`, `POOL_NESTED_ACQUIRE`: the stacks of the acquires of the leases that the caller holds, innermost
   * first.
   */
  heldStacks?: readonly string[]
  /** The stack of the acquire call. */
  waitStack?: string
  /**
   * `POOL_DEADLOCK`: the pools that wait for each other. `POOL_NESTED_ACQUIRE`: the pools whose leases the caller
   * holds.
   */
  pools?: readonly string[]
  /** `POOL_MOVED`: which slot has moved, from where and where to. */
  moved?: MovedSlot
}

/** A slot of a Redis Cluster that its node does not serve any more. */
export interface MovedSlot {
  readonly slot: number
  /** `host:port` of the node of the loan. */
  readonly from: string
  /** `host:port` of the new owner; `undefined` if the node has not said it. */
  readonly to: string | undefined
  /** False while the slot is still on its way. */
  readonly isFinal: boolean
}

/** Identifies an error of the pool for every copy of this package. */
const BRAND = Symbol.for('lifeguard-pool.error')

/**
 * The pool's only error class. Tell errors apart by {@link PoolError.code} or {@link isPoolError}.
 *
 * `name` is `'TimeoutError'` for acquire timeouts, because users of generic-pool test for it, and `'PoolError'`
 * otherwise.
 */
export class PoolError extends Error {
  readonly code: PoolErrorCode
  /**
   * Where the installed package explains this code. It is printed with the error, but is no part of the message, which
   * people compare.
   */
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
  declare readonly moved?: MovedSlot
  readonly #stats: PoolStats | undefined
  readonly #holders: readonly string[] | undefined

  static {
    // Must be set before any error takes its stack, whose first line contains the name.
    PoolError.prototype.name = 'PoolError'
    Object.defineProperty(PoolError.prototype, BRAND, { value: true })
    // Readable, but not printed with each error: fifty lines of numbers, or of a hundred holders, of which the message
    // has the first, would hide the message.
    Object.defineProperties(PoolError.prototype, {
      stats: {
        get(this: PoolError): PoolStats | undefined {
          return this.#stats
        },
      },
      holders: {
        get(this: PoolError): readonly string[] | undefined {
          return this.#holders
        },
      },
    })
  }

  constructor(code: PoolErrorCode, message: string, details: PoolErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined)
    if (code === 'POOL_ACQUIRE_TIMEOUT') this.name = 'TimeoutError'
    this.code = code
    // Not by `...rest`, which takes V8 twice as long as all the rest.
    for (const key in details) {
      if (key !== 'cause' && key !== 'stats' && key !== 'holders')
        (this as Record<string, unknown>)[key] = details[key as keyof PoolErrorDetails]
    }
    this.docs = errorUrl(code)
    this.#stats = details.stats
    this.#holders = details.holders
  }
}

type OfPool = 'pool' | 'stats'

/** The properties that an error of each code always has. All others may be missing. */
interface Always {
  POOL_ACQUIRE_TIMEOUT: OfPool | 'phase' | 'waitedMillis' | 'stalledMillis'
  POOL_QUEUE_FULL: OfPool | 'hint'
  POOL_SHED: OfPool | 'waitedMillis'
  POOL_NESTED_ACQUIRE: OfPool | 'heldStacks' | 'waitStack' | 'pools'
  POOL_DEADLOCK: OfPool | 'heldStacks' | 'waitStack' | 'pools' | 'waitedMillis'
  POOL_CONNECT_FAILED: never
  POOL_FAILOVER: 'pool'
  POOL_MOVED: 'pool' | 'moved'
  POOL_COMMAND_REFUSED: 'pool'
  POOL_CONNECTION_LOST: 'pool'
  POOL_BAD_REPLY: never
  POOL_UNHEALTHY: OfPool
  POOL_ABORTED: OfPool | 'waitedMillis'
  POOL_CLOSED: OfPool
  POOL_NOT_BORROWED: OfPool
  POOL_LEASE_ENDED: OfPool
  POOL_DRAIN_TIMEOUT: OfPool
  POOL_UNSENT: OfPool
  POOL_BAD_OPTIONS: 'issues'
}

/** A {@link PoolError} with this code, and with the properties that such an error always has. */
export type PoolErrorOf<C extends PoolErrorCode> = C extends PoolErrorCode
  ? PoolError & { readonly code: C } & Required<Pick<PoolError, Always[C]>>
  : never

/**
 * Is this an error of a pool, with this code? Works across several copies of the package in one process.
 *
 * @param code - one of {@link PoolErrorCode}; any if left out
 */
export function isPoolError<C extends PoolErrorCode>(error: unknown, code: C): error is PoolErrorOf<C>
export function isPoolError(error: unknown, code?: PoolErrorCode): error is PoolError
export function isPoolError(error: unknown, code?: PoolErrorCode): error is PoolError {
  // Checks the brand, because other libraries use such codes too: `POOL_CLOSED` is one of mysql's.
  try {
    if (!(error instanceof Error) || !(BRAND in error)) return false
    return code === undefined || (error as Partial<PoolError>).code === code
  } catch {
    // An object that throws when it is inspected is not one of our errors.
    return false
  }
}

/** A function or a class that the user calls. */
type Entry = (...args: never[]) => unknown

/** Lets the stack of an error begin at the line of the user's code that called this function. */
export function pointAtCaller<E extends Error>(error: E, entry: object): E {
  Error.captureStackTrace(error, entry as Entry)
  return error
}

/**
 * Runs the body of an entry point, and makes an error about its options point at the line that called it.
 *
 * @param entry - the function that the user called
 */
export function forCaller<R>(entry: Entry, run: () => R): R {
  try {
    return run()
  } catch (error) {
    if (isPoolError(error, 'POOL_BAD_OPTIONS')) pointAtCaller(error, entry)
    throw error
  }
}

/** Is it an error, perhaps of another realm? Where a test runner has realms of its own, such as Jest, Node's errors are. */
export const isError = (value: unknown): value is Error =>
  value instanceof Error || types.isNativeError(value)

/** The message of a thrown value of any type. Never throws itself. */
export function messageOf(error: unknown, depth = 0): string {
  try {
    // Happy eyeballs, for example, fails with an AggregateError whose own message is empty.
    if (error instanceof AggregateError && error.message === '' && depth < 3) {
      return error.errors.map(each => messageOf(each, depth + 1)).join('; ')
    }
    return isError(error) ? String(error.message) : String(error)
  } catch {
    return 'something that cannot be shown was thrown'
  }
}

/** The numbers in every message. */
export function numbersOf(stats: PoolStats): string {
  if (stats !== lastStats) {
    lastNumbers = numbersIn(stats)
    lastStats = stats
  }
  return lastNumbers
}

/** The latest result: waiters that leave together share their stats. */
let lastStats: PoolStats | undefined
let lastNumbers = ''

function numbersIn(stats: PoolStats): string {
  const { size, max, idle, borrowed, pending, connecting, validating, resetting, closing } = stats
  const transit = [
    connecting > 0 ? `, connecting=${connecting}` : '',
    validating > 0 ? `, validating=${validating}` : '',
    resetting > 0 ? `, resetting=${resetting}` : '',
    closing > 0 ? `, closing=${closing}` : '',
  ].join('')
  return `(total=${size}, max=${max}, idle=${idle}, borrowed=${borrowed}, pending=${pending}${transit})`
}
