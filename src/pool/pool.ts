import type { PoolIdentity } from '../api/channels.ts'
import { forCaller, pointAtCaller } from '../api/errors.ts'
import type { PoolEvents } from '../api/events.ts'
import type { Factory } from '../api/factory.ts'
import type { AcquireOptions } from '../api/options/options.ts'
import { badOptions, type ResolvedOptions } from '../api/options/resolve-options.ts'
import type { PoolStats } from '../api/stats.ts'
import type { ControlPlace } from '../connecting/control-place.ts'
import { whereTaken } from '../diagnostics/call-sites.ts'
import type { PoolReport } from '../diagnostics/pool-report.ts'
import { RecentProblems } from '../diagnostics/recent-problems.ts'
import { register } from '../diagnostics/registry.ts'
import { reportOf } from '../diagnostics/report.ts'
import { inText } from '../diagnostics/report-text.ts'
import type { WaitObserver } from '../queue/traced-acquire.ts'
import { WaitingClients } from '../queue/waiting-clients.ts'
import { PoolEmitter } from '../runtime/emitter.ts'
import { log, refreshTracing } from '../runtime/log/log.ts'
import type { WatchTimes } from '../runtime/time/times.ts'
import type { Acquiring } from './acquire.ts'
import { assemble, type Environment, type Parts } from './assemble.ts'
import type { CallOptions } from './call-limits.ts'
import { Identity } from './identity.ts'
import type { Lease } from './lease.ts'
import type { Lifecycle } from './lifecycle.ts'

/** @internal The parts of a pool, for tests. */
export let partsOf: <T>(pool: Pool<T>) => Parts<T>

/**
 * A pool of connections. It lends them, takes them back, and makes sure that none is lent dead, kept dead or leaked.
 * Created with `createPool` or by an adapter. The class is exported for its type and for `instanceof`.
 */
export class Pool<T> extends PoolEmitter<T> {
  readonly #problems = new RecentProblems()
  readonly #parts: Parts<T>
  readonly #acquiring: Acquiring<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #identity = new Identity(this)
  #waitingClients: WaitingClients<T> | undefined

  static {
    partsOf = pool => pool.#parts
  }

  /** @internal */
  constructor(factory: Factory<T>, options: ResolvedOptions, environment?: Environment) {
    super()
    // Called directly by a user: the options are not checked and have no defaults.
    if (environment?.clock === undefined)
      throw pointAtCaller(badOptions(['new Pool(…) is not for use: call createPool(factory, options)']), Pool)
    this.#parts = assemble(factory, options, environment, this, this.#problems, ENTRY_POINTS)
    this.#acquiring = this.#parts.acquiring
    this.#lifecycle = this.#parts.lifecycle
    if (log.pool.enabled) log.pool('%s: made with %O', options.name, options)
    refreshTracing()
    register(this)
    if (options.autostart) this.start()
  }

  /**
   * Lends a connection. End the loan with `release` or `destroy`. Prefer {@link use}, which cannot forget to.
   *
   * @param request - a priority as in generic-pool (0 is the highest), or {@link AcquireOptions}
   * @returns rejects with a `PoolError`: `POOL_ACQUIRE_TIMEOUT`, `POOL_QUEUE_FULL`, `POOL_UNHEALTHY`, `POOL_ABORTED`,
   * `POOL_CLOSED` or `POOL_BAD_OPTIONS`
   */
  acquire(request?: number | AcquireOptions): Promise<T> {
    return this.#acquiring.acquire(request)
  }

  /**
   * Lends a connection while a function runs, and takes it back whatever happens. The function may be synchronous. If
   * it fails, the connection is kept only if an adapter has seen every command, or a `factory.reset` succeeds.
   * Otherwise it is destroyed, because a transaction may be open on it.
   */
  use<R>(work: (resource: T) => R | PromiseLike<R>, request?: number | AcquireOptions): Promise<R> {
    return this.#acquiring.use(work, request)
  }

  /**
   * Lends a connection as a one-shot token: `await using lease = await pool.lease()`. Rejects as {@link acquire} does.
   */
  lease(request?: number | AcquireOptions): Promise<Lease<T>> {
    return this.#acquiring.lease(request)
  }

  /** Returns a connection to the pool. Takes effect at once. Rejects with `POOL_NOT_BORROWED` if it is not lent. */
  release(resource: T): Promise<void> {
    return this.#parts.releasing.end(resource, 'release')
  }

  /**
   * Takes a connection back and destroys it. One that is not lent is destroyed as well. Takes effect at once. Rejects
   * with `POOL_NOT_BORROWED` if the pool does not have the connection.
   */
  destroy(resource: T): Promise<void> {
    return this.#parts.releasing.end(resource, 'destroy')
  }

  /**
   * Marks a connection as unusable, for an `error` or `exit` event of its client. An idle one is destroyed at once, a
   * lent one when it is returned. Other connections are not affected. Never throws.
   *
   * @param why - appears in the event `destroy` and in the report
   * @returns whether the pool has the connection: false after its end, and before `create` has given it to the pool
   */
  invalidate(resource: T, why?: string | Error): boolean {
    return this.#parts.releasing.invalidate(resource, why)
  }

  /** Is this connection lent at the moment? */
  isBorrowedResource(resource: T): boolean {
    return this.#parts.releasing.isBorrowed(resource)
  }

  /** Starts maintaining `min` connections and checking idle ones. Only needed if `autostart` is off. */
  start(): void {
    this.#lifecycle.start()
  }

  /**
   * Resolves when `min` connections have been created.
   *
   * @param options - the time limit and a signal; default `acquireTimeoutMillis`
   * @returns rejects with `POOL_CONNECT_FAILED` after the time limit, with `POOL_CLOSED` if the pool is drained before,
   * and with `POOL_ABORTED` when the signal is aborted
   */
  ready(options: CallOptions = {}): Promise<void> {
    return this.#lifecycle.ready(options)
  }

  /**
   * Stops accepting acquires. Resolves when all waiting ones have been served and every loan has ended.
   *
   * @param options - the time limit and a signal; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after the time limit, and with `POOL_ABORTED` when the signal is
   * aborted; the pool stays draining
   */
  drain(options: CallOptions = {}): Promise<void> {
    return this.#lifecycle.drain(options)
  }

  /**
   * Ends every idle connection and waits for the creates and closes in progress. `min` is maintained again after that.
   */
  clear(): Promise<void> {
    return this.#lifecycle.clear()
  }

  /**
   * Closes the pool: drains it, ends every connection, and resolves when all are closed.
   *
   * @param options - the time limit and a signal; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after the time limit; connections still lent are then destroyed, and
   * waiting acquires are rejected with `POOL_CLOSED`. If the signal is aborted, this happens at once, and every call of
   * `close` rejects with `POOL_ABORTED`
   */
  close(options: CallOptions = {}): Promise<void> {
    return this.#lifecycle.close(options)
  }

  /** Supports `await using pool = createPool(…)`, see {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts a new generation: idle connections are destroyed now, lent ones when they are returned. */
  purge(why: string | Error = 'purge'): void {
    this.#lifecycle.purge(why)
    this.flush()
  }

  /** Changes the bounds. Surplus connections are destroyed: idle ones now, lent ones when they are returned. */
  resize(bounds: { min?: number | undefined; max?: number | undefined }): void {
    forCaller(Pool.prototype.resize, () => this.#lifecycle.resize(bounds))
    this.flush()
  }

  get name(): string {
    return this.#parts.context.options.name
  }

  /** Connections that the pool owns or is creating, not counting those being closed. */
  get size(): number {
    return this.#parts.context.slots.size
  }

  /** The number of idle connections. */
  get available(): number {
    return this.#parts.context.slots.counts.idle
  }

  /** The number of lent connections. */
  get borrowed(): number {
    return this.#parts.context.slots.counts.lent
  }

  /** The number of waiting acquires. */
  get pending(): number {
    return this.#parts.context.queue.waiting
  }

  get max(): number {
    return this.#parts.context.options.max
  }

  get min(): number {
    return this.#parts.context.options.min
  }

  /** How many more connections may be created now. Those being closed still count. */
  get spareResourceCapacity(): number {
    return this.#parts.connector.capacity.freePermits
  }

  /** A snapshot of the pool's numbers, as plain data. */
  stats(): PoolStats {
    return this.#parts.context.stats()
  }

  /** The state of the pool as text for people: every lease, every waiter, every connection, recent problems. */
  report(): string {
    return inText(this.reportJson())
  }

  /** The same as {@link report}, as plain data for `JSON.stringify`. */
  reportJson(): PoolReport {
    return this.reportWith()
  }

  /** @internal The same, with no more than so many of the first waiters. */
  reportWith(mostWaiters?: number): PoolReport {
    this.#parts.context.stalls.update()
    return reportOf(this.#parts.view, this.#parts.context.clock.now(), mostWaiters)
  }

  /** @internal Records problems for the report, and announces the event to listeners. */
  override announce<K extends keyof PoolEvents<T> & string>(event: K, ...details: PoolEvents<T>[K]): void {
    this.#problems.recordEvent(event, details, this.#parts.context.clock.now())
    super.announce(event, ...details)
  }

  /** @internal Packages that depend on generic-pool use this private field of it, to make acquires fail at once. */
  get _waitingClientsQueue(): WaitingClients<T> {
    this.#waitingClients ??= new WaitingClients(this.#parts.context.queue)
    return this.#waitingClients
  }

  /** @internal */
  override identity(): PoolIdentity {
    return this.#identity.at(this.#parts.context.factory.server)
  }

  /**
   * @internal Calls the function with every time that is measured.
   * @returns a function that stops it
   */
  watchTimes(watch: WatchTimes): () => void {
    return this.#parts.context.times.watch(watch)
  }

  /** @internal Traces the acquires that wait already. Each is told of once. */
  observeWaiting(observerFor: (waitedMillis: number, stack: string | undefined) => WaitObserver): void {
    const { queue, options, clock } = this.#parts.context
    for (const waiter of queue.waiters())
      waiter.traced ??= observerFor(clock.now() - waiter.since, whereTaken(waiter, options))
  }

  /** @internal The method behind which the caller's stack begins, for a recorder that is called within it. */
  entryOf(call: keyof typeof ENTRY_POINTS): (...args: never[]) => unknown {
    return ENTRY_POINTS[call]
  }

  /** @internal Rejects the acquires that wait with one of these signals, all at once, with this error. */
  withdraw(signals: ReadonlySet<AbortSignal>, error: Error): void {
    this.#parts.context.queue.withdraw(signals, error)
    this.flush()
  }

  /** @internal The place among `max` of a connection that is not lent, for an adapter that asks its server. */
  get controlPlace(): ControlPlace<T> {
    return this.#parts.controlPlace()
  }

  /** @internal Read by generic-pool's own test suite. */
  get _scheduledEviction(): object | null {
    return this.#lifecycle.evictor.planned
  }
}

/** Saved here, because a subclass or a tool may replace the methods. */
const { acquire, use, lease, release, destroy, ready, drain, close } = Pool.prototype
const ENTRY_POINTS = { acquire, use, lease, release, destroy, ready, drain, close }
