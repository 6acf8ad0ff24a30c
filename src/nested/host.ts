import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { PoolStats, Totals } from '../api/stats.ts'
import type { Slots } from '../connections/slots.ts'
import type { Waiter } from '../queue/waiter.ts'
import type { Clock } from '../runtime/clock.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import type { Stalls } from '../runtime/stalls.ts'

/** What a pool lets this policy see and do. */
export interface NestingHost<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly events: PoolEmitter<T>
  readonly slots: Slots<T>
  readonly totals: Totals
  readonly sampler: StackSampler
  readonly stalls: Stalls
  stats(): PoolStats
  /** Sends a waiter away with its sentence. @returns false if it has left meanwhile */
  reject(waiter: Waiter<T>): boolean
}

/** Our own function that the user has called: where our frames end in a stack. */
export type Entry = (...args: never[]) => unknown
