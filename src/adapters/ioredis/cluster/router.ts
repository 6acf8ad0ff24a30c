import type { Redis } from 'ioredis'
import * as refusals from '../../../api/messages/error-messages.ts'
import type { AcquireOptions } from '../../../api/options/options.ts'
import type { PoolStats } from '../../../api/stats.ts'
import type { Limits } from '../../../pool/call-limits.ts'
import type { Pool } from '../../../pool/pool.ts'
import { onAbort } from '../../../runtime/abort.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import type { CredentialSource } from '../client/credentials.ts'
import { type Address, isSameAddress } from '../failover/addresses.ts'
import type { Target } from './loan-target.ts'
import { noNode } from './no-node.ts'
import type { NodePool, NodePools } from './node-pools.ts'
import { ELSEWHERE } from './node-waits.ts'
import type { Topology } from './topology.ts'

/** How often the topology is asked for while no node serves what is wanted. Milliseconds. */
const ASK_AGAIN_MILLIS = 100

export interface RouterHost {
  readonly name: string
  readonly acquireTimeoutMillis: number
  readonly credentials: CredentialSource | undefined
  /** Does no loan begin any more? */
  readonly isClosed: boolean
  readonly pools: NodePools
  readonly topology: Topology
  /** The numbers in errors. */
  stats(): PoolStats
}

/** A wait for the topology. */
interface Wait {
  readonly call: 'acquire' | 'ready' | 'nodes'
  /** What an acquire waits for. */
  readonly target: Target | undefined
  readonly since: number
  readonly until: number
  readonly signal: AbortSignal | undefined
}

/** How a loan is taken from the pool of a node. */
export type Take<L> = (nodePool: Pick<NodePool, 'pool' | 'address'>, options: AcquireOptions) => Promise<L>

/**
 * Finds the node of a loan, and waits there for a connection. If the slot gets another owner meanwhile, the wait goes on
 * there, with what is left of its time.
 */
export class Router {
  readonly #host: RouterHost
  /** End the waits for the topology. */
  readonly #wakers = new Set<() => void>()

  constructor(host: RouterHost) {
    this.#host = host
  }

  async lend<L>(target: Target, request: AcquireOptions, take: Take<L>): Promise<L> {
    const { signal, timeoutMillis = this.#host.acquireTimeoutMillis } = request
    const since = systemClock.now()
    const until = timeoutMillis === false ? Number.POSITIVE_INFINITY : since + Number(timeoutMillis)
    for (;;) {
      if (this.#host.isClosed) throw refusals.closed(this.#host.stats())
      const nodePool =
        this.#nodePool(target) ??
        (await this.#found(() => this.#nodePool(target), { target, since, until, signal, call: 'acquire' }))
      if (nodePool === undefined) continue
      const left = until - systemClock.now()
      const isAbortable = signal instanceof AbortSignal
      // A signal of its own: many may have the one that the caller gave.
      const abort = isAbortable ? new AbortController() : undefined
      const stop = isAbortable ? onAbort(signal, () => abort?.abort(signal.reason)) : undefined
      const own = nodePool.waits.add(target, abort?.signal)
      this.#host.topology.watch()
      try {
        // The options are as the caller gave them where they are wrong: the pool of the node says so.
        const isFirst = left >= until - since || !Number.isFinite(until)
        const timeout = isFirst ? timeoutMillis : Math.max(left, 0)
        return await take(nodePool, {
          ...request,
          timeoutMillis: timeout,
          signal: signal === undefined || isAbortable ? own : signal,
        })
      } catch (error) {
        if (error !== ELSEWHERE) throw error
      } finally {
        stop?.()
        nodePool.waits.delete(target, abort?.signal)
      }
    }
  }

  /** Sends the waiting acquires on whose slot has another owner now. */
  reroute(): void {
    for (const nodePool of this.#host.pools.open)
      nodePool.waits.sendElsewhere(nodePool.pool, target => this.#serves(nodePool, target))
  }

  /** The pool is closing: whoever waits for the topology need not wait for the nodes, or for the pause between two questions. */
  end(): void {
    for (const wake of this.#wakers) wake()
  }

  /** May a new loan for this target be one of this node? */
  leadsTo(target: Target, node: Address): boolean {
    return this.#addresses(target).some(({ address }) => isSameAddress(address, node))
  }

  #serves({ address, role }: NodePool, target: Target): boolean {
    const key = `${address.host} ${address.port}`
    return this.#addresses(target).some(
      other => role === other.role && `${other.address.host} ${other.address.port}` === key,
    )
  }

  /** The nodes that may serve a target. */
  #addresses({ slot, role, node }: Target): Pick<NodePool, 'address' | 'role'>[] {
    const { map } = this.#host.topology
    if (node !== undefined) {
      const address = map.nodes.get(node)?.address
      if (address === undefined) return []
      return [{ address, role: map.roleOf(address) ?? 'replica' }]
    }
    const shard = map.shardOf(slot as number)
    if (shard === undefined) return []
    if (role === 'primary') return [{ address: shard.primary.address, role }]
    return shard.replicas.flatMap(({ address }) => (map.roleOf(address) === role ? { address, role } : []))
  }

  #nodePool(target: Target): NodePool | undefined {
    const found = this.#addresses(target).map(({ address, role }) => this.#host.pools.of(address, role))
    if (found.length <= 1) return found[0]
    // Of several replicas: one that answers, and that has the fewest loans and waiters.
    const load = ({ pool, address }: NodePool): number =>
      pool.borrowed + pool.pending + (this.#host.topology.isSilent(address) || isDown(pool) ? 1e6 : 0)
    return found.reduce((best, other) => (load(other) < load(best) ? other : best))
  }

  /**
   * Waits until the topology is known, and any node serves slots. `nodes` asks for it each time, `ready` if nobody has kept
   * it up to date meanwhile.
   *
   * @throws PoolError when the time is over, the signal is aborted or the pool is closed
   */
  async known(call: 'ready' | 'nodes', { millis, signal }: Limits): Promise<void> {
    const { topology } = this.#host
    const since = systemClock.now()
    const wait = { call, target: undefined, since, until: since + millis, signal }
    const { map } = topology
    const isList = call === 'nodes'
    // A list without nodes would look like a cluster that has no data, and no loan is to be had where no slot is served.
    const isKnown = (): true | undefined => (map.isKnown && map.shards.size > 0) || undefined
    if (map.isKnown && isList) await this.#atMost(Number.POSITIVE_INFINITY, wait, topology.anew())
    else if (map.isKnown && !topology.isFresh) await this.#untilRefreshed(wait)
    const isOpen = !this.#host.isClosed
    this.#unlessAborted(wait)
    if (isOpen && (isKnown() ?? (await this.#found(isKnown, wait)))) return
    throw refusals.closed(this.#host.stats())
  }

  /**
   * Waits until the nodes have said what is looked for.
   *
   * @returns undefined if the pool has been closed meanwhile
   * @throws PoolError when the time is over
   */
  async #found<R>(find: () => R | undefined, wait: Wait): Promise<R | undefined> {
    const { topology } = this.#host
    const { target, until } = wait
    while (!this.#host.isClosed) {
      this.#unlessAborted(wait)
      // Asked again after a pause, for those who come later.
      if (topology.refresher.hopeless !== undefined) {
        void topology.refresh()
        throw noNode(this.#host, target)
      }
      await this.#untilRefreshed(wait)
      // Nobody would end a pool that is made after the close.
      if (this.#host.isClosed) break
      const found = find()
      if (found !== undefined) return found
      if (topology.refresher.hopeless !== undefined) throw noNode(this.#host, target)
      if (target?.node !== undefined && topology.map.isKnown) throw noNode(this.#host, target)
      if (systemClock.now() >= until) throw noNode(this.#host, target)
      await this.#atMost(ASK_AGAIN_MILLIS, wait)
    }
    return undefined
  }

  #unlessAborted({ call, signal, since }: Wait): void {
    if (!signal?.aborted) return
    const stats = this.#host.stats()
    const waited = systemClock.now() - since
    throw call === 'acquire'
      ? refusals.aborted(stats, waited, signal.reason)
      : refusals.callAborted(stats, call, waited, 'The nodes go on being asked.', signal)
  }

  #untilRefreshed(wait: Wait): Promise<void> {
    return this.#atMost(Number.POSITIVE_INFINITY, wait, this.#host.topology.refresh())
  }

  /** Waits for the promise, but not longer than this, the time limit, the signal and the close. Holds the process meanwhile. */
  #atMost(millis: number, { until, signal }: Wait, promise?: Promise<void>): Promise<void> {
    return new Promise(resolve => {
      const end = Math.min(millis, until - systemClock.now(), LONGEST)
      const timer = systemClock.after(Math.max(end, 0), done)
      timer.hold(true)
      const wakers = this.#wakers
      let stop = (): void => {}
      function done(): void {
        timer.cancel()
        stop()
        wakers.delete(done)
        resolve()
      }
      wakers.add(done)
      stop = onAbort(signal, done)
      promise?.then(done)
    })
  }
}

const LONGEST = 2 ** 31 - 1

const isDown = (pool: Pool<Redis>): boolean => pool.stats().breaker === 'open'
