import { Redis, type RedisOptions } from 'ioredis'
import { isPoolError } from '../../../api/errors.ts'
import { whole } from '../../../api/options/option-table.ts'
import { isRecord, readRecord, show } from '../../../api/options/read-input.ts'
import { badOptions, nameIn, readOptions, resolveOptions } from '../../../api/options/resolve-options.ts'
import { createMaxTotal } from '../../../connecting/budget.ts'
import { clientMaker } from '../client/client-options.ts'
import type { CredentialSource } from '../client/credentials.ts'
import type { Address } from '../failover/addresses.ts'
import {
  NAMES,
  type NodePoolOptions,
  type RedisPoolOptions,
  splitOptions,
  withoutMisplaced,
} from '../redis-pool-options.ts'
import { ONE_DATABASE, readSeeds } from './seeds.ts'
import { type NatMap, natMapIssues, type Translate, translator } from './view.ts'

/** Options of a pool of a Redis Cluster: those of the pool of each node, and some that concern the cluster. */
export interface RedisClusterOptions extends Omit<RedisPoolOptions, 'role'> {
  /** What ioredis is told of each node: `username`, `password`, `tls`, `keyPrefix` and so on, but no address. */
  redisOptions?: RedisOptions | undefined
  /**
   * The address at which this process reaches a node that the cluster calls otherwise, as with ioredis: an object with
   * the cluster's `host:port` as keys, or a function of it.
   */
  natMap?: NatMap | undefined
  /** Most connections to all nodes together. `max` is the limit for each. Default: no limit. */
  maxTotal?: number | undefined
}

/** The options, checked. */
export interface ClusterConfig {
  readonly name: string
  readonly seeds: readonly Address[]
  readonly redis: RedisOptions
  readonly pool: NodePoolOptions
  readonly min: number
  readonly max: number
  readonly autostart: boolean
  readonly maxTotal: number
  readonly acquireTimeoutMillis: number
  readonly createTimeoutMillis: number
  /** Shared by the pools of the nodes and the pool's own connections. */
  readonly credentials: CredentialSource | undefined
  readonly drainTimeoutMillis: number
  readonly translate: Translate
}

/** The names of all options. */
const OWN_NAMES: ReadonlySet<string> = new Set([...NAMES, 'redisOptions', 'natMap', 'maxTotal'])
const NONE: ReadonlySet<string> = new Set()

let made = 0

/** @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong */
export function readCluster(nodes: unknown, given: unknown): ClusterConfig {
  const issues: string[] = []
  const read = isRecord(given) ? readRecord(given, OWN_NAMES, issues) : {}
  const options = withoutMisplaced(read, OWN_NAMES, 'cluster', issues)
  if (given !== undefined && !isRecord(given)) issues.push(`options must be an object, got ${show(given)}`)
  const { redisOptions = {}, natMap, maxTotal = Number.POSITIVE_INFINITY, ...others } = options
  if (!isRecord(redisOptions)) issues.push(`redisOptions must be an object, got ${show(redisOptions)}`)
  const own = isRecord(redisOptions) ? readRecord(redisOptions, undefined, issues) : {}
  const { seeds, login } = readSeeds(nodes, own, issues)
  const redis = { ...login, ...withoutMisplaced(own, NONE, 'redisOptions', issues) } as RedisOptions
  if (Number(redis.db ?? 0) !== 0) issues.push(`redisOptions.db must be 0: ${ONE_DATABASE}`)
  issues.push(...natMapIssues(natMap))
  if (maxTotal !== Number.POSITIVE_INFINITY && !whole(1).ok(maxTotal))
    issues.push(`maxTotal must be ${whole(1).want}, got ${show(maxTotal)}`)
  if (others.budget !== undefined && maxTotal !== Number.POSITIVE_INFINITY)
    issues.push('maxTotal and budget exclude each other: each is a limit for all nodes together')
  if (others.role !== undefined) issues.push('role is said with each loan: pool.use({ key, role }, fn)')
  const name = nameIn(others)
  const pool = { ...others } as NodePoolOptions
  delete (pool as { role?: unknown }).role
  const collect = <R>(run: () => R): R | undefined => {
    try {
      return run()
    } catch (error) {
      if (!isPoolError(error, 'POOL_BAD_OPTIONS')) throw error
      issues.push(...error.issues)
      return undefined
    }
  }
  const target = { ...redis, host: 'localhost', port: 6379 }
  collect(() => clientMaker(Redis, target, pool.credentials !== undefined))
  const split = splitOptions(pool)
  issues.push(...split.issues)
  const resolved = collect(() => resolveOptions(readOptions(split.pool), false))
  if (issues.length > 0 || resolved === undefined) throw badOptions(issues, name)
  pool.credentials = split.adapter.credentials
  made += 1
  const ownName = name ?? `cluster-${made}`
  // The pools of the nodes share it.
  if (maxTotal !== Number.POSITIVE_INFINITY) pool.budget = createMaxTotal(ownName, maxTotal as number)
  return {
    name: ownName,
    ...{ seeds, redis, pool },
    min: resolved.min,
    max: resolved.max,
    autostart: resolved.autostart,
    maxTotal: maxTotal as number,
    acquireTimeoutMillis: resolved.acquireTimeoutMillis,
    createTimeoutMillis: resolved.createTimeoutMillis,
    credentials: split.adapter.credentials,
    drainTimeoutMillis: resolved.drainTimeoutMillis,
    translate: translator(natMap as NatMap | undefined),
  }
}
