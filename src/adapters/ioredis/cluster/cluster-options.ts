import { Redis, type RedisOptions } from 'ioredis'
import { isPoolError } from '../../../api/errors.ts'
import { KNOWN, whole, wholeTo } from '../../../api/options/option-table.ts'
import { isRecord, readRecord, show } from '../../../api/options/read-input.ts'
import { badOptions, nameIn, readOptions, resolveOptions } from '../../../api/options/resolve-options.ts'
import { createBudget } from '../../../connecting/budget.ts'
import { clientMaker } from '../client/client-options.ts'
import type { Address } from '../failover/addresses.ts'
import { type NodePoolOptions, type RedisPoolOptions, splitOptions } from '../redis-pool-options.ts'
import { type Key, keySlot, SLOTS } from './keys.ts'
import type { Slotted } from './loan-guard.ts'
import { type NatMap, type Translate, translator } from './view.ts'

/** A node to begin with: `host:port`, a URL, a port of this host, or its parts. One that is alive is enough. */
export type ClusterSeed =
  | string
  | number
  | { readonly host?: string | undefined; readonly port?: number | undefined }

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
  readonly drainTimeoutMillis: number
  readonly translate: Translate
}

/** Options that say where a client connects to, and what a cluster decides itself. */
const NOT_HERE = ['host', 'port', 'path', 'sentinels', 'name', 'readOnly', 'role'] as const
const PORT = wholeTo(1, 65_535)

let made = 0

/** @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong */
export function readCluster(nodes: unknown, given: unknown): ClusterConfig {
  const issues: string[] = []
  const options = isRecord(given) ? readRecord(given, NAMES, issues) : {}
  if (given !== undefined && !isRecord(given)) issues.push(`options must be an object, got ${show(given)}`)
  const { redisOptions = {}, natMap, maxTotal = Number.POSITIVE_INFINITY, ...others } = options
  const { seeds, login } = readSeeds(nodes, issues)
  if (!isRecord(redisOptions)) issues.push(`redisOptions must be an object, got ${show(redisOptions)}`)
  const redis = { ...login, ...(isRecord(redisOptions) ? redisOptions : {}) } as RedisOptions
  for (const name of NOT_HERE)
    if (redis[name] !== undefined)
      issues.push(`redisOptions.${name} has no place in a cluster: it has many nodes`)
  if (Number(redis.db ?? 0) !== 0) issues.push('redisOptions.db must be 0: a cluster has no other database')
  if (natMap !== undefined && typeof natMap !== 'function' && !isRecord(natMap))
    issues.push(`natMap must be an object or a function, got ${show(natMap)}`)
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
  const target: Record<string, unknown> = { ...redis, host: 'localhost', port: 6379 }
  for (const other of NOT_HERE.slice(2)) delete target[other]
  collect(() => clientMaker(Redis, target, pool.credentials !== undefined))
  const split = splitOptions(pool)
  issues.push(...split.issues)
  const resolved = collect(() => resolveOptions(readOptions(split.pool), false))
  if (issues.length > 0 || resolved === undefined) throw badOptions(issues, name)
  pool.credentials = split.adapter.credentials
  made += 1
  const ownName = name ?? `cluster-${made}`
  // The pools of the nodes share it.
  if (maxTotal !== Number.POSITIVE_INFINITY)
    pool.budget = createBudget({ max: maxTotal as number, name: ownName })
  return {
    name: ownName,
    ...{ seeds, redis, pool },
    min: resolved.min,
    max: resolved.max,
    autostart: resolved.autostart,
    maxTotal: maxTotal as number,
    acquireTimeoutMillis: resolved.acquireTimeoutMillis,
    drainTimeoutMillis: resolved.drainTimeoutMillis,
    translate: translator(natMap as NatMap | undefined),
  }
}

const NAMES: ReadonlySet<string> = new Set([
  ...KNOWN,
  ...['instances', 'role', 'cleanCommands', 'credentials', 'prepare', 'redisOptions', 'natMap', 'maxTotal'],
])

/** A user, a password and TLS in the URL of a node count for all nodes: they are those of the cluster. */
function readSeeds(nodes: unknown, issues: string[]): { seeds: Address[]; login: RedisOptions } {
  const given = Array.isArray(nodes) ? nodes : [nodes]
  const login: RedisOptions = {}
  if (given.length === 0) issues.push('nodes must name at least one node of the cluster')
  const seeds = given.flatMap(node => {
    const seed = typeof node === 'string' ? readText(node, login) : node
    const { host = '127.0.0.1', port = 6379 } =
      typeof seed === 'number' ? { port: seed } : isRecord(seed) ? seed : {}
    const isSeed = (typeof seed === 'number' || isRecord(seed)) && typeof host === 'string' && host !== ''
    if (isSeed && PORT.ok(port)) return [{ host, port: port as number }]
    issues.push(`nodes must be 'host:port', URLs, ports or { host, port }, got ${show(node)}`)
    return []
  })
  return { seeds, login }
}

function readText(text: string, login: RedisOptions): unknown {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && /^rediss?:$/.test(url.protocol)) {
    if (url.username !== '') login.username ??= decodeURIComponent(url.username)
    if (url.password !== '') login.password ??= decodeURIComponent(url.password)
    if (url.protocol === 'rediss:') login.tls ??= {}
    return { host: url.hostname.replace(/^\[(.*)\]$/, '$1') || undefined, port: Number(url.port || 6379) }
  }
  const [, bracketed, host = bracketed, port] = /^(?:\[(.+)\]|([^:/@]+)):(\d+)$/.exec(text.trim()) ?? []
  return host === undefined ? text : { host, port: Number(port) }
}

/** Where a loan leads to: the node of a key or of a slot, or one node by its address. */
export type ClusterWhere =
  | { readonly key: string | Uint8Array; readonly role?: 'primary' | 'replica' | undefined }
  | { readonly slot: number; readonly role?: 'primary' | 'replica' | undefined }
  | { readonly node: string }

/** The same, checked. */
export interface Target extends Slotted {
  /** `host:port`, where the loan is for a node. */
  readonly node: string | undefined
}

const WAYS = ['key', 'slot', 'node'] as const
const ROLES: readonly unknown[] = ['primary', 'replica', undefined]

/** @throws PoolError `POOL_BAD_OPTIONS` */
export function readWhere(where: unknown, keyPrefix: string | Uint8Array | undefined, pool: string): Target {
  const given: Record<string, unknown> = isRecord(where) ? where : {}
  const issues: string[] = []
  const ways = WAYS.filter(way => given[way] !== undefined)
  if (ways.length !== 1)
    issues.push(
      `the first argument says where the loan leads: { key }, { slot } or { node }, got ${show(where)}`,
    )
  for (const name of Object.keys(given))
    if (!(WAYS as readonly string[]).includes(name) && name !== 'role')
      issues.push(`${name} does not say where a loan leads`)
  const { key, slot, node, role } = given
  if (key !== undefined && typeof key !== 'string' && !(key instanceof Uint8Array))
    issues.push(`key must be a string or a Buffer, got ${show(key)}`)
  if (slot !== undefined && !(Number.isInteger(slot) && (slot as number) >= 0 && (slot as number) < SLOTS))
    issues.push(`slot must be a whole number from 0 to ${SLOTS - 1}, got ${show(slot)}`)
  if (node !== undefined && typeof node !== 'string')
    issues.push(`node must be 'host:port', got ${show(node)}`)
  if (!ROLES.includes(role)) issues.push(`role must be 'primary' or 'replica', got ${show(role)}`)
  if (node !== undefined && role !== undefined) issues.push('role has no meaning with node: the node has one')
  if (issues.length > 0) throw badOptions(issues, pool)
  const sent = key === undefined ? undefined : prefixed(key as Key, keyPrefix)
  return {
    slot: sent === undefined ? (slot as number | undefined) : keySlot(sent),
    key: sent,
    node: node as string | undefined,
    role: (role as Target['role'] | undefined) ?? 'primary',
  }
}

/** The key as ioredis sends it. */
function prefixed(key: Key, prefix: string | Uint8Array | undefined): Key {
  if (prefix === undefined || prefix.length === 0) return key
  if (typeof key === 'string' && typeof prefix === 'string') return prefix + key
  return Buffer.concat([Buffer.from(prefix), Buffer.from(key)])
}
