import type { Redis } from 'ioredis'
import type { PoolIdentity } from '../../../api/channels.ts'
import { forCaller, pointAtCaller } from '../../../api/errors.ts'
import { notBorrowed } from '../../../api/messages/error-messages.ts'
import { warnOfNoConnection } from '../../../api/messages/wrong-arguments.ts'
import type { AcquireOptions } from '../../../api/options/options.ts'
import { checkedBounds } from '../../../api/options/resolve-options.ts'
import { type CallOptions, checkOptions, readLimits } from '../../../pool/call-limits.ts'
import type { Lease } from '../../../pool/lease.ts'
import { PoolEmitter } from '../../../runtime/emitter.ts'
import { ClusterLending, type ClusterUseOptions } from './cluster-lending.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { clusterInText, type RedisClusterReport } from './cluster-report.ts'
import type { ClusterWhere } from './loan-target.ts'
import { Nodes, type RedisClusterNode, type RedisClusterStats } from './nodes.ts'

/**
 * A pool of connections to the nodes of a Redis Cluster, created with `createRedisClusterPool`. Each loan is a dedicated
 * connection to the node of a key or slot, from a pool of that node.
 */
export class RedisClusterPool extends PoolEmitter<Redis> {
  readonly #config: ClusterConfig
  readonly #nodes: Nodes
  readonly #lending: ClusterLending
  /** For errors about the options of a call. */
  readonly #called: Parameters<typeof readLimits>[2]

  /** @internal */
  constructor(config: ClusterConfig) {
    super()
    this.#config = config
    // The pool of the node calls this in the place of a listener, and reports what is thrown.
    this.#nodes = new Nodes(config, (event, ...details) =>
      Promise.all(this.rawListeners(event).map(async listener => Reflect.apply(listener, this, details))),
    )
    this.#lending = new ClusterLending(config, this.#nodes)
    this.#called = { options: config, stats: () => this.#nodes.numbers() }
  }

  /**
   * Lends a connection while a function runs, and takes it back whatever happens.
   *
   * @param where - a key, a slot, or a node: `{ key: 'user:1' }`
   * @returns rejects as `use` of any pool does, and with `POOL_MOVED` if the slot has moved to another node meanwhile
   */
  use<R>(
    where: ClusterWhere,
    work: (redis: Redis) => R | PromiseLike<R>,
    options?: ClusterUseOptions | number,
  ): Promise<R> {
    return this.#lending.use(where, work, options)
  }

  /** Lends a connection. End the loan with `release` or `destroy`. Prefer {@link use}, which cannot forget to. */
  acquire(where: ClusterWhere, options?: AcquireOptions | number): Promise<Redis> {
    return this.#lending.acquire(where, options)
  }

  /** Lends a connection as a one-shot token: `await using lease = await pool.lease({ key })`. */
  lease(where: ClusterWhere, options?: AcquireOptions | number): Promise<Lease<Redis>> {
    return this.#lending.lease(where, options)
  }

  /** Returns a connection. Takes effect at once. Rejects with `POOL_NOT_BORROWED` if it is not lent. */
  release(redis: Redis): Promise<void> {
    return this.#lending.lenderOf(redis)?.release(redis) ?? this.#notLent('release', redis)
  }

  /** Takes a connection back and destroys it. Takes effect at once. */
  destroy(redis: Redis): Promise<void> {
    return this.#lending.lenderOf(redis)?.destroy(redis) ?? this.#notLent('destroy', redis)
  }

  /**
   * Marks a connection as unusable. It is destroyed when it is returned. Never throws.
   *
   * @returns whether a node's pool has the connection
   */
  invalidate(redis: Redis, why?: string | Error): boolean {
    return (this.#lending.lenderOf(redis) ?? this.#nodes.ownPool).invalidate(redis, why)
  }

  /** Is this connection lent at the moment? */
  isBorrowedResource(redis: Redis): boolean {
    const lender = this.#lending.lenderOf(redis)
    if (lender !== undefined) return lender.isBorrowedResource(redis)
    if (redis) warnOfNoConnection(this.name, 'isBorrowedResource', redis, 'answered false')
    return false
  }

  #notLent(how: 'release' | 'destroy', redis: Redis): Promise<never> {
    const error = notBorrowed(this.#nodes.numbers(), how, redis)
    return Promise.reject(pointAtCaller(error, RedisClusterPool.prototype[how]))
  }

  /**
   * The nodes that serve slots, and their replicas, by the topology that the pool believes. It asks the nodes anew each
   * time. If none answers in time, these are the nodes known before; it waits for the first ones as an acquire does.
   *
   * @param options - the time limit and a signal; default `acquireTimeoutMillis`
   * @returns rejects with `POOL_CONNECT_FAILED`, `POOL_ABORTED` or `POOL_CLOSED`
   */
  async nodes(options: CallOptions = {}): Promise<RedisClusterNode[]> {
    checkOptions(options, this.#called, 'nodes')
    return await this.#nodes.list(readLimits(options, this.#config.acquireTimeoutMillis, this.#called))
  }

  /** Asks for the topology, so that the first loan does not have to wait for it. */
  start(): void {
    this.#nodes.start()
  }

  /**
   * Resolves when the topology is known, any node serves slots and, with a `min`, when each primary has that many connections.
   *
   * @param options - the time limit and a signal; default `acquireTimeoutMillis`
   * @returns rejects with `POOL_CONNECT_FAILED` after the time limit or if the nodes refuse for good, with `POOL_CLOSED`,
   * and with `POOL_ABORTED`
   */
  async ready(options: CallOptions = {}): Promise<void> {
    await this.#nodes.ready(readLimits(options, this.#config.acquireTimeoutMillis, this.#called))
  }

  /**
   * Stops accepting acquires. Resolves when those that wait at a node have been served and every loan has ended.
   *
   * @param options - the time limit and a signal; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after the time limit, and with `POOL_ABORTED`; the pool stays draining
   */
  async drain(options: CallOptions = {}): Promise<void> {
    await this.#nodes.drain(readLimits(options, this.#config.drainTimeoutMillis, this.#called))
  }

  /** Changes the bounds of each node. Surplus connections are destroyed: idle ones now, lent ones when they are returned. */
  resize(bounds: { min?: number | undefined; max?: number | undefined }): void {
    const { name, min, max } = this
    forCaller(RedisClusterPool.prototype.resize, () => {
      const checked = checkedBounds(bounds, { name, min, max }, this.#called.stats, undefined)
      this.#nodes.pools.resize(checked)
    })
  }

  /** Starts a new generation at every node: idle connections are destroyed now, lent ones when they are returned. */
  purge(why: string | Error = 'purge'): void {
    for (const { pool } of this.#nodes.pools.open) pool.purge(why)
  }

  /** Ends every idle connection, and waits for the creates and closes in progress. */
  async clear(): Promise<void> {
    await Promise.all(this.#nodes.pools.all.map(({ pool }) => pool.clear()))
  }

  /**
   * Closes the pools of all nodes: waits until every loan has ended, and ends every connection.
   *
   * @param options - the time limit and a signal; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after the time limit; connections still lent are then destroyed
   */
  async close(options: CallOptions = {}): Promise<void> {
    checkOptions(options, this.#called)
    await this.#nodes.close(readLimits(options, this.#config.drainTimeoutMillis, this.#called))
  }

  /** Supports `await using pool = createRedisClusterPool(…)`, see {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get name(): string {
    return this.#config.name
  }

  /** Most connections to each node. */
  get max(): number {
    return this.#nodes.pools.bounds.max
  }

  /** Connections that each node in use keeps. */
  get min(): number {
    return this.#nodes.pools.bounds.min
  }

  /** Connections to all nodes, not counting those being closed. */
  get size(): number {
    return this.#nodes.sums().size
  }

  /** The number of idle connections. */
  get available(): number {
    return this.#nodes.sums().idle
  }

  /** The number of lent connections. */
  get borrowed(): number {
    return this.#nodes.sums().borrowed
  }

  /** The number of acquires that wait for a connection to a node that is known. */
  get pending(): number {
    return this.#nodes.sums().pending
  }

  /** A snapshot of the numbers of the cluster and of each node, as plain data. */
  stats(): RedisClusterStats {
    return { ...this.#nodes.stats(), ...this.#nodes.sums() }
  }

  /** The state of the cluster and of the pool of each node, as text for people. */
  report(): string {
    return clusterInText(this.reportJson())
  }

  /** The same as {@link report}, as plain data for `JSON.stringify`. */
  reportJson(): RedisClusterReport {
    return { stats: this.stats(), pools: this.#nodes.pools.all.map(({ pool }) => pool.reportJson()) }
  }

  /** @internal */
  override identity(): PoolIdentity {
    const { pools, ownPool } = this.#nodes
    return { ...(pools.all[0]?.pool ?? ownPool).identity(), pool: this.name }
  }
}
