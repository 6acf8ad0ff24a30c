import { createPool } from './create.ts'
import { Pool } from './pool.ts'

export { type AcquirePhase, isPoolError, PoolError, type PoolErrorCode, type PoolErrorOf } from './errors.ts'
export { Lease } from './lease.ts'
export type { ConnectionReport, LeaseReport, PoolReport, WaiterReport } from './report.ts'
export type {
  AcquireOptions,
  DestroyReason,
  Factory,
  LeakEvent,
  PoolEvents,
  PoolOptions,
  /** Its name in generic-pool. */
  PoolOptions as Options,
  PoolStats,
} from './types.ts'
export { createPool, Pool }

/** For `import genericPool from 'generic-pool'` with only the name of the package changed. */
export default { createPool, Pool }
