import type { PoolStats } from '../../api/stats.ts'
import { livePools, type Reporting } from '../registry.ts'

/** The attributes of a pool, under OpenTelemetry's names. */
export type PoolAttributes = Readonly<Record<string, string | number>>

/** A pool that can be observed: any pool, except one from a copy of this package that is too old. */
export type Observable = Reporting & { stats(): PoolStats }

const names = new WeakMap<Reporting, string>()

export const isObservable = (pool: Reporting): pool is Observable => pool.stats !== undefined

/** All pools of this process that can be observed. */
export const observablePools = (): Observable[] => livePools().filter(isObservable)

/**
 * The name of a pool in metrics, unique in the process. If two pools share a name, the second one gets `#2`. A pool
 * keeps its name for its whole life.
 */
export function uniqueName(pool: Reporting): string {
  const known = names.get(pool)
  if (known !== undefined) return known
  const taken = new Set<string | undefined>()
  for (const other of livePools()) {
    if (names.has(other)) taken.add(names.get(other))
  }
  // Older pools choose first, whichever pool is asked about first.
  for (const each of [...livePools(), pool]) {
    if (names.has(each)) continue
    let name = each.name
    for (let number = 2; taken.has(name); number += 1) name = `${each.name}#${number}`
    taken.add(name)
    names.set(each, name)
  }
  return names.get(pool) ?? pool.name
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
