import type { Redis } from 'ioredis'
import { closed } from '../../../api/messages/error-messages.ts'
import type { PoolStats } from '../../../api/stats.ts'
import type { ControlPlace } from '../../../connecting/control-place.ts'
import type { CallOptions, Limits } from '../../../pool/call-limits.ts'
import type { Pool } from '../../../pool/pool.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { isOfCredentials } from '../client/credentials.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { follow } from './follow.ts'
import type { GuardHost } from './loan-guard.ts'
import { NodePools, type PassOn } from './node-pools.ts'
import { openerOf } from './open-link.ts'
import { Router } from './router.ts'
import { Topology } from './topology.ts'

/** A snapshot of the pool of a cluster, as plain data. */
export interface RedisClusterStats {
  name: string
  state: PoolStats['state']
  maxTotal: number
  /** The sums over all nodes. */
  size: number
  idle: number
  borrowed: number
  pending: number
  topology: {
    /** `cluster_current_epoch`: the number of the latest change that is known; -1 before the first answer. */
    epoch: number
    /** How many of the 16384 slots have an owner. */
    covered: number
    /** How often the nodes have been asked, and how often a slot got another owner. */
    refreshes: number
    changes: number
    /** How often a loan was told that its slot has moved, and how often a single command was sent elsewhere. */
    moved: number
    followed: number
    /** How many pools have been drained, as their node has gone or has another role. */
    retired: number
  }
  /** The pool of each node that was needed so far. */
  nodes: { node: string; role: 'primary' | 'replica'; slots: number; stats: PoolStats }[]
}

/** A node of a cluster, by what is known of it. */
export interface RedisClusterNode {
  /** `host:port`, for a loan of this node. */
  node: string
  role: 'primary' | 'replica'
  /** How many slots it serves: 0 for a replica. */
  slots: number
  /** `host:port` of the primary of a replica. */
  replicaOf?: string
}

/** The nodes of a cluster: which serves what, and the pool of each. Everything that is behind the cluster's pool. */
export class Nodes {
  readonly pools: NodePools
  readonly topology: Topology
  readonly router: Router
  readonly guardHost: GuardHost
  readonly #config: ClusterConfig
  #moved = 0
  #followed = 0
  #own: Pool<Redis> | undefined
  /** Does no loan begin any more? */
  #isClosed = false
  #isGone = false

  constructor(config: ClusterConfig, passOn: PassOn) {
    this.#config = config
    const { name, seeds, translate, credentials, acquireTimeoutMillis } = config
    this.pools = new NodePools(config, passOn, (event, address, detail) => {
      // The node may be dead, or no primary any more.
      if (event === 'factoryCreateError') {
        if (!isOfCredentials(detail)) this.topology.lost(address, detail)
      } else if (event === 'connect') this.topology.found(address)
      else if (event === 'made') this.topology.linkTo(address).moveInto(detail as ControlPlace<Redis>)
      else if (event === 'slots-moved' || (event === 'destroy' && isSuspicious(detail)))
        void this.topology.refresh()
    })
    this.topology = new Topology({
      ...{ name, seeds, translate },
      open: openerOf(config),
      placeAt: address => this.pools.at(address)?.place,
      hasHeard: address => this.pools.at(address)?.hasHeard() ?? false,
      nodesInUse: () => this.#inUse(),
      onChange: isBelieved => this.#onChange(isBelieved),
      onTick: () => this.#cutSilent(),
    })
    const nodes = this
    this.router = new Router({
      ...{ name, acquireTimeoutMillis, credentials, pools: this.pools, topology: this.topology },
      get isClosed() {
        return nodes.#isClosed
      },
      stats: () => this.numbers(),
    })
    this.guardHost = {
      ...{ name, translate },
      down: () => void this.topology.refresh(),
      moved: (slot, to) => {
        this.#moved += 1
        this.topology.moved(slot, to)
      },
      follow: (command, redirect, loan) => {
        this.#followed += 1
        const patience = Math.min(acquireTimeoutMillis, LONGEST_PATIENCE)
        loan.following = loan.following.then(() => follow(this.topology, command, redirect, loan, patience))
      },
    }
  }

  /** For what concerns no connection of any node: it has the name of the cluster's pool, and no connections. */
  get ownPool(): Pool<Redis> {
    this.#own ??= this.pools.makeIdle()
    return this.#own
  }

  /** The numbers in errors that concern no node. */
  numbers(): PoolStats {
    const most = this.pools.all.reduce((sum, { pool }) => sum + pool.max, 0)
    const max = Math.min(Math.max(most, this.pools.bounds.max), this.#config.maxTotal)
    return { ...this.ownPool.stats(), ...this.sums(), state: this.#state, max }
  }

  get #state(): PoolStats['state'] {
    return this.#isGone ? 'closed' : this.#isClosed ? 'draining' : 'open'
  }

  /** The sums over all nodes. */
  sums(): Pick<PoolStats, 'size' | 'idle' | 'borrowed' | 'pending'> {
    const sums = { size: 0, idle: 0, borrowed: 0, pending: 0 }
    for (const { pool } of this.pools.all) {
      sums.size += pool.size
      sums.idle += pool.available
      sums.borrowed += pool.borrowed
      sums.pending += pool.pending
    }
    return sums
  }

  #inUse(): Address[] {
    const used = this.pools.all.filter(({ pool, waits }) => pool.size > 0 || !waits.isEmpty)
    return [...new Map(used.map(({ address }) => [inWords(address), address])).values()]
  }

  #onChange(isBelieved: boolean): void {
    if (isBelieved) {
      for (const nodePool of this.pools.open) {
        const { address, role } = nodePool
        if (this.topology.map.roleOf(address) !== role)
          this.pools.retire(nodePool, `${inWords(address)} is no ${role} of the cluster any more`)
      }
      this.#cutSilent()
    }
    this.router.reroute()
  }

  #cutSilent(): void {
    for (const nodePool of this.pools.all)
      if (this.topology.isSilent(nodePool.address)) this.pools.cut(nodePool)
  }

  stats(): Omit<RedisClusterStats, 'size' | 'idle' | 'borrowed' | 'pending'> {
    const { map, refresher } = this.topology
    const { shards } = map
    const nodes = this.pools.all.map(({ address, role, pool }) => {
      const node = inWords(address)
      const slots = role === 'primary' ? (shards.get(node)?.slots ?? 0) : 0
      return { node, role, slots, stats: pool.stats() }
    })
    return {
      name: this.#config.name,
      state: this.#state,
      maxTotal: this.#config.maxTotal,
      topology: {
        epoch: map.epoch,
        covered: [...shards.values()].reduce((sum, { slots }) => sum + slots, 0),
        refreshes: refresher.count,
        changes: map.changes,
        moved: this.#moved,
        followed: this.#followed,
        retired: this.pools.retirements,
      },
      nodes,
    }
  }

  start(): void {
    // Looked after from then on, so that its connections end if nobody needs them.
    void this.topology.refresh().then(() => this.topology.watch())
  }

  /** Every node of the topology, by what is believed of it once nodes have been asked. */
  async list(limits: Limits): Promise<RedisClusterNode[]> {
    await this.router.known('nodes', limits)
    this.topology.watch()
    return [...this.topology.map.shards].flatMap(([node, { shard, slots }]) => [
      { node, role: 'primary' as const, slots },
      ...shard.replicas
        .map(({ address }) => ({
          node: inWords(address),
          role: 'replica' as const,
          slots: 0,
          replicaOf: node,
        }))
        .filter(replica => !this.topology.map.shards.has(replica.node)),
    ])
  }

  /** Waits for the topology, and where a `min` is to be kept, until each primary has it. */
  async ready(limits: Limits): Promise<void> {
    const since = systemClock.now()
    this.start()
    await this.router.known('ready', limits)
    const { map } = this.topology
    for (let changes = -1; changes !== map.changes; ) {
      changes = map.changes
      // Nobody would end pools that are made from now on.
      if (this.#isClosed) throw closed(this.numbers())
      if (this.pools.bounds.min > 0)
        for (const { shard } of map.shards.values()) this.pools.of(shard.primary.address, 'primary')
      this.topology.watch()
      const left = callOptionsOf({ ...limits, millis: since + limits.millis - systemClock.now() })
      await Promise.all(this.pools.open.map(({ pool }) => pool.ready(left)))
    }
  }

  drain(limits: Limits): Promise<void> {
    return this.#end(pool => pool.drain(callOptionsOf(limits)))
  }

  async close(limits: Limits): Promise<void> {
    try {
      await this.#end(pool => pool.close(callOptionsOf(limits)))
    } finally {
      this.#isGone = true
      this.topology.close()
    }
  }

  /** No loan begins from now on. */
  async #end(end: (pool: Pool<Redis>) => Promise<void>): Promise<void> {
    this.#isClosed = true
    this.router.end()
    const pools = [...this.pools.all.map(({ pool }) => pool), this.ownPool]
    const ended = await Promise.allSettled(pools.map(end))
    for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason
  }
}

const callOptionsOf = ({ millis, signal }: Limits): CallOptions => ({
  timeoutMillis: millis === Number.POSITIVE_INFINITY ? false : Math.max(millis, 0),
  signal,
})

/** Has the server ended the connection, or shown that it serves nobody? */
const isSuspicious = (ended: unknown): boolean =>
  ['broken', 'half-closed', 'invalid', 'generation'].includes(
    String((ended as { reason?: unknown } | undefined)?.reason),
  )

/** How long a single command may be sent from node to node. Milliseconds. */
const LONGEST_PATIENCE = 5000
