import type { Socket } from 'node:net'
import type { SlotState } from '../connections/slot.ts'
import type { PoolError } from './errors.ts'

/**
 * How the pool makes, checks and ends the connections that it lends.
 *
 * Every hook that does something may be synchronous or not, may throw, reject or never settle: the pool bounds each by
 * its deadline and runs it outside the `AsyncLocalStorage` context of whoever asked for a connection. `socket` and `busy`
 * are plain questions, answered at once; a throw means that the connection is broken, or dirty.
 */
export interface Factory<T> {
  /**
   * Makes one connection. The signal is aborted when `createTimeoutMillis` has passed or the pool is closed: settle then,
   * as `close()` waits for what is still being made.
   */
  create(signal: AbortSignal): T | Promise<T>
  /**
   * Makes a new connection ready to be lent, once: a handshake, a SELECT, a schema. Part of the create and its deadline;
   * when it fails, the pool closes the connection, which `create` itself would have to see to.
   */
  prepare?(resource: T, signal: AbortSignal): void | Promise<void>
  /** Ends one connection. Bounded by `destroyTimeoutMillis`; until it settles, the connection counts against `max`. */
  destroy(resource: T): void | Promise<void>
  /** Is the connection usable? Anything but a truthy answer, a throw or the deadline means: no, destroy it. */
  validate?(resource: T, signal: AbortSignal): boolean | Promise<boolean>
  /** Cleans a connection on its return. A throw or the deadline destroys it. */
  reset?(resource: T, signal: AbortSignal): void | Promise<void>
  /** The socket behind a connection; switches the detection of half-closed connections on. */
  socket?(resource: T): Socket | undefined
  /** Has the connection unanswered work? Then it is dirty on return, and its holder counts as alive. */
  busy?(resource: T): boolean
  /** When the borrower last used the connection, on the clock of `performance.now()`. Not needed where there is a socket. */
  lastUsed?(resource: T): number | undefined
  /** May the server speak unasked on an idle connection (push messages, notices)? Asked once; else that is a fault. */
  unsolicited?(resource: T): boolean
  /** The server's idle limit in milliseconds (0: none), if it can be asked; called once per generation. */
  serverIdleTimeout?(resource: T): Promise<number | undefined>
}

/** Options of a pool. Times are in milliseconds. The first part has generic-pool's names and meaning. */
export interface PoolOptions {
  /** Most connections at any time, those still closing included. Default 1, minimum 1. */
  max?: number | undefined
  /** Connections kept although nobody asks. Default 0. */
  min?: number | undefined
  /** Most acquires waiting; further ones are rejected with `POOL_QUEUE_FULL`. Default: no limit. */
  maxWaitingClients?: number | undefined
  /** Number of priorities, 1 to 1000; 0 is the highest and the default of an acquire. Default 1. */
  priorityRange?: number | undefined
  /** Lend the connection that has been idle longest (`true`, the default) or shortest (`false`, recommended). */
  fifo?: boolean | undefined
  /** Make the `min` connections at once. Default true; otherwise `start()` or the first acquire does. */
  autostart?: boolean | undefined
  /** Validate every connection before it is lent. Default false. */
  testOnBorrow?: boolean | undefined
  /** Validate every connection when it comes back. Default false. */
  testOnReturn?: boolean | undefined
  /** Period of the idle check; 0 (default) leaves the period to the pool once an idle timeout is set. */
  evictionRunIntervalMillis?: number | undefined
  /** Most idle connections judged by one idle check. Default 3. */
  numTestsPerEvictionRun?: number | undefined
  /** Idle time after which a connection above `min` is destroyed. Default -1: never. */
  softIdleTimeoutMillis?: number | undefined
  /** Idle time after which any connection is destroyed. Default 30000; in force once it, or a period, is set. */
  idleTimeoutMillis?: number | undefined
  /** Longest wait for a connection. Default 5000; `false`: no limit. */
  acquireTimeoutMillis?: number | false | undefined
  /** Longest time for `factory.create`. Default 5000. */
  createTimeoutMillis?: number | undefined
  /** Longest time for `factory.validate`. Default 1000. */
  validateTimeoutMillis?: number | undefined
  /** Longest time for `factory.reset`. Default 1000. */
  resetTimeoutMillis?: number | undefined
  /** Longest time for `factory.destroy`. Default 2000. */
  destroyTimeoutMillis?: number | undefined
  /** Longest time for `drain()` and `close()` unless the call says otherwise. Default 10000. */
  drainTimeoutMillis?: number | undefined
  /** Age at which a connection is retired. Default: none. */
  maxLifetimeMillis?: number | undefined
  /** Share of `maxLifetimeMillis` by which retirements are spread, 0 to 1. Default 0.25. */
  lifetimeJitter?: number | undefined
  /** The server's idle limit: asked or learned (`'auto'`, default), a number, or `'none'`. */
  serverIdleTimeoutMillis?: number | 'auto' | 'none' | undefined
  /** Validate before lending once a connection has been idle this long. Default: off; adapters that validate: 500. */
  validateAfterIdleMillis?: number | undefined
  /** Validate idle connections shortly before the server would close them, instead of retiring them. Default false. */
  keepWarm?: boolean | undefined
  /** How long a lent connection may stay open after its peer has closed its side; then it is reset. Default 5000. */
  halfCloseGraceMillis?: number | undefined
  /** Detection of half-closed connections, where `factory.socket` tells the socket. Default `'on'`. */
  halfClose?: 'on' | 'off' | undefined
  /** What a nested acquire does. Default `'detect'`. */
  nested?: 'detect' | 'forbid' | 'reuse' | 'allow' | undefined
  /** How long a deadlock must stand without any sign of life before it is broken. Default 50. */
  deadlockGraceMillis?: number | undefined
  /** Report a lease that has not been used for this long. Default 0: off. */
  leakThresholdMillis?: number | undefined
  /** Destroy the connection of such a lease, so that its place is free again. Default false. */
  leakReclaim?: boolean | undefined
  /** Which acquires have their stack taken. Default `'sampled'`. */
  captureStacks?: 'off' | 'sampled' | 'all' | undefined
  /** Shed load early (CoDel). Default: off. */
  shedding?:
    | {
        /** Queue delay that is fine for a while. Default 50. */
        targetMillis?: number | undefined
        /** How long a while is. Default 2000. */
        intervalMillis?: number | undefined
        /** Who is served first while load is shed: the youngest (`'lifo'`, default) or the oldest. */
        order?: 'fifo' | 'lifo' | undefined
      }
    | undefined
  /** Refuse an acquire at once if, at the rate of service seen, its deadline would come first. Default false. */
  earlyRefusal?: boolean | undefined
  /** Appears in every error, event and metric. Default: generated. */
  name?: string | undefined
}

/** What one acquire may say. */
export interface AcquireOptions {
  /** 0 (highest, default) to `priorityRange - 1`. */
  priority?: number | undefined
  /** Aborting it rejects the waiting acquire with `POOL_ABORTED`. */
  signal?: AbortSignal | undefined
  /** Longest wait in milliseconds instead of `acquireTimeoutMillis`; 0: only what is idle now; `false`: no limit. */
  timeoutMillis?: number | false | undefined
  /**
   * Nobody who holds a connection waits for this acquire: work that was started and is left to itself. It starts a
   * context of its own for the nested acquires of `nested`, as if it came from outside. Default false.
   */
  detached?: boolean | undefined
}

/** Why a connection was destroyed. */
export type DestroyReason =
  | 'idle'
  | 'lifetime'
  | 'server-timeout'
  | 'half-closed'
  | 'invalid'
  | 'dirty'
  | 'generation'
  | 'broken'
  | 'user'
  | 'drain'
  | 'surplus'
  | 'leaked'

/** A plain snapshot of a pool. Counters run since the pool was made. */
export interface PoolStats {
  name: string
  state: 'open' | 'draining' | 'closed'
  max: number
  min: number
  /** Connections that the pool owns or makes; those closing are not counted. */
  size: number
  idle: number
  /** As `idle`, under generic-pool's name. */
  available: number
  borrowed: number
  /** Acquires that wait. */
  pending: number
  connecting: number
  validating: number
  resetting: number
  closing: number
  generation: number
  breaker: 'closed' | 'open'
  /** Failed creates in a row. */
  createFailures: number
  totals: {
    created: number
    createErrors: number
    destroyed: number
    destroyErrors: number
    acquired: number
    released: number
    timeouts: number
    aborted: number
    /** Acquires refused by `shedding` or `earlyRefusal`. */
    shed: number
    /** Leases reported by `leakThresholdMillis`. */
    leaks: number
    /** Acquires seen to be made while their context held a connection of any pool. */
    nested: number
    /** Deadlocks broken by rejecting an acquire of this pool. */
    deadlocks: number
  }
  /** Detection of half-closed connections. */
  halfClose: {
    /** Whether the kernel can be asked, or only the event loop; `'off'` where no sockets are known. */
    kernel: 'on' | 'unavailable' | 'off'
    /** Looks at the kernel, waits for the event loop, and loans for which neither was needed. */
    looks: number
    barriers: number
    gateSkips: number
    /** Times that one dead connection made the other idle ones prove themselves. */
    suspicions: number
    /** Dead connections: told by their sockets, found when about to be lent, by the sweep, and while lent. */
    found: { events: number; borrow: number; sweep: number; lent: number }
  }
  /** The server's idle limit as far as it is known, and the idle age at which connections retire because of it. */
  serverTimeout: {
    limitMillis: number | undefined
    retireAfterMillis: number | undefined
    source: 'given' | 'asked' | 'learned' | 'unknown'
    /** Idle connections that the server has closed. */
    closesSeen: number
  }
  /** Times that a turn of the event loop took 25 ms or more, while the pool was there. */
  stalls: { count: number; totalMillis: number; longestMillis: number }
  /** Lines of the library's own output, by `DEBUG` and report signals, of the whole process. */
  log: { written: number; dropped: number; waiting: number }
}

/** The events of a pool and what their listeners get. */
export interface PoolEvents<T> {
  /** Whatever `create` or `destroy` threw, which nobody can promise to be an `Error`. */
  factoryCreateError: [error: Error]
  factoryDestroyError: [error: Error]
  connect: [event: { pool: string; resource: T; millis: number }]
  acquire: [event: { pool: string; resource: T; waitedMillis: number }]
  release: [event: { pool: string; resource: T; heldMillis: number }]
  destroy: [event: { pool: string; resource: T; reason: DestroyReason; detail?: string }]
  /** A connection whose peer had gone was found, in this state. */
  'half-close': [event: { pool: string; resource: T; state: SlotState; idleMillis?: number; detail: string }]
  /** What is known of the server's idle limit has changed. */
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
  /** Told once for each pair of call sites. Stacks as far as `captureStacks` has them, innermost lease first. */
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
  /** Connections keep coming back soiled: once for each kind of leftover, at its second time or later. */
  dirty: [event: { pool: string; left: string; times: number; stack: string }]
  breaker: [event: { pool: string; state: 'open' | 'closed'; failures: number; error: unknown }]
}

/** A lease that looks forgotten. */
export interface LeakEvent<T> {
  pool: string
  resource: T
  /** Which connection and which of its loans, as in `report()`. */
  connection: number
  loan: number
  heldMillis: number
  /** Since it was last seen in use; the same as `heldMillis` where nothing tells of use. */
  unusedMillis: number
  /** Where it was taken, if that was noted; see `captureStacks`. */
  stack?: string
  /** Will the connection be destroyed and its place given to somebody else? */
  reclaimed: boolean
  stats: PoolStats
}

export type { PoolError }
