import { isPoolError } from '../api/errors.ts'
import type { Factory } from '../api/factory.ts'
import type { PoolOptions } from '../api/options/options.ts'
import { badOptions, nameIn, readOptions, resolveOptions } from '../api/options/resolve-options.ts'
import { createStrictPool } from '../pool/create-pool.ts'
import type { Pool } from '../pool/pool.ts'

/**
 * Creates the pool of an adapter.
 *
 * @param makeFactory - throws `POOL_BAD_OPTIONS` if the adapter's first argument is wrong
 * @param wrong - what else is wrong
 * @throws PoolError `POOL_BAD_OPTIONS` that lists all of this and everything wrong with the pool's options
 */
export function openAdapter<T>(
  makeFactory: () => Factory<T>,
  options: PoolOptions | undefined,
  wrong: readonly string[] = [],
): Pool<T> {
  const issues = [...wrong]
  const collect = (error: unknown): undefined => {
    if (!isPoolError(error, 'POOL_BAD_OPTIONS')) throw error
    issues.push(...error.issues)
  }
  let factory: Factory<T> | undefined
  try {
    factory = makeFactory()
  } catch (error) {
    collect(error)
  }
  if (factory !== undefined && issues.length === 0) return createStrictPool(factory, options)
  const given = readOptions(options)
  try {
    resolveOptions(given, false)
  } catch (error) {
    collect(error)
  }
  throw badOptions(issues, nameIn(given.input))
}
