import { leaseEnded } from '../../api/error-messages.ts'
import { PoolError } from '../../api/errors.ts'
import type { Pool } from '../../pool/pool.ts'
import { systemClock } from '../../runtime/clock.ts'
import { log } from '../../runtime/log.ts'
import { destroyWithError } from './client/client.ts'
import type { RedisClient } from './client/client-types.ts'
import { type Address, isSameAddress, type SentinelTarget, SentinelWatch } from './failover/sentinel-watch.ts'
import { LeftoverSites } from './leftover-sites.ts'
import { type AdapterOptions, NO_ADAPTER_OPTIONS } from './redis-pool-options.ts'

/**
 * Purges because of a reply come no faster than this, in milliseconds: where a server's role cannot be asked, each new
 * connection to a demoted one would have the pool purged again.
 */
const CALM_MILLIS = 1000

/** How long a dial waits for the sentinels to replace a primary that is not to be reached. Milliseconds. */
const SWITCH_MILLIS = 1000

/** What the clients of one pool share, and the way from them to the pool. */
export class RedisPoolContext {
  readonly options: AdapterOptions
  readonly leftoverSites: LeftoverSites
  readonly clients = new Set<RedisClient>()
  /** Connections dialled under an earlier number lead to a server that has been found to be the wrong one. */
  epoch = 0
  readonly #dials = new Set<AbortController>()
  #pool: Pool<never> | undefined
  #purgedAt = Number.NEGATIVE_INFINITY
  #watch: SentinelWatch | undefined
  #deposed: Address | undefined
  /** How often the sentinels have named another primary, and who waits for them to. */
  #switches = 0
  readonly #awaiting = new Set<() => void>()

  constructor(options: AdapterOptions = NO_ADAPTER_OPTIONS) {
    this.options = options
    this.leftoverSites = new LeftoverSites(site => {
      this.#pool?.announce('dirty', { pool: this.name, ...site })
    })
  }

  /** The pool is made after its factory. */
  attach(pool: Pool<never>): void {
    this.#pool = pool
  }

  get name(): string {
    return this.#pool?.name ?? 'redis'
  }

  /** For a handle that is used too late. */
  leaseEnded(what: string): Error {
    if (this.#pool === undefined) return new Error(`${what} after the end of its lease`)
    return leaseEnded(this.#pool.stats(), what)
  }

  get max(): number {
    return this.#pool?.max ?? 0
  }

  /**
   * Runs a dial. By way of sentinels, one that leads to the wrong server is called off when they name another, and one
   * that finds their primary unreachable waits a while for them to do so: then it begins again, at once.
   */
  async dial<R>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<R>): Promise<R> {
    for (;;) {
      const heard = this.#switches
      try {
        return await this.#dial(signal, run)
      } catch (error) {
        if (signal.aborted) throw error
        if (this.#switches === heard && !(await this.#switchAfter(error, signal))) throw error
      }
    }
  }

  async #dial<R>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const dial = new AbortController()
    const onAbort = (): void => dial.abort(signal.reason)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    this.#dials.add(dial)
    try {
      return await run(dial.signal)
    } finally {
      this.#dials.delete(dial)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** The primary of the sentinels could not be reached. @returns whether they have named another one in time */
  async #switchAfter(error: unknown, signal: AbortSignal): Promise<boolean> {
    const watch = this.#watch
    const { address: host, port } = error as { address?: unknown; port?: unknown }
    if (watch?.master === undefined || typeof host !== 'string' || typeof port !== 'number') return false
    if (!isSameAddress(watch.master, { host, port })) return false
    const heard = this.#switches
    await new Promise<void>(resolve => {
      const over = (): void => {
        timer.cancel()
        signal.removeEventListener('abort', over)
        this.#awaiting.delete(over)
        resolve()
      }
      const timer = systemClock.after(SWITCH_MILLIS, over)
      signal.addEventListener('abort', over)
      this.#awaiting.add(over)
      // It has ended with the last of the connections.
      watch.start()
    })
    this.#rest()
    return this.#switches > heard && !signal.aborted
  }

  /** A client is connected. The sentinels are listened to as long as there are any. */
  opened(client: RedisClient, sentinels: SentinelTarget | undefined): void {
    this.clients.add(client)
    client.once('end', () => this.closed(client))
    if (sentinels === undefined) return
    this.#watch ??= new SentinelWatch(sentinels, (to, from) => this.#switched(to, from, sentinels.toPrimary))
    this.#watch.start()
  }

  closed(client: RedisClient): void {
    if (this.clients.delete(client)) this.#rest()
  }

  /** The sentinels are listened to as long as there is something to hear for. */
  #rest(): void {
    if (this.clients.size > 0 || this.#awaiting.size > 0) return
    this.#watch?.stop()
    // Who listens no more cannot know that it has not been made primary again.
    this.#deposed = undefined
  }

  /** Does the client lead to the server that the sentinels have replaced? Some of them learn of that later. */
  isDeposed(client: RedisClient): boolean {
    return this.#deposed !== undefined && isSameAddress(remoteOf(client), this.#deposed)
  }

  /**
   * A connection of this epoch has been told that its server is not what it was. Whoever is first has the pool purged;
   * the others that lost the same server say nothing new.
   */
  failedOver(epoch: number, reason: string): void {
    const now = systemClock.now()
    if (epoch !== this.epoch || now - this.#purgedAt < CALM_MILLIS) return
    this.#purgedAt = now
    this.#newEpoch(reason)
  }

  /**
   * The connections that are lent are cut, and not waited for: the old primary may hang, and hold its borrowers for
   * ever; or live on behind a partition, and take writes that will be lost. Those to replicas may be finished.
   */
  #switched(to: Address, from: Address | undefined, toPrimary: boolean): void {
    this.#deposed = from
    this.#switches += 1
    const reason = `the sentinels have made ${to.host}:${to.port} the primary`
    if (!toPrimary) {
      this.#newEpoch(reason)
      return
    }
    const error = new PoolError(
      'POOL_FAILOVER',
      `pool '${this.name}': the connection was cut, as ${reason}. A command that was under way may have run on the old ` +
        'one, and may be lost there; see whether it can be repeated, and take a new connection',
      { pool: this.name },
    )
    for (const dial of this.#dials) dial.abort(error)
    for (const over of [...this.#awaiting]) over()
    this.#newEpoch(reason)
    for (const client of [...this.clients]) {
      if (!isSameAddress(remoteOf(client), to)) destroyWithError(client, error)
    }
  }

  #newEpoch(reason: string): void {
    this.epoch += 1
    if (log.pool.enabled) log.pool('%s: failover: %s', this.name, reason)
    this.#pool?.purge(reason)
  }
}

function remoteOf(client: RedisClient): Address {
  const { remoteAddress = '', remotePort = 0 } = client.stream
  return { host: remoteAddress.replace(/^::ffff:/, ''), port: remotePort }
}
