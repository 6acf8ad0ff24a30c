import type { PoolError } from '../api/errors.ts'
import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { PoolStats, SlotState, Totals } from '../api/stats.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import type { Awaiters } from './awaiters.ts'
import type { Edge } from './wait-for-graph.ts'

/** The pool method that the user called. A recorded stack starts at its caller and leaves our own frames out. */
export type Entry = (...args: never[]) => unknown

/** A connection, as the deadlock search sees it. While it is lent, its loan is a lease whose holder may be waiting. */
export interface Connection {
  readonly state: SlotState
  /** The number of the current loan. */
  readonly loan: number
  readonly resource: unknown
  /** What the borrower was given: the resource, or a handle for it. */
  readonly lent: unknown
  /** Where the loan was taken, and who awaited it, if that was recorded. */
  readonly trace: StackTrace | undefined
  /** Set when a function that ran on this connection failed. */
  isDoubtful: boolean
  /** The function that the current or the last `use` of this connection runs under. */
  frame: UseFrame | undefined
}

/** The function that the user passed to `use`. */
export type Work<R> = (resource: never) => R | PromiseLike<R>

/**
 * The function that a `use` runs under. Its name is unique, `lease 17` for example, and it awaits the promise of the
 * user's function. So when code inside `use` waits for another connection, V8's async stack shows which lease cannot end
 * before that. No tracking is needed for it.
 */
export interface UseFrame {
  /** The number in its name. */
  readonly number: number
  /** The connection that it was lent: undefined as long as it waits for one, and when it is free. */
  connection: Connection | undefined
  /** `undefined` under `nested: 'allow'`. */
  readonly pool: PoolNode | undefined
  /** The loan that it runs in now, or ran in last. */
  loan: number
  /** How many calls run in it now. Under `nested: 'reuse'`, several share one loan. */
  users: number
  /**
   * Runs a function on a connection. When the last user is done, the loan ends, unless it has ended already.
   *
   * @param lent - undefined if it waits for one
   * @param served - what it waits for
   */
  run<R>(work: Work<R>, lent: Connection | undefined, served?: Promise<unknown>): Promise<R>
}

/** An acquire that waits. */
export interface Wait {
  readonly since: number
  readonly hasEnded: boolean
  readonly deadline: number
  /** Declared by its caller as awaited by no holder of a connection (`detached: true`). */
  readonly detached: boolean
  readonly trace: StackTrace | undefined
  /** Who awaits it; `undefined` until somebody has asked. */
  readonly awaiters: Awaiters | undefined
  /** Finds out who awaits it. `awaiters` is up to date once the microtasks queued by this call have run. */
  ask(): void
}

/** What the search asks a pool. Pools from other copies of this package in the process answer the same questions. */
export interface PoolNode {
  readonly name: string
  /** The number of connections that are lent. */
  readonly lent: number
  /** Can the pool serve a waiter without a lease ending first, or has it served one within the grace? */
  canMove(): boolean
  /** The other pools of its budget. */
  sharers(): readonly PoolNode[]
  /** Where their limit comes from: a budget, if it does not say so. */
  sharedLimit?(): 'budget' | 'maxTotal'
  /**
   * The pools whose leases keep it from connecting, as they use up the budget that they share. Its waiters are served
   * when one of those leases ends, as well as when one of its own does.
   */
  rivals(): readonly PoolNode[]
  /** Is no connection of it under way or idle, and has none come or gone for the grace? */
  isStill(): boolean
  /** Has no connection come or gone for this many graces, and none since `since`, if given? */
  hasStood(graces: number, since?: number): boolean
  /** The leases of this pool. */
  leases(): Lease[]
  /** Has the connection no unanswered work, and had no traffic for this many graces? */
  isQuiet(connection: Connection, graces: number): boolean
  /** The waiting acquires, except those marked `detached`. */
  waits(): Wait[]
  /** Can it end only by being served, with its own deadline not about to pass? */
  isBound(wait: Wait): boolean
  /** Can it be part of a deadlock, because it has waited for at least one grace? */
  isDue(wait: Wait): boolean
  /** Serves these waiters of a broken knot before all others. */
  prioritise(waits: readonly Wait[]): void
  /**
   * Rejects the waiter.
   * @returns false if it is no longer waiting
   */
  reject(wait: Wait, knot: Knot): boolean
}

/** A lease of a pool, valid as long as its loan lasts. */
export interface Lease {
  readonly connection: Connection
  readonly pool: PoolNode
  readonly loan: number
  /** Taken by `acquire` or `lease()`, not by `use`. */
  readonly isPlain: boolean
}

/** Under `nested: 'forbid'`: where the async context stores the lease once it is served. */
export interface LeaseScope {
  start(connection: Connection): void
}

/** A waiting acquire, and the leases that cannot end before it is served. */
export type WaitEdge = Edge<Wait, Lease, PoolNode>
/** A knot: deadlocked waiters that wait for each other. */
export type Knot = readonly WaitEdge[]

/** What the deadlock detection may read from a pool and do to it. */
export interface NestingHost<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly events: PoolEmitter<T>
  readonly totals: Totals
  readonly sampler: StackSampler
  readonly stalls: Stalls
  readonly slots: {
    readonly all: ReadonlySet<Connection>
    readonly counts: Readonly<Record<SlotState, number>>
    readonly permitsInUse: number
  }
  /** The other pools of the budget, as far as they take part in the search. Left out without a budget. */
  readonly sharers?: () => readonly PoolNode[]
  /**
   * The pools that use up the budget, if that has no place for this pool; undefined if it has, or if it is not known who
   * holds their leases. Left out without a budget.
   */
  readonly rivals?: () => readonly PoolNode[] | undefined
  stats(): PoolStats
  /** The acquires that wait, in the order in which they will be served. */
  waits(): Iterable<Wait>

  /** How many acquires wait. */
  waiting(): number
  /** Has the connection's socket seen traffic within the last `millis` milliseconds? */
  hasTrafficWithin(connection: Connection, now: number, millis: number): boolean
  /**
   * Rejects a waiter with this error.
   * @returns false if it has ended meanwhile
   */
  reject(wait: Wait, error: PoolError): boolean
}
