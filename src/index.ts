import { createPool } from './pool/create-pool.ts'
import { Pool } from './pool/pool.ts'

export {
  type AcquirePhase,
  isPoolError,
  PoolError,
  type PoolErrorCode,
  type PoolErrorOf,
} from './api/errors.ts'
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
} from './api/factory.ts'
export type { ConnectionReport, LeaseReport, PoolReport, WaiterReport } from './diagnostics/report.ts'
export { Lease } from './pool/lease.ts'
export { createPool, Pool }

/** For `import genericPool from 'generic-pool'` with only the name of the package changed. */
export default { createPool, Pool }
