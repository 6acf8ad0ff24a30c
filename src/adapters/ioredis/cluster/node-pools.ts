import { Redis } from 'ioredis'
import { PoolError } from '../../../api/errors.ts'
import type { PoolEvents } from '../../../api/events.ts'
import type { ControlPlace } from '../../../connecting/control-place.ts'
import type { Pool } from '../../../pool/pool.ts'
import { log } from '../../../runtime/log/log.ts'
import { destroyWithError } from '../client/client.ts'
import { clientMaker } from '../client/client-options.ts'
import type { RedisClient } from '../client/client-types.ts'
import { clientFactory, type Make } from '../factory.ts'
import { type Address, inWords, isSameAddress } from '../failover/addresses.ts'
import { openRedisPool } from '../open-redis-pool.ts'
import type { RedisPoolContext } from '../redis-pool-context.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { listenerTo } from './heard.ts'
import { raiseMin, roomFor } from './node-mins.ts'
import { NodeWaits } from './node-waits.ts'

export type NodeRole = 'primary' | 'replica'

/** The pool of one node. */
export interface NodePool {
  readonly address: Address
  role: NodeRole
  readonly pool: Pool<Redis>
  readonly context: RedisPoolContext
  readonly waits: NodeWaits
  /** Where the cluster's own connection to the node counts. */
  readonly place: ControlPlace<Redis>
  /** Has any connection received anything since this was last called? */
  readonly hasHeard: () => boolean
  /** Connections from before the pool was retired. */
  outdated: WeakSet<RedisClient>
}

interface Bounds {
  readonly min: number
  readonly max: number
}

/** Events of the pools of the nodes that the cluster's pool emits as well; those of each loan are too many. */
const PASSED_ON = [
  'factoryCreateError',
  'factoryDestroyError',
  'connect',
  'destroy',
  'half-close',
  'server-timeout',
  'shed',
  'leak',
  'leak-end',
  'nested',
  'deadlock',
  'dirty',
  'breaker',
] as const

/** Calls the listeners of the cluster's pool. */
export type PassOn = <K extends keyof PoolEvents<Redis> & string>(
  event: K,
  ...details: PoolEvents<Redis>[K]
) => unknown

/** What happened in the pool of a node: an event, `made`, or `slots-moved`, where the node says so itself. */
export type Observe = (event: string, address: Address, detail: unknown) => void

/**
 * The pools of a cluster's nodes, one for each. It is made when it is first needed, and drained when its node has gone or
 * has got another role.
 */
export class NodePools {
  readonly #config: ClusterConfig
  readonly #passOn: PassOn
  readonly #observe: Observe
  readonly #open = new Map<string, NodePool>()
  /** Pools of nodes that have gone or changed their role, until their last loan has ended. */
  readonly #retired = new Set<NodePool>()
  /** How many pools have been retired. */
  retirements = 0
  /** Those of each node. `min` is kept as far as a budget has room for it. */
  bounds: Bounds

  constructor(config: ClusterConfig, passOn: PassOn, observe: Observe) {
    this.#config = config
    this.#passOn = passOn
    this.#observe = observe
    this.bounds = { min: config.min, max: config.max }
  }

  get open(): readonly NodePool[] {
    return [...this.#open.values()]
  }

  get all(): readonly NodePool[] {
    return [...this.#open.values(), ...this.#retired]
  }

  /** The pool of a node, if there is one. */
  at(address: Address): NodePool | undefined {
    const open = this.#open.get(inWords(address))
    if (open !== undefined) return open
    for (const nodePool of this.#retired) if (isSameAddress(nodePool.address, address)) return nodePool
    return undefined
  }

  of(address: Address, role: NodeRole): NodePool {
    const key = inWords(address)
    const known = this.#open.get(key)
    if (known?.role === role) return known
    if (known !== undefined) this.retire(known, `${key} is a ${role} of the cluster now`)
    const nodePool = this.#revived(address, role) ?? this.#make(address, role)
    nodePool.role = role
    nodePool.context.role = role
    this.#open.set(key, nodePool)
    if (nodePool.pool.min < this.bounds.min) this.#raiseMin()
    return nodePool
  }

  /** The retired pool of a node that is back, in any role: so its last loans count against the same `max` as the new ones. */
  #revived(address: Address, role: NodeRole): NodePool | undefined {
    for (const nodePool of this.#retired) {
      if (!isSameAddress(nodePool.address, address)) continue
      this.#retired.delete(nodePool)
      // Its loans are those of a node that serves slots.
      if (nodePool.role === role) nodePool.outdated = new WeakSet()
      return nodePool
    }
    return undefined
  }

  /** Drains the pool: whoever waits is sent elsewhere, idle connections end, loans end as their borrowers end them. */
  retire(nodePool: NodePool, why: string): void {
    const { pool, address, waits, context } = nodePool
    this.#open.delete(inWords(address))
    this.#retired.add(nodePool)
    this.retirements += 1
    if (log.pool.enabled) log.pool('%s: retired: %s', pool.name, why)
    waits.sendElsewhere(pool, () => false)
    if (pool.min > 0) pool.resize({ min: 0 })
    nodePool.outdated = new WeakSet(context.failover.clients.keys())
    pool.purge(why)
    this.#closeIfEmpty(nodePool)
    this.#raiseMin()
  }

  /** Those of nodes that have gone get the same `max`, as they may be back. */
  resize(bounds: Bounds): void {
    this.bounds = bounds
    for (const { pool } of this.all) pool.resize({ max: bounds.max, min: Math.min(pool.min, bounds.min) })
    this.#raiseMin()
  }

  #closeIfEmpty(nodePool: NodePool): void {
    const { pool } = nodePool
    if (pool.size > 0 || pool.pending > 0 || !this.#retired.delete(nodePool)) return
    // Its last connections count in a budget until they are closed.
    pool.close({ timeoutMillis: false }).then(
      () => this.#raiseMin(),
      () => {},
    )
  }

  #raiseMin(): void {
    const pools = this.open.map(({ pool }) => pool)
    raiseMin(this.bounds.min, pools)
  }

  /**
   * Cuts the loans from before the pool was retired, as its node is silent: it is dead or stopped, its slots have another
   * owner, and no answer will come.
   */
  cut({ pool, address, context, outdated }: NodePool): void {
    const cut = [...context.failover.clients.keys()].filter(client => outdated.has(client))
    if (cut.length === 0) return
    const name = this.#config.name
    const error = new PoolError(
      'POOL_FAILOVER',
      `pool '${name}': the connection was cut, as ${inWords(address)} does not answer and the cluster has given its slots ` +
        'to another node. A command in progress may have run on the old primary and may be lost; check whether it can be ' +
        'repeated, and take a new connection',
      { pool: name },
    )
    if (log.pool.enabled) log.pool('%s: cut: the node is silent', pool.name)
    for (const client of cut) destroyWithError(client, error)
  }

  #make(address: Address, role: NodeRole): NodePool {
    const { name, redis, pool: options } = this.#config
    const { max } = this.bounds
    const others = this.open.map(({ pool }) => pool)
    const min = roomFor(this.bounds.min, options.budget, others)
    let made: RedisPoolContext | undefined
    const pool = openRedisPool<Redis>(
      context => {
        made = context
        context.role = role
        context.wantsReadOnly = true
        // A proxy that does not know INFO does not report the slots of its nodes either.
        context.isOrdinary = true
        context.handoffs.onSlotsMoved = () => this.#observe('slots-moved', address, undefined)
        const make = (readOnly: boolean): Make<Redis> =>
          clientMaker(Redis, { ...redis, ...address, readOnly }, options.credentials !== undefined)
        const [toPrimary, toReplica] = [make(false), make(true)]
        return clientFactory<Redis>(
          given => (context.role === 'replica' ? withoutReadOnly(toReplica(given)) : toPrimary(given)),
          context,
        )
      },
      { ...options, min, max, autostart: false, name: `${name} ${inWords(address)}` },
    )
    const context = made as RedisPoolContext
    const nodePool: NodePool = {
      ...{ address, role, pool, context },
      waits: new NodeWaits(),
      place: pool.controlPlace,
      hasHeard: listenerTo(() => context.failover.clients.keys()),
      outdated: new WeakSet(),
    }
    for (const event of PASSED_ON)
      pool.on(event, (...details: unknown[]) => {
        this.#observe(event, address, details[0])
        this.#closeIfEmpty(nodePool)
        return this.#passOn(event, ...(details as never))
      })
    this.#observe('made', address, nodePool.place)
    // Not before the connection that is there already counts.
    if (this.#config.autostart) pool.start()
    return nodePool
  }

  /** A pool of no node, for what concerns no connection of any of them. It connects to nobody. */
  makeIdle(): Pool<Redis> {
    const { name, redis, pool: options } = this.#config
    const { budget: _, ...others } = options
    return openRedisPool<Redis>(
      context => clientFactory<Redis>(clientMaker(Redis, redis, options.credentials !== undefined), context),
      { ...others, min: 0, autostart: false, name },
    )
  }
}

/** The factory sends READONLY itself, and heeds the answer: ioredis need not send it, too. A `duplicate()` of the client does. */
function withoutReadOnly(client: Redis): Redis {
  client.options.readOnly = false
  return client
}
