import { createStrictPool } from '../create.ts'
import { isPoolError } from '../errors.ts'
import { badOptions, nameIn, resolveOptions } from '../options.ts'
import type { Pool } from '../pool.ts'
import type { Factory, PoolOptions } from '../types.ts'

/**
 * Makes the pool of an adapter.
 *
 * @param makeFactory - throws `POOL_BAD_OPTIONS` if what the adapter was given is wrong
 * @throws PoolError `POOL_BAD_OPTIONS` that lists what is wrong with that and with the options of the pool
 */
export function openAdapter<T>(makeFactory: () => Factory<T>, options: PoolOptions | undefined): Pool<T> {
  const issues: string[] = []
  const collect = (error: unknown): undefined => {
    if (!isPoolError(error, 'POOL_BAD_OPTIONS')) throw error
    issues.push(...(error.issues ?? []))
  }
  let factory: Factory<T> | undefined
  try {
    factory = makeFactory()
  } catch (error) {
    collect(error)
  }
  if (factory !== undefined) return createStrictPool(factory, options)
  try {
    resolveOptions(options, false)
  } catch (error) {
    collect(error)
  }
  throw badOptions(issues, nameIn(options))
}
