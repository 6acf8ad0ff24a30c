import { type PoolError, pointAtCaller } from '../api/errors.ts'
import { leaseEnded } from '../api/messages/error-messages.ts'
import type { PoolStats } from '../api/stats.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'

/** Ends leases on behalf of the pool. */
export interface LeaseHost<T> {
  readonly stats: () => PoolStats
  /**
   * Ends the current loan of a slot.
   * @returns rejects with `POOL_UNSENT` if written data will not arrive
   */
  endLoan(slot: Slot<T>, how: 'release' | 'destroy'): Promise<void> | undefined
}

/**
 * A one-shot token for one loan. Use it with `await using`, or end it once with `release()` or `destroy()`. Once the
 * lease has ended, by the token or by `pool.release(resource)`, the token refuses everything with `POOL_LEASE_ENDED`.
 * Only its disposal is then silent, so that an early release inside `await using` is allowed.
 */
export class Lease<T> {
  readonly #resource: T
  readonly #slot: Slot<T>
  readonly #loan: number
  readonly #host: LeaseHost<T>

  /** @internal */
  constructor(slot: Slot<T>, loan: number, host: LeaseHost<T>) {
    this.#resource = slot.lent as T
    this.#slot = slot
    this.#loan = loan
    this.#host = host
  }

  /**
   * The connection.
   * @throws PoolError `POOL_LEASE_ENDED` after the end of the lease
   */
  get resource(): T {
    if (!this.active) throw this.#ended('lease.resource was used', GETTER)
    return this.#resource
  }

  /** Is the lease still held? */
  get active(): boolean {
    return isCurrent(this.#slot, this.#loan)
  }

  /** Returns the connection to the pool. Takes effect at once. A second call rejects with `POOL_LEASE_ENDED`. */
  release(): Promise<void> {
    return this.#end('release')
  }

  /** Destroys the connection. Takes effect at once. A second call rejects with `POOL_LEASE_ENDED`. */
  destroy(): Promise<void> {
    return this.#end('destroy')
  }

  /** Releases the connection, unless the lease has already ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.active) await this.#host.endLoan(this.#slot, 'release')
  }

  #end(how: 'release' | 'destroy'): Promise<void> {
    const slot = this.#slot
    // The pool itself ended the loan. Its holder made no mistake, so this must not become an unhandled rejection.
    if (slot.wasEndedByPool && slot.loan === this.#loan) return Promise.resolve()
    if (!this.active) return Promise.reject(this.#ended(`lease.${how} was called`, Lease.prototype[how]))
    return this.#host.endLoan(slot, how) ?? Promise.resolve()
  }

  #ended(what: string, entry: object): PoolError {
    return pointAtCaller(leaseEnded(this.#host.stats(), what), entry)
  }
}

/** The getter of `lease.resource`. */
const GETTER = Object.getOwnPropertyDescriptor(Lease.prototype, 'resource')?.get ?? Lease
