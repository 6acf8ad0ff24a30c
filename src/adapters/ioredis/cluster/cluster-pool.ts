import type { Redis } from 'ioredis'
import type { PoolIdentity } from '../../../api/channels.ts'
import { warnOfNoConnection } from '../../../api/messages/wrong-arguments.ts'
import type { AcquireOptions } from '../../../api/options/options.ts'
import { isRecord, show } from '../../../api/options/read-input.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import type { Lease } from '../../../pool/lease.ts'
import type { Pool } from '../../../pool/pool.ts'
import { PoolEmitter } from '../../../runtime/emitter.ts'
import { ClusterLending, type ClusterUseOptions } from './cluster-lending.ts'
import type { ClusterConfig } from './cluster-options.ts'
import type { ClusterWhere } from './loan-target.ts'
import type { RedisClusterStats } from './nodes.ts'
import { Nodes } from './nodes.ts'

type CloseOptions = { timeoutMillis?: number | false | undefined; signal?: AbortSignal | undefined }

/**
 * A pool of connections to the nodes of a Redis Cluster, created with `createRedisClusterPool`. Each loan is a dedicated
 * connection to the node of a key or slot, from a pool of that node.
 */
export class RedisClusterPool extends PoolEmitter<Redis> {
  readonly #config: ClusterConfig
  readonly #nodes: Nodes
  readonly #lending: ClusterLending

  /** @internal */
  constructor(config: ClusterConfig) {
    super()
    this.#config = config
    // The pool of the node calls this in the place of a listener, and reports what is thrown.
    this.#nodes = new Nodes(config, (event, ...details) =>
      Promise.all(this.rawListeners(event).map(async listener => Reflect.apply(listener, this, details))),
    )
    this.#lending = new ClusterLending(config, this.#nodes)
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
    return this.#lenderOf(redis).release(redis)
  }

  /** Takes a connection back and destroys it. Takes effect at once. */
  destroy(redis: Redis): Promise<void> {
    return this.#lenderOf(redis).destroy(redis)
  }

  /** Is this connection lent at the moment? */
  isBorrowedResource(redis: Redis): boolean {
    const lender = this.#lending.lenderOf(redis)
    if (lender !== undefined) return lender.isBorrowedResource(redis)
    if (redis) warnOfNoConnection(this.name, 'isBorrowedResource', redis, 'answered false')
    return false
  }

  #lenderOf(redis: Redis): Pool<Redis> {
    return this.#lending.lenderOf(redis) ?? this.#nodes.anyPool
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
  close(options: CloseOptions = {}): Promise<void> {
    if (options !== null && !isRecord(options))
      return Promise.reject(
        badOptions(
          [`close takes { timeoutMillis, signal }, got ${show(options)}`],
          this.name,
          undefined,
          'the arguments',
        ),
      )
    return this.#nodes.close(options ?? {}, this.#config.drainTimeoutMillis)
  }

  /** Supports `await using pool = createRedisClusterPool(…)`, see {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get name(): string {
    return this.#config.name
  }

  /** Connections to all nodes, not counting those being closed. */
  get size(): number {
    return this.#sum(({ size }) => size)
  }

  /** The number of idle connections. */
  get available(): number {
    return this.#sum(({ available }) => available)
  }

  /** The number of lent connections. */
  get borrowed(): number {
    return this.#sum(({ borrowed }) => borrowed)
  }

  /** The number of acquires that wait for a connection to a node that is known. */
  get pending(): number {
    return this.#sum(({ pending }) => pending)
  }

  #sum(of: (pool: Pool<Redis>) => number): number {
    return this.#nodes.pools.all.reduce((sum, { pool }) => sum + of(pool), 0)
  }

  /** A snapshot of the numbers of the cluster and of each node, as plain data. */
  stats(): RedisClusterStats {
    const { size, available: idle, borrowed, pending } = this
    return { ...this.#nodes.stats(), ...{ size, idle, borrowed, pending } }
  }

  /** The state of the cluster and of the pool of each node, as text for people. */
  report(): string {
    const { state, nodes, topology } = this.#nodes.stats()
    const { epoch, covered, changes, moved, followed } = topology
    const lines = [
      `pool '${this.name}' of a Redis Cluster is ${state} (total=${this.size}, idle=${this.available}, ` +
        `borrowed=${this.borrowed}, pending=${this.pending})`,
      `  topology: epoch ${epoch}, ${covered} of 16384 slots covered, ${changes} slots assigned or moved so far; ${moved} loans told ` +
        `that their slot has moved, ${followed} commands sent elsewhere`,
      ...nodes.map(({ node, role, slots }) => `  ${node}: ${role}, ${slots} slots`),
    ]
    return [...lines, ...this.#nodes.pools.all.map(({ pool }) => pool.report())].join('\n')
  }

  /** @internal */
  override identity(): PoolIdentity {
    return { ...this.#nodes.anyPool.identity(), pool: this.name }
  }
}
