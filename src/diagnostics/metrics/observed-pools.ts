import type { PoolStats } from '../../api/stats.ts'
import { livePools, type Reporting } from '../registry.ts'

/** The attributes of a pool, under OpenTelemetry's names. */
export type PoolAttributes = Readonly<Record<string, string | number>>

/** A pool that can be observed: any pool, except one from a copy of this package that is too old. */
export type Observable = Reporting & { stats(): PoolStats }

/** The names that pools have in metrics. */
const names = new WeakMap<Reporting, string>()
/** Closed pools whose name a newer pool has now. */
const superseded = new WeakSet<Reporting>()

export const isObservable = (pool: Reporting): pool is Observable => pool.stats !== undefined

/** All pools of this process that can be observed. */
export const observablePools = (): Observable[] => livePools().filter(isObservable)

/**
 * The pools that are reported: all except closed ones whose name a newer pool has taken over. If a service closes a pool
 * and creates it again, the same series continue, whether or not the old pool has been garbage-collected by then, and no
 * series exists twice.
 */
export function reportable(pools: readonly Observable[]): Observable[] {
  for (const pool of pools) uniqueName(pool)
  return pools.filter(pool => !superseded.has(pool))
}

/**
 * The name of a pool in metrics, unique in the process. If two pools share a name, the second one gets `#2`, unless the
 * first one is closed. A pool keeps its name for its whole life.
 */
export function uniqueName(pool: Reporting): string {
  const known = names.get(pool)
  if (known !== undefined) return known
  const live = livePools()
  const holders = new Map(live.flatMap(each => (names.has(each) ? [[names.get(each), each]] : [])))
  const closed = new Map<Reporting, boolean>()
  const isTaken = (name: string): boolean => {
    const holder = holders.get(name)
    if (holder === undefined) return false
    const isOver = closed.get(holder) ?? isClosed(holder)
    closed.set(holder, isOver)
    return !isOver
  }
  // Older pools choose first, whichever pool is asked about first.
  for (const each of [...live, pool]) {
    if (names.has(each)) continue
    let name = each.name
    for (let number = 2; isTaken(name); number += 1) name = `${each.name}#${number}`
    const before = holders.get(name)
    if (before !== undefined) superseded.add(before)
    holders.set(name, each)
    names.set(each, name)
  }
  return names.get(pool) ?? pool.name
}

function isClosed(pool: Reporting): boolean {
  try {
    return pool.stats?.().state === 'closed'
  } catch {
    return false
  }
}

const keys = new WeakMap<Reporting, object>()

/** An object that stands for a pool where the pool itself must not be kept alive. */
export function keyOf(pool: Reporting): object {
  const key = keys.get(pool) ?? {}
  keys.set(pool, key)
  return key
}

const attributes = new WeakMap<object, PoolAttributes>()

/** The attributes of a pool. The result is the same object until something changes, because every span needs it. */
export function attributesOf(pool: Reporting): PoolAttributes {
  const identity = pool.identity?.()
  const known = identity && attributes.get(identity)
  if (known !== undefined) return known
  const { system, serverAddress, serverPort, database } = identity ?? {}
  const found = {
    'db.client.connection.pool.name': uniqueName(pool),
    ...(system === undefined ? {} : { 'db.system.name': system }),
    ...(serverAddress === undefined ? {} : { 'server.address': serverAddress }),
    ...(serverPort === undefined ? {} : { 'server.port': serverPort }),
    ...(database === undefined ? {} : { 'db.namespace': database }),
  }
  if (identity !== undefined) attributes.set(identity, found)
  return found
}
