import type { PoolError } from './errors.ts'
import type { Fifo } from './fifo.ts'
import type { Scope, Wait } from './policy/scope.ts'
import type { Trace } from './policy/stacks.ts'
import type { Slot } from './slot.ts'

/** Where a waiting acquire is: it leaves `waiting` once, and whoever moves it learns whether it was the one. */
export type WaiterState = 'waiting' | 'granted' | 'expired' | 'aborted' | 'refused' | 'shed' | 'deadlocked'

/** How an acquire wants to be served, once its options have been read. */
export interface Request {
  readonly priority: number
  /** Whole milliseconds, or `Infinity`. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  /** Whether no holder of a connection waits for it. */
  readonly detached: boolean
}

/** What was called; the connection comes as itself for `acquire`, as its slot for the others, which keep the loan's number. */
export type Call = 'acquire' | 'lease' | 'use'

/** One acquire that waits. */
export class Waiter<T> {
  state: WaiterState = 'waiting'
  /** Fulfilled with the resource, or the slot: see {@link Call}. */
  readonly promise: Promise<T | Slot<T>>
  readonly priority: number
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  readonly since: number
  /** The waiters with the same timeout; see `Expiry`. */
  lane: Fifo<Waiter<T>> | undefined = undefined
  readonly detached: boolean
  readonly call: Call
  /** Where it was called, if that is known. */
  trace: Trace | undefined = undefined
  /** The scope of the lease that it waits for. */
  scope: Scope | undefined = undefined
  /** Set while it is known to wait inside the scope of a lease. */
  wait: Wait | undefined = undefined
  /** What it is told when it is sent away to break a deadlock. */
  sentence: PoolError | undefined = undefined
  #resolve!: (served: T | Slot<T>) => void
  #reject!: (error: PoolError) => void

  constructor(request: Request, since: number, call: Call) {
    this.priority = request.priority
    this.timeout = request.timeout
    this.signal = request.signal
    this.since = since
    this.detached = request.detached
    this.call = call
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get gone(): boolean {
    return this.state !== 'waiting'
  }

  get deadline(): number {
    return this.since + this.timeout
  }

  grant(slot: Slot<T>): void {
    this.#resolve(this.call === 'acquire' ? (slot.lent as T) : slot)
  }

  fail(error: PoolError): void {
    this.#reject(error)
  }
}
