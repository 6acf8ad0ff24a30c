import { leaseEnded } from '../api/error-messages.ts'
import type { PoolStats } from '../api/stats.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'

/** What ends a lease. */
export interface LeaseHost<T> {
  readonly stats: () => PoolStats
  /** Ends the current loan of a slot. @returns rejects with `POOL_UNSENT` if what was written will not arrive */
  endLoan(slot: Slot<T>, how: 'release' | 'destroy'): Promise<void> | undefined
}

/**
 * The caller's one-shot token for one loan. Use it with `await using`, or end it once with `release()` or `destroy()`.
 * A token whose lease has ended, by itself or through `pool.release(resource)`, refuses everything with
 * `POOL_LEASE_ENDED`; only its disposal is then quiet, so that an early release inside `await using` is fine.
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

  /** The connection. @throws PoolError `POOL_LEASE_ENDED` after the end of the lease */
  get resource(): T {
    if (!this.active) throw leaseEnded(this.#host.stats(), 'lease.resource was used')
    return this.#resource
  }

  /** Has the lease not ended yet? */
  get active(): boolean {
    return isCurrent(this.#slot, this.#loan)
  }

  /** Gives the connection back. Takes effect at once; rejects with `POOL_LEASE_ENDED` the second time. */
  release(): Promise<void> {
    return this.#end('release')
  }

  /** Has the connection destroyed. Takes effect at once; rejects with `POOL_LEASE_ENDED` the second time. */
  destroy(): Promise<void> {
    return this.#end('destroy')
  }

  /** Releases, unless the lease has ended already. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.active) await this.#host.endLoan(this.#slot, 'release')
  }

  #end(how: 'release' | 'destroy'): Promise<void> {
    const slot = this.#slot
    // The pool has ended it: that the holder does so late is no mistake, and must not become an unhandled rejection.
    if (slot.wasEndedByPool && slot.loan === this.#loan) return Promise.resolve()
    if (!this.active) return Promise.reject(leaseEnded(this.#host.stats(), `${how} was called`))
    return this.#host.endLoan(slot, how) ?? Promise.resolve()
  }
}
