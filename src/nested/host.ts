import type { PoolError } from '../api/errors.ts'
import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { PoolStats, SlotState, Totals } from '../api/stats.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import type { Awaiters } from './awaiters.ts'
import type { Judged } from './wait-for-graph.ts'

/** Our own function that the user has called: where our frames end in a stack. */
export type Entry = (...args: never[]) => unknown

/** A connection, as far as deadlocks go. While it is lent, its loan is a lease that somebody may wait with. */
export interface Lease {
  readonly state: SlotState
  /** The number of the current loan. */
  readonly loan: number
  readonly resource: unknown
  /** What its borrower has. */
  readonly lent: unknown
  /** Where the loan was taken, and who awaited it, if that was noted. */
  readonly trace: StackTrace | undefined
  /** Has a function failed that ran on it? */
  isDoubtful: boolean
  /** The function under which `use` runs on this connection. */
  frame: UseFrame | undefined
}

/** What `use` is given to run. */
export type Work<R> = (resource: never) => R | PromiseLike<R>

/**
 * The function under which `use` runs on one connection. It has a name of its own, `lease 17`, and awaits what the user's
 * function returns: so whoever waits for a connection inside of `use`, and is awaited by it, shows in V8's async stack
 * which lease cannot end before. Nothing has to be tracked for that.
 */
export interface UseFrame {
  /** The number in its name. */
  readonly number: number
  readonly lease: Lease
  /** `undefined` under `nested: 'allow'`. */
  readonly pool: PoolNode | undefined
  /** The loan in which it runs, or has run last. */
  loan: number
  /** How many run in it now: several share the loan under `nested: 'reuse'`. */
  users: number
  /** Runs a function on the connection. The last of its users ends the loan, unless that has been ended already. */
  run<R>(work: Work<R>): Promise<R>
}

/** An acquire that waits. */
export interface Wait {
  readonly since: number
  readonly hasEnded: boolean
  readonly deadline: number
  /** Marked as nobody's wait. */
  readonly detached: boolean
  readonly trace: StackTrace | undefined
  /** Who awaits it, once it has been asked. */
  readonly awaiters: Awaiters | undefined
  /** Looks up who awaits it: known once the microtasks that this queues have run. */
  ask(): void
}

/** What the search asks of a pool. Pools of other copies of this package answer the same questions. */
export interface PoolNode {
  readonly name: string
  /** Connections that are lent. */
  readonly lent: number
  /** Can it serve somebody without a lease being ended, or has it done so within its grace? */
  canMove(): boolean
  /** Has no connection come or gone for so many graces, nor since then, if that is given? */
  hasStood(graces: number, since?: number): boolean
  /** What is lent. */
  leases(): Held[]
  /** Has the connection neither unanswered work, nor had any traffic for so many graces? */
  isQuiet(lease: Lease, graces: number): boolean
  /** Those who wait, but for those marked as nobody's wait. */
  waits(): Wait[]
  /** Does it wait until it is served: is it not about to end by itself? */
  isBound(wait: Wait): boolean
  /** May it be judged: has it waited so for a grace? */
  isDue(wait: Wait): boolean
  /** These stood in a knot, and are served before all others. */
  prioritise(waits: readonly Wait[]): void
  /** Rejects the waiter. @returns false if it has left meanwhile */
  reject(wait: Wait, knot: Knot): boolean
}

/** A lease of a pool, as long as its loan lasts. */
export interface Held {
  readonly lease: Lease
  readonly pool: PoolNode
  readonly loan: number
  /** Taken by `acquire` or `lease()`. */
  readonly isPlain: boolean
}

/** Under `nested: 'forbid'`, where the async context keeps the lease that it waits for. */
export interface LeaseScope {
  begin(lease: Lease): void
}

/** An acquire that waits for a pool, and the leases that cannot end before it is served. */
export type WaitEdge = Judged<Wait, Held, PoolNode>
/** Deadlocked waiters who wait for each other. */
export type Knot = readonly WaitEdge[]

/** What a pool lets this policy see and do. */
export interface NestingHost<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly events: PoolEmitter<T>
  readonly totals: Totals
  readonly sampler: StackSampler
  readonly stalls: Stalls
  readonly slots: {
    readonly all: Iterable<Lease>
    readonly counts: Readonly<Record<SlotState, number>>
    readonly permitsInUse: number
  }
  stats(): PoolStats
  /** Acquires that wait, in the order in which they will be served, and how many. */
  waits(): Iterable<Wait>
  waiting(): number
  /** Has anything gone through the connection's socket in so many milliseconds? */
  hasTrafficWithin(lease: Lease, now: number, millis: number): boolean
  /** Rejects a waiter with this error. @returns false if it has ended meanwhile */
  reject(wait: Wait, error: PoolError): boolean
}
