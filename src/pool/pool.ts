import type { PoolIdentity } from '../api/channels.ts'
import type { PoolEvents } from '../api/events.ts'
import type { Factory } from '../api/factory.ts'
import type { AcquireOptions } from '../api/options.ts'
import { isRecord, show } from '../api/read-input.ts'
import { badOptions, type ResolvedOptions } from '../api/resolve-options.ts'
import type { PoolStats } from '../api/stats.ts'
import type { PoolReport } from '../diagnostics/pool-report.ts'
import { RecentProblems } from '../diagnostics/recent-problems.ts'
import { register } from '../diagnostics/registry.ts'
import { reportOf } from '../diagnostics/report.ts'
import { inText } from '../diagnostics/report-text.ts'
import { PoolEmitter } from '../runtime/emitter.ts'
import { log, refreshTracing } from '../runtime/log/log.ts'
import type { WatchTimes } from '../runtime/time/times.ts'
import type { Acquiring } from './acquire.ts'
import { assemble, type Environment, type Parts } from './assemble.ts'
import { Identity } from './identity.ts'
import type { Lease } from './lease.ts'
import type { CallOptions, Lifecycle } from './lifecycle.ts'
import { WaitingClients } from './waiting-clients.ts'

/** @internal The parts of a pool, for tests. */
export let partsOf: <T>(pool: Pool<T>) => Parts<T>

/**
 * A pool of connections: lends them, takes them back, and sees to it that none is lent dead, kept dead or leaked.
 * Made with `createPool` or by an adapter; exported for its type and for `instanceof`.
 */
export class Pool<T> extends PoolEmitter<T> {
  readonly #problems = new RecentProblems()
  readonly #options: ResolvedOptions
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
    // Called directly: the options are not checked and have no defaults.
    if (environment?.clock === undefined)
      throw badOptions(['new Pool(…) is not for use: call createPool(factory, options)'])
    this.#options = options
    this.#parts = assemble(factory, options, environment, this, this.#problems, ENTRY_POINTS)
    this.#acquiring = this.#parts.acquiring
    this.#lifecycle = this.#parts.lifecycle
    if (log.pool.enabled) log.pool('%s: made with %O', options.name, options)
    refreshTracing()
    register(this)
    if (options.autostart) this.start()
  }

  /**
   * Lends a connection; end the loan with `release` or `destroy`. Prefer {@link use}, which cannot forget to.
   *
   * @param request - a priority as in generic-pool (0 is the highest), or {@link AcquireOptions}
   * @returns rejects with a {@link PoolError}: `POOL_ACQUIRE_TIMEOUT`, `POOL_QUEUE_FULL`, `POOL_UNHEALTHY`,
   *   `POOL_ABORTED`, `POOL_CLOSED` or `POOL_BAD_OPTIONS`
   */
  acquire(request?: number | AcquireOptions): Promise<T> {
    return this.#acquiring.acquire(request)
  }

  /**
   * Lends a connection for the time that a function needs, and takes it back on every path. The function may be
   * synchronous. After its failure the connection is kept only if something vouches for it: an adapter that has seen
   * every command, or a `factory.reset` that succeeds. Otherwise it is destroyed: a transaction may be open on it.
   */
  use<R>(work: (resource: T) => R | PromiseLike<R>, request?: number | AcquireOptions): Promise<R> {
    if (typeof work !== 'function') return this.#misused(`use needs a function to run, got ${show(work)}`)
    return this.#acquiring.use(work, request)
  }

  /** Lends a connection as a one-shot token: `await using lease = await pool.lease()`. Rejects as {@link acquire}. */
  lease(request?: number | AcquireOptions): Promise<Lease<T>> {
    return this.#acquiring.lease(request)
  }

  /** Takes a connection back. Takes effect at once; rejects with `POOL_NOT_BORROWED` when it is not lent. */
  release(resource: T): Promise<void> {
    return this.#parts.releasing.end(resource, 'release')
  }

  /** Takes a connection back and ends it. Takes effect at once; rejects with `POOL_NOT_BORROWED`. */
  destroy(resource: T): Promise<void> {
    return this.#parts.releasing.end(resource, 'destroy')
  }

  /** Is this connection lent at this moment? */
  isBorrowedResource(resource: T): boolean {
    return this.#parts.context.slots.lentSlot(resource) !== undefined
  }

  /** Starts to keep `min` connections and to check the idle ones, where `autostart` is off. */
  start(): void {
    this.#lifecycle.start()
  }

  /**
   * Resolves when `min` connections have been made.
   *
   * @param options - how long it may take; default `acquireTimeoutMillis`
   * @returns rejects with `POOL_CONNECT_FAILED` after that, with `POOL_CLOSED` when the pool is drained first, with
   *   `POOL_ABORTED` at its signal
   */
  ready(options: CallOptions = {}): Promise<void> {
    return this.#lifecycle.ready(options)
  }

  /**
   * Takes no more acquires, and resolves when those that wait have been served and every loan has ended.
   *
   * @param options - how long it may take; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after that, with `POOL_ABORTED` at its signal; it stays draining
   */
  drain(options: CallOptions = {}): Promise<void> {
    return this.#lifecycle.drain(options)
  }

  /** Ends every idle connection and waits for the creates and closes that are under way. `min` is refilled after. */
  clear(): Promise<void> {
    return this.#lifecycle.clear()
  }

  /**
   * Ends the pool: drains it, ends every connection, and resolves when all are closed.
   *
   * @param options - how long it may take; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after that; what is still lent is then destroyed, and whoever waits is
   *   rejected with `POOL_CLOSED`. At its signal the same happens at once, and every call of `close` rejects with
   *   `POOL_ABORTED`
   */
  close(options: CallOptions = {}): Promise<void> {
    if (options !== null && !isRecord(options) && !((options as unknown) instanceof AbortSignal))
      return this.#misused(`close takes { timeoutMillis, signal }, got ${show(options)}`)
    return this.#lifecycle.close(options)
  }

  /** `await using pool = createPool(…)`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts a new generation: idle connections are destroyed now, lent ones when they come back. */
  purge(why: string | Error = 'purge'): void {
    this.#lifecycle.purge(why)
    this.flush()
  }

  /** Changes the bounds. Surplus connections are destroyed: idle ones now, lent ones when they come back. */
  resize(bounds: { min?: number | undefined; max?: number | undefined }): void {
    this.#lifecycle.resize(bounds)
    this.flush()
  }

  get name(): string {
    return this.#options.name
  }

  /** Connections that the pool owns or makes; those closing are not counted. */
  get size(): number {
    return this.#parts.context.slots.size
  }

  /** Idle connections. */
  get available(): number {
    return this.#parts.context.slots.counts.idle
  }

  /** Lent connections. */
  get borrowed(): number {
    return this.#parts.context.slots.counts.lent
  }

  /** Acquires that wait. */
  get pending(): number {
    return this.#parts.context.queue.waiting
  }

  get max(): number {
    return this.#options.max
  }

  get min(): number {
    return this.#options.min
  }

  /** How many connections may be made now; those closing still count. */
  get spareResourceCapacity(): number {
    return this.#parts.connector.capacity.freePermits
  }

  /** A plain snapshot. */
  stats(): PoolStats {
    return this.#parts.context.stats()
  }

  /** The state of the pool for a person: every lease, every waiter, every connection, what went wrong. */
  report(): string {
    return inText(this.reportJson())
  }

  /** The same as plain data, for `JSON.stringify`. */
  reportJson(): PoolReport {
    this.#parts.context.stalls.update()
    return reportOf(this.#parts.view, this.#parts.context.clock.now())
  }

  /** @internal Notes what goes wrong, for the report, and tells the listeners. */
  override announce<K extends keyof PoolEvents<T> & string>(event: K, ...details: PoolEvents<T>[K]): void {
    this.#problems.note(event, details, this.#parts.context.clock.now())
    super.announce(event, ...details)
  }

  /** @internal Reached into by packages that depend on generic-pool, to fail fast. */
  get _waitingClientsQueue(): WaitingClients<T> {
    this.#waitingClients ??= new WaitingClients(this.#parts.context.queue)
    return this.#waitingClients
  }

  /** @internal */
  override identity(): PoolIdentity {
    return this.#identity.at(this.#parts.context.factory.server)
  }

  /** @internal Tells every time that is counted. @returns ends it */
  watchTimes(watch: WatchTimes): () => void {
    return this.#parts.context.times.watch(watch)
  }

  /** @internal Read by generic-pool's own test suite. */
  get _scheduledEviction(): object | null {
    return this.#lifecycle.evictor.planned
  }

  #misused(issue: string): Promise<never> {
    return Promise.reject(badOptions([issue], this.name, this.stats()))
  }
}

/** Kept here, as a subclass or a tool may put a method of its own in the place of ours. */
const { acquire, use, lease } = Pool.prototype
const ENTRY_POINTS = { acquire, use, lease }
