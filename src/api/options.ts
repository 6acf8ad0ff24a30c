/** A class of promises with a static `resolve`, as Bluebird is one. */
export interface PromiseClass {
  resolve(value?: unknown): PromiseLike<unknown>
}

/** Options of a pool. Times are in milliseconds; `Infinity` means never. The first part has generic-pool's names and meaning. */
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
  /** As in generic-pool, what the methods of the pool return are promises of this class. Default: Node's own. */
  Promise?: PromiseClass | null | undefined
  /** Longest time for `factory.create`. Default 5000. */
  createTimeoutMillis?: number | undefined
  /**
   * How long a server may be away before new acquires are told at once, with the real error, instead of waiting for it.
   * Default: half of `acquireTimeoutMillis`, at least 1000; never where that is `false`.
   */
  unhealthyAfterMillis?: number | undefined
  /** Most connects under way at a time; those that hang are not counted, up to as many again. Default 4. */
  maxConnecting?: number | undefined
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
  /** So many loans a connection serves; it is retired as the last of them ends. Default: no limit; 0 is the same. */
  maxUses?: number | undefined
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
  /**
   * Destroy a lent connection that has a command under way (`factory.busy`) and has been sent nothing for this long: the
   * server stands still. Choose it longer than any command may take, a BLPOP included. Default 0: off.
   */
  stuckMillis?: number | undefined
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
