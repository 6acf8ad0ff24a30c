import type { Redis } from 'ioredis'
import type { PoolIdentity } from '../../../api/channels.ts'
import type { PoolError } from '../../../api/errors.ts'
import { warnOfNoConnection } from '../../../api/messages/wrong-arguments.ts'
import type { AcquireOptions } from '../../../api/options/options.ts'
import { isRecord, show } from '../../../api/options/read-input.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import type { Lease } from '../../../pool/lease.ts'
import type { Pool } from '../../../pool/pool.ts'
import { PoolEmitter } from '../../../runtime/emitter.ts'
import { backoff } from '../../../runtime/time/backoff.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { type Handle, LOAN, type LoanGuard } from '../handle/loan.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { ClusterLoan } from './loan-guard.ts'
import { type ClusterWhere, readTarget, type Target } from './loan-target.ts'
import type { RedisClusterStats } from './nodes.ts'
import { Nodes } from './nodes.ts'
import { pause } from './refresher.ts'
import type { Take } from './router.ts'

/** The pauses between two runs of a function whose slot is on its way. Milliseconds. */
const FIRST_PAUSE = 5
const LONGEST_PAUSE = 50
/** So often in a row it runs again at once where its slot has moved: two nodes may name each other. */
const AT_ONCE = 3

/** Options of one acquire, and for `use` whether its function may run again. */
export interface ClusterUseOptions extends AcquireOptions {
  /**
   * Run the function again at the new owner if its slot has moved and nothing was written: no writing command was sent,
   * or each was answered with a refusal. As long as it may wait for a connection. Default false.
   */
  retryMoved?: boolean | undefined
}

type CloseOptions = { timeoutMillis?: number | false | undefined; signal?: AbortSignal | undefined }

/**
 * A pool of connections to the nodes of a Redis Cluster, created with `createRedisClusterPool`. Each loan is a dedicated
 * connection to the node of a key or slot, from a pool of that node.
 */
export class RedisClusterPool extends PoolEmitter<Redis> {
  readonly #config: ClusterConfig
  readonly #nodes: Nodes
  /** The pool of each connection that is or was lent. */
  readonly #lenders = new WeakMap<Redis, Pool<Redis>>()

  /** @internal */
  constructor(config: ClusterConfig) {
    super()
    this.#config = config
    // The pool of the node calls this in the place of a listener, and reports what is thrown.
    this.#nodes = new Nodes(config, (event, ...details) =>
      Promise.all(this.rawListeners(event).map(async listener => Reflect.apply(listener, this, details))),
    )
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
    return this.#use(where, work, options)
  }

  /** Lends a connection. End the loan with `release` or `destroy`. Prefer {@link use}, which cannot forget to. */
  async acquire(where: ClusterWhere, options?: AcquireOptions | number): Promise<Redis> {
    const target = readTarget('acquire', { where, options }, this.#config)
    const take: Take<Redis> = async (nodePool, request) => {
      const redis = await nodePool.pool.acquire(request)
      this.#guard(redis, nodePool, target)
      return redis
    }
    return await this.#nodes.router.lend(target, requestOf(options), take)
  }

  /** Lends a connection as a one-shot token: `await using lease = await pool.lease({ key })`. */
  async lease(where: ClusterWhere, options?: AcquireOptions | number): Promise<Lease<Redis>> {
    const target = readTarget('lease', { where, options }, this.#config)
    const take: Take<Lease<Redis>> = async (nodePool, request) => {
      const lease = await nodePool.pool.lease(request)
      this.#guard(lease.resource, nodePool, target)
      return lease
    }
    return await this.#nodes.router.lend(target, requestOf(options), take)
  }

  async #use<R>(
    where: ClusterWhere,
    work: (redis: Redis) => R | PromiseLike<R>,
    options: ClusterUseOptions | number | undefined,
  ): Promise<R> {
    const target = readTarget('use', { where, work, options }, this.#config)
    const { retryMoved = false, ...request } = requestOf(options) as ClusterUseOptions
    const { timeoutMillis = this.#config.acquireTimeoutMillis } = request
    const until = systemClock.now() + (timeoutMillis === false ? Number.POSITIVE_INFINITY : timeoutMillis)
    for (let attempt = 0; ; attempt += 1) {
      let loan: ClusterLoan | undefined
      const take: Take<R> = (nodePool, request) =>
        nodePool.pool.use(redis => {
          const outer = (redis as unknown as Handle)[LOAN].guard
          loan = this.#guard(redis, nodePool, target)
          return outer === undefined ? work(redis) : within(redis, outer, work)
        }, request)
      try {
        return await this.#nodes.router.lend(target, request, take)
      } catch (error) {
        const moved = movedIn(loan, error)
        if (moved === undefined) throw error
        if (!retryMoved || (loan as ClusterLoan | undefined)?.mayHaveWritten || systemClock.now() >= until)
          throw moved
        const isFinal = moved.moved?.isFinal === true
        // Another loan would end in the same way.
        if (isFinal && this.#leadsBack(target, loan)) throw moved
        if (!isFinal || attempt >= AT_ONCE) await pause(backoff(attempt, FIRST_PAUSE, LONGEST_PAUSE), true)
        if (timeoutMillis !== false) request.timeoutMillis = Math.max(until - systemClock.now(), 0)
      }
    }
  }

  /** Is the loan one of a node, or of a replica that was to write, and would lead to the same node again? */
  #leadsBack(target: Target, loan: ClusterLoan | undefined): boolean {
    const isFixed = target.node !== undefined || target.role === 'replica'
    return isFixed && loan !== undefined && this.#nodes.router.leadsTo(target, loan.node)
  }

  #guard(redis: Redis, { pool, address }: Parameters<Take<unknown>>[0], target: Target): ClusterLoan {
    const loan = new ClusterLoan(this.#nodes.guardHost, address, target)
    ;(redis as unknown as Handle)[LOAN].guard = loan
    this.#lenders.set(redis, pool)
    return loan
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
    const lender = this.#lenders.get(redis)
    if (lender !== undefined) return lender.isBorrowedResource(redis)
    if (redis) warnOfNoConnection(this.name, 'isBorrowedResource', redis, 'answered false')
    return false
  }

  #lenderOf(redis: Redis): Pool<Redis> {
    const isObject = typeof redis === 'object' && redis !== null
    return (isObject ? this.#lenders.get(redis) : undefined) ?? this.#nodes.anyPool
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

/** A nested `use` under `nested: 'reuse'`, on the connection of its caller: it has the rules of its own while it runs. */
async function within<R>(
  redis: Redis,
  outer: LoanGuard,
  work: (redis: Redis) => R | PromiseLike<R>,
): Promise<R> {
  try {
    return await work(redis)
  } finally {
    ;(redis as unknown as Handle)[LOAN].guard = outer
  }
}

/** As any pool takes it: a number is a priority. */
const requestOf = (options: AcquireOptions | number | undefined): AcquireOptions =>
  typeof options === 'number' ? { priority: options } : (options ?? {})

const movedIn = (loan: ClusterLoan | undefined, error: unknown): PoolError | undefined =>
  loan === undefined ? undefined : loan.endedBy(error)
