import type { PoolStats } from '../../api/stats.ts'
import { livePools, type Reporting } from '../registry.ts'

/** Attributes of a pool, under OpenTelemetry's names. */
export type PoolAttributes = Readonly<Record<string, string | number>>

/** A pool that can be observed: any but those of copies of this package that are too old. */
export type Observable = Reporting & { stats(): PoolStats }

/** The name that a pool has in metrics. */
const names = new WeakMap<Reporting, string>()
/** Closed ones whose name another pool has now. */
const superseded = new WeakSet<Reporting>()

export const isObservable = (pool: Reporting): pool is Observable => pool.stats !== undefined

/** All pools of this process that can be observed. */
export const observablePools = (): Observable[] => livePools().filter(isObservable)

/**
 * Those of these pools that are reported: all but closed ones whose name has gone to a pool that was made after them. So
 * a service that closes a pool and makes it anew goes on with the same series, whether or not the old one has been
 * collected as garbage by then, and no series is there twice.
 */
export function reportable(pools: readonly Observable[]): Observable[] {
  for (const pool of pools) uniqueName(pool)
  return pools.filter(pool => !superseded.has(pool))
}

/**
 * The name of a pool in metrics, unique in the process: the second of those that share one gets `#2`, unless the first
 * is closed. It keeps it as long as it lives.
 */
export function uniqueName(pool: Reporting): string {
  const known = names.get(pool)
  if (known !== undefined) return known
  const live = livePools()
  const holders = new Map(live.flatMap(each => (names.has(each) ? [[names.get(each), each]] : [])))
  // The older ones choose first, whoever is asked for first.
  for (const each of [...live, pool]) {
    if (names.has(each)) continue
    let name = each.name
    for (let number = 2; isTaken(holders.get(name)); number += 1) name = `${each.name}#${number}`
    const before = holders.get(name)
    if (before !== undefined) superseded.add(before)
    holders.set(name, each)
    names.set(each, name)
  }
  return names.get(pool) ?? pool.name
}

function isTaken(by: Reporting | undefined): boolean {
  if (by === undefined) return false
  try {
    return by.stats?.().state !== 'closed'
  } catch {
    return true
  }
}

const keys = new WeakMap<Reporting, object>()

/** Stands for a pool where that itself must not be held. */
export function keyOf(pool: Reporting): object {
  const key = keys.get(pool) ?? {}
  keys.set(pool, key)
  return key
}

const attributes = new WeakMap<object, PoolAttributes>()

/** The same object as long as nothing changes: it is asked for every span. */
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
