/* The same for `import`: one implementation, so that classes and pools are shared with whoever calls `require`. */
export { genericPool as default } from './generic-pool.ts'
export type * from './index.ts'
export { createPool, isPoolError, Lease, Pool, PoolError } from './index.ts'
