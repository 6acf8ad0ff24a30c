import type { Budget } from '../budget.ts'

/** A promise class with a static `resolve`, such as Bluebird. */
export interface PromiseClass {
  resolve(value?: unknown): PromiseLike<unknown>
}

/**
 * Options of a pool. Times are in milliseconds; `Infinity` means never. The options of the first part have
 * generic-pool's names and meaning.
 */
export interface PoolOptions {
  /** Most connections at any time, including those being closed. Default 1, minimum 1. */
  max?: number | undefined
  /** Connections kept even if nobody needs them. Default 0. */
  min?: number | undefined
  /** Most acquires that may wait. Further ones are rejected with `POOL_QUEUE_FULL`. Default: no limit. */
  maxWaitingClients?: number | undefined
  /** Number of priorities, 1 to 1000. Priority 0 is the highest, and the default of an acquire. Default 1. */
  priorityRange?: number | undefined
  /** Lend the connection that has been idle longest (`true`, the default) or shortest (`false`, recommended). */
  fifo?: boolean | undefined
  /** Create the `min` connections at once. Default true; otherwise `start()` or the first acquire does. */
  autostart?: boolean | undefined
  /** Validate every connection before it is lent. Default false. */
  testOnBorrow?: boolean | undefined
  /** Validate every connection when it is returned. Default false. */
  testOnReturn?: boolean | undefined
  /** Interval of the idle check. With 0 (default) the pool chooses it, once an idle timeout is set. */
  evictionRunIntervalMillis?: number | undefined
  /** Most idle connections that one idle check tests. Default 3. */
  numTestsPerEvictionRun?: number | undefined
  /** Idle time after which a connection above `min` is destroyed. Default -1: never. */
  softIdleTimeoutMillis?: number | undefined
  /**
   * Idle time after which any connection is destroyed. Default 30000, in force once this option or an interval is set.
   */
  idleTimeoutMillis?: number | undefined
  /** Longest wait for a connection. Default 5000; `false`: no limit. */
  acquireTimeoutMillis?: number | false | undefined
  /** As in generic-pool: the methods of the pool return promises of this class. Default: Node's own. */
  Promise?: PromiseClass | null | undefined
  /** Longest time for `factory.create`. Default 5000. */
  createTimeoutMillis?: number | undefined
  /**
   * How long a server may be away before new acquires fail at once with the real error, instead of waiting for it.
   * Default: half of `acquireTimeoutMillis`, at least 1000; never if that is `false`.
   */
  unhealthyAfterMillis?: number | undefined
  /** Most connects in progress at a time. Connects that hang do not count, up to the same number again. Default 4. */
  maxConnecting?: number | undefined
  /** Longest time for `factory.validate`. Default 1000. */
  validateTimeoutMillis?: number | undefined
  /** Longest time for `factory.reset`. Default 1000. */
  resetTimeoutMillis?: number | undefined
  /** Longest time for `factory.destroy`. Default 2000. */
  destroyTimeoutMillis?: number | undefined
  /** Longest time for `drain()` and `close()`, unless the call has its own limit. Default 10000. */
  drainTimeoutMillis?: number | undefined
  /** Age at which a connection is retired. Default: none. */
  maxLifetimeMillis?: number | undefined
  /** Share of `maxLifetimeMillis` over which retirements are spread, 0 to 1. Default 0.25. */
  lifetimeJitter?: number | undefined
  /** How many loans a connection serves. It is retired when the last of them ends. Default: no limit; 0 is the same. */
  maxUses?: number | undefined
  /** The server's idle limit: read from the server or learned (`'auto'`, default), a number, or `'none'`. */
  serverIdleTimeoutMillis?: number | 'auto' | 'none' | undefined
  /**
   * Validate a connection before it is lent if it has been idle this long. Default: off; 500 for adapters that
   * validate.
   */
  validateAfterIdleMillis?: number | undefined
  /** Validate idle connections shortly before the server would close them, instead of retiring them. Default false. */
  keepWarm?: boolean | undefined
  /** How long a lent connection may stay open after its peer has closed its side. Then it is reset. Default 5000. */
  halfCloseGraceMillis?: number | undefined
  /** Detection of half-closed connections, where `factory.socket` returns the socket. Default `'on'`. */
  halfClose?: 'on' | 'off' | undefined
  /** What a nested acquire does. Default `'detect'`. */
  nested?: 'detect' | 'forbid' | 'reuse' | 'allow' | undefined
  /** How long a deadlock must last without any activity before it is broken. Default 50. */
  deadlockGraceMillis?: number | undefined
  /** Report a lease that has not been used for this long. Default 0: off; in a pool of Redis clients 30000. */
  leakThresholdMillis?: number | undefined
  /** Destroy the connection of such a lease, so that its place is free again. Default false. */
  leakReclaim?: boolean | undefined
  /**
   * Destroy a lent connection that has a command in progress (`factory.busy`) and has received nothing for this long,
   * because the server has stopped responding. Set it longer than any command may take, including a BLPOP. Default 0:
   * off.
   */
  stuckMillis?: number | undefined
  /** Which acquires have their stack taken. Default `'sampled'`. */
  captureStacks?: 'off' | 'sampled' | 'all' | undefined
  /** Shed load early (CoDel). Default: off. */
  shedding?:
    | {
        /** Queue delay that is acceptable for an interval. Default 50. */
        targetMillis?: number | undefined
        /** Length of an interval. Default 2000. */
        intervalMillis?: number | undefined
        /** Which waiter is served first while load is shed: the youngest (`'lifo'`, default) or the oldest. */
        order?: 'fifo' | 'lifo' | undefined
      }
    | undefined
  /** Refuse an acquire at once if it is expected to pass its deadline in the queue. Default false. */
  earlyRefusal?: boolean | undefined
  /** Appears in every error, event and metric. Default: generated. */
  name?: string | undefined
  /** A limit for the connections of this pool and others together, from `createBudget({ max })`. Default: none. */
  budget?: Budget | undefined
}

/** Options of one acquire. */
export interface AcquireOptions {
  /** 0 (highest, default) to `priorityRange - 1`. */
  priority?: number | undefined
  /** Aborting it rejects the waiting acquire with `POOL_ABORTED`. */
  signal?: AbortSignal | undefined
  /** Longest wait in milliseconds, instead of `acquireTimeoutMillis`. 0: only an idle connection; `false`: no limit. */
  timeoutMillis?: number | false | undefined
  /**
   * No holder of a connection waits for this acquire: the work was started and nobody awaits it. It counts as coming
   * from outside for nested acquires, with a separate async context. Default false.
   */
  detached?: boolean | undefined
}
