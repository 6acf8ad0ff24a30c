/*
 * The entry point for `import`. It uses the same implementation as `require`, so that both share classes and pools.
 */
export { genericPool as default } from './generic-pool.ts'
export type * from './index.ts'
export { createBudget, createPool, isPoolError, Lease, Pool, PoolError } from './index.ts'
