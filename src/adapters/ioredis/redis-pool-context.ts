import { PoolError } from '../../api/errors.ts'
import { leaseEnded } from '../../api/messages/error-messages.ts'
import type { Pool } from '../../pool/pool.ts'
import type { Terseness } from './client/terse.ts'
import { Failover } from './failover/failover.ts'
import { Handoffs } from './failover/handoffs.ts'
import { LeftoverSites } from './leftover-sites.ts'
import { type AdapterOptions, NO_ADAPTER_OPTIONS, type WantedRole } from './redis-pool-options.ts'

/** What the clients of one pool share, and their access to the pool. */
export class RedisPoolContext implements Terseness {
  readonly options: AdapterOptions
  readonly leftoverSites: LeftoverSites
  readonly failover: Failover
  readonly handoffs: Handoffs
  /** The role that the servers must have; undefined: as the options of ioredis say. That of a cluster's node may change. */
  role: WantedRole | undefined
  /** See {@link Terseness}. */
  isTerse = false
  isOrdinary = false
  /** Does a replica answer reads only after READONLY? So do those of a cluster. */
  wantsReadOnly = false
  readonly #warned = new Set<string>()
  #pool: Pool<never> | undefined

  constructor(options: AdapterOptions = NO_ADAPTER_OPTIONS) {
    this.options = options
    this.role = options.role
    this.leftoverSites = new LeftoverSites(site => {
      this.#pool?.announce('dirty', { pool: this.name, ...site })
    })
    const context = this
    this.failover = new Failover({
      get name() {
        return context.name
      },
      purge: reason => this.#pool?.purge(reason),
    })
    this.handoffs = new Handoffs(options.handoffs, {
      get name() {
        return context.name
      },
      isLent: client => this.failover.clients.get(client)?.isLent ?? false,
      retire: (client, reason) => void this.#pool?.invalidate(client as never, reason),
      warnOnce: (code, message) => this.warnOnce(code, message),
    })
  }

  /** Called when the pool exists: it is created after its factory. */
  attach(pool: Pool<never>): void {
    this.#pool = pool
  }

  get name(): string {
    return this.#pool?.name ?? 'redis'
  }

  get max(): number {
    return this.#pool?.max ?? 0
  }

  /** The error for using a handle after its loan. */
  leaseEnded(what: string): Error {
    if (this.#pool === undefined)
      return new PoolError('POOL_LEASE_ENDED', `${what} after the end of its lease`, { pool: this.name })
    return leaseEnded(this.#pool.stats(), what)
  }

  /** Emits a process warning, once per code. */
  warnOnce(code: string, message: string): void {
    if (this.#warned.has(code)) return
    this.#warned.add(code)
    process.emitWarning(`pool '${this.name}': ${message}`, { type: 'LifeguardPoolWarning', code })
  }
}
