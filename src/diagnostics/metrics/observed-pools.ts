import type { PoolStats } from '../../api/stats.ts'
import { livePools, type Reporting } from '../registry.ts'

/** Attributes of a pool, under OpenTelemetry's names. */
export type PoolAttributes = Readonly<Record<string, string | number>>

/** A pool that can be observed: any but those of copies of this package that are too old. */
export type Observable = Reporting & { stats(): PoolStats }

const names = new WeakMap<Reporting, string>()

export const isObservable = (pool: Reporting): pool is Observable => pool.stats !== undefined

/** All pools of this process that can be observed. */
export const observablePools = (): Observable[] => livePools().filter(isObservable)

/**
 * The name of a pool in metrics, unique in the process: the second of those that share one gets `#2`. It keeps it as long
 * as it lives.
 */
export function uniqueName(pool: Reporting): string {
  const known = names.get(pool)
  if (known !== undefined) return known
  const taken = new Set<string | undefined>()
  for (const other of livePools()) {
    if (names.has(other)) taken.add(names.get(other))
  }
  // The older ones choose first, whoever is asked for first.
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
