import { createPool } from './pool/create-pool.ts'
import { Pool } from './pool/pool.ts'

export {
  type AcquirePhase,
  isPoolError,
  PoolError,
  type PoolErrorCode,
  type PoolErrorOf,
} from './api/errors.ts'
export type { Factory } from './api/factory.ts'
export { Lease } from './pool/lease.ts'
export { createPool, Pool }

/** For `import genericPool from 'generic-pool'` with only the name of the package changed. */
export default { createPool, Pool }

export type { LeakEvent, PoolEvents } from './api/events.ts'
export type { AcquireOptions, PoolOptions, PoolOptions as Options } from './api/options.ts'
export type { DestroyReason, PoolStats } from './api/stats.ts'
export type { ConnectionReport, LeaseReport, PoolReport, WaiterReport } from './diagnostics/pool-report.ts'
