import type { PoolError } from './errors.ts'
import type { DestroyReason, PoolStats, SlotState } from './stats.ts'

/** The events of a pool, and what their listeners are called with. */
export interface PoolEvents<T> {
  /** The value that `create` or `destroy` threw. It is not guaranteed to be an `Error`. */
  factoryCreateError: [error: Error]
  factoryDestroyError: [error: Error]
  connect: [event: { pool: string; resource: T; millis: number }]
  acquire: [event: { pool: string; resource: T; waitedMillis: number }]
  release: [event: { pool: string; resource: T; connection: number; loan: number; heldMillis: number }]
  destroy: [event: { pool: string; resource: T; connection: number; reason: DestroyReason; detail?: string }]
  /**
   * A connection has gone from one state to another. Not emitted when an idle one is lent or comes back to be idle:
   * `acquire` and `release` tell that.
   */
  state: [event: { pool: string; connection: number; from: SlotState | undefined; state: SlotState }]
  /** A connection whose peer is gone was found, in this state. */
  'half-close': [
    event: {
      pool: string
      resource: T
      connection: number
      state: SlotState
      idleMillis?: number
      detail: string
    },
  ]
  /** What is known about the server's idle limit has changed. */
  'server-timeout': [event: { pool: string } & PoolStats['serverTimeout']]
  stall: [event: { pool: string; millis: number }]
  shed: [event: { pool: string; waitedMillis: number; estimatedMillis?: number }]
  leak: [event: LeakEvent<T>]
  'leak-end': [
    event: {
      pool: string
      resource: T
      heldMillis: number
      how: 'released' | 'destroyed' | 'reclaimed'
    },
  ]
  /** Emitted once for each pair of call sites. Stacks as far as `captureStacks` allows, innermost lease first. */
  nested: [
    event: { pool: string; heldPools: string[]; heldStacks: string[]; waitStack: string; rule: string },
  ]
  deadlock: [
    event: {
      pool: string
      pools: string[]
      waitedMillis: number
      heldStacks: string[]
      waitStack: string
      error: PoolError
    },
  ]
  /** Connections keep being returned dirty: emitted once per kind of leftover, at its second occurrence or later. */
  dirty: [event: { pool: string; left: string; times: number; stack: string }]
  breaker: [event: { pool: string; state: 'open' | 'closed'; failures: number; error: unknown }]
}

const BY_NAME: Readonly<Record<keyof PoolEvents<unknown>, true>> = {
  factoryCreateError: true,
  factoryDestroyError: true,
  connect: true,
  acquire: true,
  release: true,
  destroy: true,
  state: true,
  'half-close': true,
  'server-timeout': true,
  stall: true,
  shed: true,
  leak: true,
  'leak-end': true,
  nested: true,
  deadlock: true,
  dirty: true,
  breaker: true,
}

/** The names of all events of a pool. */
export const EVENTS: ReadonlySet<string> = new Set(Object.keys(BY_NAME))

/** A lease that looks forgotten. */
export interface LeakEvent<T> {
  pool: string
  resource: T
  /** Which connection and which of its loans, as in `report()`. */
  connection: number
  loan: number
  heldMillis: number
  /** Since it was last seen in use; the same as `heldMillis` where use cannot be observed. */
  unusedMillis: number
  /** What shows that it is not used, in words. */
  saw: string
  /** The stack of its acquire, if it was recorded; see `captureStacks`. */
  stack?: string
  /** Will the connection be destroyed, so that its place is free again? */
  reclaimed: boolean
  stats: PoolStats
}
