import type { PoolError } from './errors.ts'
import type { Fifo } from './fifo.ts'
import type { Slot } from './slot.ts'

/** Where a waiting acquire is: it leaves `waiting` once, and whoever moves it learns whether it was the one. */
export type WaiterState = 'waiting' | 'granted' | 'expired' | 'aborted' | 'refused'

/** How an acquire wants to be served, once its options have been read. */
export interface Request {
  readonly priority: number
  /** Whole milliseconds, or `Infinity`. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

/** One acquire that waits. */
export class Waiter<T> {
  state: WaiterState = 'waiting'
  /** Fulfilled with the resource, or with the slot for `use` and `lease`, which keep the loan's number. */
  readonly promise: Promise<T | Slot<T>>
  readonly priority: number
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  readonly since: number
  /** The waiters with the same timeout; see `Expiry`. */
  lane: Fifo<Waiter<T>> | undefined = undefined
  readonly #wantsSlot: boolean
  #resolve!: (served: T | Slot<T>) => void
  #reject!: (error: PoolError) => void

  constructor(request: Request, since: number, wantsSlot: boolean) {
    this.priority = request.priority
    this.timeout = request.timeout
    this.signal = request.signal
    this.since = since
    this.#wantsSlot = wantsSlot
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
    this.#resolve(this.#wantsSlot ? slot : (slot.resource as T))
  }

  fail(error: PoolError): void {
    this.#reject(error)
  }
}
