export { createPool } from './create.ts'
export { type AcquirePhase, isPoolError, PoolError, type PoolErrorCode } from './errors.ts'
export { Lease } from './lease.ts'
export { Pool } from './pool.ts'
export type {
  AcquireOptions,
  DestroyReason,
  Factory,
  PoolEvents,
  PoolOptions,
  PoolStats,
} from './types.ts'
