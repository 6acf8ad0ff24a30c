import { leaseEnded } from '../api/error-messages.ts'
import type { PoolStats } from '../api/stats.ts'

/** What a lease needs from its pool. */
export interface LeaseEnd {
  stats(): PoolStats
  isCurrent(): boolean
  /** Has the pool ended the lease, as it looked forgotten or as it was closed by force? */
  wasEndedByPool(): boolean
  end(how: 'release' | 'destroy'): void
}

/**
 * The caller's one-shot token for one loan. Use it with `await using`, or end it once with `release()` or `destroy()`.
 * A token whose lease has ended, by itself or through `pool.release(resource)`, refuses everything with
 * `POOL_LEASE_ENDED`; only its disposal is then quiet, so that an early release inside `await using` is fine.
 */
export class Lease<T> {
  readonly #resource: T
  readonly #loan: LeaseEnd

  /** @internal */
  constructor(resource: T, loan: LeaseEnd) {
    this.#resource = resource
    this.#loan = loan
  }

  /** The connection. @throws PoolError `POOL_LEASE_ENDED` after the end of the lease */
  get resource(): T {
    if (!this.#loan.isCurrent()) throw leaseEnded(this.#loan.stats(), 'lease.resource was used')
    return this.#resource
  }

  /** Has the lease not ended yet? */
  get active(): boolean {
    return this.#loan.isCurrent()
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
    if (this.#loan.isCurrent()) this.#loan.end('release')
  }

  async #end(how: 'release' | 'destroy'): Promise<void> {
    // It came too late, but did what it should: that must not become an unhandled rejection.
    if (this.#loan.wasEndedByPool()) return
    if (!this.#loan.isCurrent()) throw leaseEnded(this.#loan.stats(), `${how} was called`)
    this.#loan.end(how)
  }
}
