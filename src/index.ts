import { createBudget as makeBudget } from './connecting/budget.ts'
import { createPool as makePool } from './pool/create-pool.ts'
import { Pool as PoolClass } from './pool/pool.ts'

export type { Budget, BudgetOptions, BudgetStats, BudgetUse } from './api/budget.ts'
export type {
  AcquireMessage,
  CreateMessage,
  PoolIdentity,
  PoolInstance,
  UseMessage,
  ValidateMessage,
} from './api/channels.ts'
export {
  type AcquirePhase,
  isPoolError,
  type MovedSlot,
  PoolError,
  type PoolErrorCode,
  type PoolErrorOf,
} from './api/errors.ts'
export type { LeakEvent, PoolEvents } from './api/events.ts'
export type { Factory, ServerInfo } from './api/factory.ts'
export type { AcquireOptions, PoolOptions, PoolOptions as Options } from './api/options/options.ts'
export type { DestroyReason, PoolStats, TimesOf } from './api/stats.ts'
export type { ConnectionReport, LeaseReport, PoolReport, WaiterReport } from './diagnostics/pool-report.ts'
export { genericPool as default } from './generic-pool.ts'
export { Lease } from './pool/lease.ts'

/*
 * Plain properties of the object that `require` returns, not getters of a re-export, so that tests can replace them.
 */

export const createPool = makePool
export const createBudget = makeBudget
export const Pool = PoolClass
export type Pool<T> = PoolClass<T>
