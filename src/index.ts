export { type AcquirePhase, isPoolError, PoolError, type PoolErrorCode } from './errors.ts'
export { Lease } from './lease.ts'
export { createPool, Pool } from './pool.ts'
export type {
  AcquireOptions,
  DestroyReason,
  Factory,
  PoolEvents,
  PoolOptions,
  PoolStats,
} from './types.ts'
