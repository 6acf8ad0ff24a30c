import type { Redis } from 'ioredis'
import { isPoolError } from '../../../api/errors.ts'
import { aborted } from '../../../api/messages/error-messages.ts'
import { counted } from '../../../api/messages/wording.ts'
import type { AcquireOptions } from '../../../api/options/options.ts'
import type { PoolStats } from '../../../api/stats.ts'
import type { Lease } from '../../../pool/lease.ts'
import type { Pool } from '../../../pool/pool.ts'
import { backoff } from '../../../runtime/time/backoff.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { type Handle, LOAN, type LoanGuard } from '../handle/loan.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { ClusterLoan } from './loan-guard.ts'
import { type ClusterWhere, readTarget, type Target } from './loan-target.ts'
import type { Nodes } from './nodes.ts'
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

/** The way of a loan in a cluster: to the node of its key, under a guard, and again where its slot has moved. */
export class ClusterLending {
  readonly #config: ClusterConfig
  readonly #nodes: Nodes
  /** The pool of each connection that is or was lent. */
  readonly #lenders = new WeakMap<Redis, Pool<Redis>>()

  constructor(config: ClusterConfig, nodes: Nodes) {
    this.#config = config
    this.#nodes = nodes
  }

  /** The pool that has lent this connection. */
  lenderOf(redis: unknown): Pool<Redis> | undefined {
    return typeof redis === 'object' && redis !== null ? this.#lenders.get(redis as Redis) : undefined
  }

  async acquire(where: ClusterWhere, options: AcquireOptions | number | undefined): Promise<Redis> {
    const target = readTarget('acquire', { where, options }, this.#config)
    const take: Take<Redis> = async (nodePool, request) => {
      const redis = await nodePool.pool.acquire(request)
      this.#guard(redis, nodePool, target, false)
      return redis
    }
    return await this.#nodes.router.lend(target, requestOf(options), take)
  }

  async lease(where: ClusterWhere, options: AcquireOptions | number | undefined): Promise<Lease<Redis>> {
    const target = readTarget('lease', { where, options }, this.#config)
    const take: Take<Lease<Redis>> = async (nodePool, request) => {
      const lease = await nodePool.pool.lease(request)
      this.#guard(lease.resource, nodePool, target, false)
      return lease
    }
    return await this.#nodes.router.lend(target, requestOf(options), take)
  }

  async use<R>(
    where: ClusterWhere,
    work: (redis: Redis) => R | PromiseLike<R>,
    options: ClusterUseOptions | number | undefined,
  ): Promise<R> {
    const target = readTarget('use', { where, work, options }, this.#config)
    const { retryMoved = false, ...request } = requestOf(options) as ClusterUseOptions
    const { timeoutMillis = this.#config.acquireTimeoutMillis } = request
    const until = systemClock.now() + (timeoutMillis === false ? Number.POSITIVE_INFINITY : timeoutMillis)
    const isOver = (): boolean => systemClock.now() >= until
    for (let attempt = 0; ; attempt += 1) {
      const run: { loan?: ClusterLoan } = {}
      const take: Take<R> = (nodePool, request) =>
        nodePool.pool.use(redis => {
          const outer = (redis as unknown as Handle)[LOAN].guard
          run.loan = this.#guard(redis, nodePool, target, retryMoved)
          return outer === undefined ? work(redis) : within(redis, outer, work)
        }, request)
      try {
        return await this.#nodes.router.lend(target, request, take)
      } catch (error) {
        const { loan } = run
        if (loan === undefined) throw attempt === 0 ? error : afterRuns(error, attempt)
        const moved = loan.endedBy(error)
        if (moved === undefined) throw error
        if (!retryMoved) throw moved
        const isFinal = moved.moved?.isFinal === true
        // Another loan would end in the same way.
        if (isFinal && this.#leadsBack(target, loan)) throw moved
        if (loan.mayHaveWritten) throw loan.givenUp(moved, WRITTEN)
        if (!isOver() && (!isFinal || attempt >= AT_ONCE))
          await pause(backoff(attempt, FIRST_PAUSE, LONGEST_PAUSE), true)
        if (isOver()) throw loan.givenUp(moved, tooLate(attempt + 1))
        if (timeoutMillis !== false) request.timeoutMillis = Math.max(until - systemClock.now(), 1)
      }
    }
  }

  /** Is the loan one of a node, or of a replica that was to write, and would lead to the same node again? */
  #leadsBack(target: Target, loan: ClusterLoan): boolean {
    const isFixed = target.node !== undefined || target.role === 'replica'
    return isFixed && this.#nodes.router.leadsTo(target, loan.node)
  }

  #guard(
    redis: Redis,
    { pool, address }: Parameters<Take<unknown>>[0],
    target: Target,
    isRepeated: boolean,
  ): ClusterLoan {
    const loan = new ClusterLoan(this.#nodes.guardHost, address, target, isRepeated)
    ;(redis as unknown as Handle)[LOAN].guard = loan
    this.#lenders.set(redis, pool)
    return loan
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

/** The error of an acquire that was to run a function once more. */
function afterRuns(error: unknown, runs: number): unknown {
  if (!isPoolError(error, 'POOL_ABORTED')) return error
  const then = `The function had run ${counted(runs, 'time')} until its slot moved, nothing was written, and no other loan was made`
  return aborted(error.stats as PoolStats, error.waitedMillis, error.cause, then)
}

const WRITTEN =
  'The function was not run again, as it may have written: see whether it may run twice, and call use again, which leads to ' +
  'the new owner'

const tooLate = (runs: number): string =>
  `The function has run ${counted(runs, 'time')}, wrote nothing, and has no time left to run again: call use again, or give it ` +
  'more with timeoutMillis'
