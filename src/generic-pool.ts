import type { Factory as PoolFactory } from './api/factory.ts'
import type { PoolOptions } from './api/options/options.ts'
import { createPool } from './pool/create-pool.ts'
import { Pool as PoolClass } from './pool/pool.ts'

/** What `import genericPool from 'generic-pool'` provides, values and types, so that only the package name changes. */
export const genericPool = { createPool, Pool: PoolClass }

export declare namespace genericPool {
  export type Pool<T> = PoolClass<T>
  export type Factory<T> = PoolFactory<T>
  export type Options = PoolOptions
}
