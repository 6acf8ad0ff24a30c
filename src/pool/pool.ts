import * as refusals from '../api/error-messages.ts'
import { messageOf, type PoolError } from '../api/errors.ts'
import type { PoolEvents } from '../api/events.ts'
import type { Factory } from '../api/factory.ts'
import type { AcquireOptions } from '../api/options.ts'
import { isRecord, show } from '../api/read-input.ts'
import { badOptions, checkedBounds, type ResolvedOptions } from '../api/resolve-options.ts'
import { newTotals, type PoolStats, type Totals } from '../api/stats.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { handlesOf } from '../connections/handles.ts'
import { Liveness } from '../connections/liveness.ts'
import { ServerIdleTimeout } from '../connections/server-idle-timeout.ts'
import { type Grant, isCurrent, type Slot } from '../connections/slot.ts'
import { Slots } from '../connections/slots.ts'
import { hasTrafficWithin } from '../connections/traffic.ts'
import { holderInWords } from '../diagnostics/findings.ts'
import type { PoolReport } from '../diagnostics/pool-report.ts'
import { RecentProblems } from '../diagnostics/recent-problems.ts'
import { register } from '../diagnostics/registry.ts'
import { leasesOf, type ReportView, reportOf } from '../diagnostics/report.ts'
import { inText } from '../diagnostics/report-text.ts'
import { statsOf } from '../diagnostics/stats.ts'
import { noteOwners } from '../nested/awaiters.ts'
import type { Entry, Lease as LentConnection, Wait } from '../nested/host.ts'
import { Nesting } from '../nested/nesting.ts'
import { useFrameOf, type Work } from '../nested/use-frame.ts'
import { LoadShedder } from '../queue/load-shedder.ts'
import { ServiceRate } from '../queue/service-rate.ts'
import { WaitQueue } from '../queue/wait-queue.ts'
import type { Waiter } from '../queue/waiter.ts'
import type { StallListener } from '../runtime/alarm.ts'
import type { Clock } from '../runtime/clock.ts'
import { PoolEmitter } from '../runtime/emitter.ts'
import { log, refreshTracing } from '../runtime/log.ts'
import { StackSampler } from '../runtime/stack-sampler.ts'
import { stallMonitorOf } from '../runtime/stall-monitor.ts'
import { Stalls } from '../runtime/stalls.ts'
import { Acquiring } from './acquire.ts'
import type { Environment } from './environment.ts'
import { LeakDetector } from './leak-reclaim.ts'
import { Lease } from './lease.ts'
import { Lending } from './lending.ts'
import { type CallOptions, Lifecycle } from './lifecycle.ts'
import { Rejections } from './rejections.ts'
import { StallGrace } from './stall-grace.ts'

const DONE: Promise<void> = Promise.resolve()

/**
 * A pool of connections: lends them, takes them back, and sees to it that none is lent dead, kept dead or leaked.
 * Made with `createPool` or by an adapter; exported for its type and for `instanceof`.
 */
export class Pool<T> extends PoolEmitter<T> {
  readonly #options: ResolvedOptions
  readonly #clock: Clock
  readonly #context: PoolContext<T>
  readonly #slots: Slots<T>
  readonly #queue: WaitQueue<T>
  readonly #lending: Lending<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #stalls: Stalls
  readonly #stallGrace: StallGrace<T>
  readonly #problems = new RecentProblems()
  readonly #leaks: LeakDetector<T>
  readonly #acquiring: Acquiring<T>
  /** Who holds what in which context; undefined under `nested: 'allow'`. */
  readonly #nesting: Nesting<T> | undefined
  /** The same where a nested acquire is not simply served. */
  readonly #strict: Nesting<T> | undefined
  readonly #sampler: StackSampler

  /** @internal */
  constructor(factory: Factory<T>, options: ResolvedOptions, surroundings?: Environment) {
    super()
    // Nothing has been checked then, and no default is filled in.
    if (surroundings?.clock === undefined)
      throw badOptions(['new Pool(…) is not for use: call createPool(factory, options)'])
    const { clock, random } = surroundings
    this.#options = options
    this.#clock = clock
    this.#sampler = new StackSampler(options, clock.now())
    this.#slots = new Slots(handlesOf(factory))
    this.#stalls = new Stalls(stallMonitorOf(clock), millis => this.#stalled(millis))
    const onStall = (millis: number): boolean => this.#stalls.late(millis)
    const mercy = (waiter: Waiter<T>, now: number): boolean => this.#stallGrace.defers(waiter, now)
    this.#queue = new WaitQueue(options, clock, onStall, mercy, {
      snapshot: now => rejections.snapshot(now),
      onRejected: (waiter, how, snapshot) => rejections.onRejected(waiter, how, snapshot),
      onAnyRejected: () => rejections.onAnyRejected(),
    })
    const totals = newTotals()
    this.#nesting = options.nested === 'allow' ? undefined : this.#newNesting(factory, totals, onStall)
    this.#strict = options.nested === 'detect' ? undefined : this.#nesting
    this.#context = {
      factory,
      options,
      clock,
      random,
      hookLimits: { clock, onStall, stalls: this.#stalls },
      events: this,
      slots: this.#slots,
      queue: this.#queue,
      liveness: new Liveness(factory, options, clock),
      serverLimit: new ServerIdleTimeout(options.serverIdleTimeoutMillis, options.halfClose === 'on', () =>
        this.#limitChanged(),
      ),
      totals,
      nesting: this.#nesting,
      stats: () => this.stats(),
      onChange: () => this.#lifecycle.recheck(),
    }
    this.#lending = new Lending(this.#context)
    const holders = (): string[] => leasesOf(this.#view(), this.#clock.now()).map(holderInWords)
    this.#lifecycle = new Lifecycle(this.#context, this.#lending, holders)
    this.#stallGrace = new StallGrace(this.#context, this.#stalls)
    this.#acquiring = new Acquiring(this.#context, this.#lending, this.#lifecycle, this.#sampler)
    this.#leaks = new LeakDetector(this.#context, this.#lending, () => this.#lifecycle.state === 'closed')
    const context = { lending: this.#lending, problems: this.#problems, holders }
    const rejections = new Rejections(this.#context, context)
    this.#addOverloadControls()
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
    const refusal = this.#strict === undefined ? undefined : this.#strict.refusal(request, ACQUIRE)
    if (refusal !== undefined) return Promise.reject(refusal)
    const slot = request === undefined ? this.#acquiring.lendIdle() : undefined
    if (slot === undefined) return this.#acquiring.enter(request, 'acquire', ACQUIRE) as Promise<T>
    if (this.#sampler.left > 0 || slot.lentAt >= this.#sampler.refillAt) this.#sample(slot, ACQUIRE)
    if (this.#strict !== undefined) this.#strict.plainScope(undefined)?.begin(slot)
    return slot.trace === undefined ? promiseOf(slot) : noteOwners(promiseOf(slot), slot.trace)
  }

  /**
   * Lends a connection for the time that a function needs, and takes it back on every path. The function may be
   * synchronous. Its failure is passed on and does not cost the connection, unless that is broken or dirty.
   */
  use<R>(work: (resource: T) => R | PromiseLike<R>, request?: number | AcquireOptions): Promise<R> {
    if (typeof work !== 'function') return this.#misused(`use needs a function to run, got ${show(work)}`)
    const refusal = this.#strict === undefined ? undefined : this.#strict.refusal(request, USE)
    if (refusal !== undefined) return Promise.reject(refusal)
    const shared = this.#strict?.share(work as Work<R>, request)
    if (shared !== undefined) return shared
    const slot = request === undefined ? this.#acquiring.lendIdle() : undefined
    if (slot === undefined)
      return this.#useLater(work, request, this.#acquiring.enter(request, 'use', USE) as Promise<Grant<T>>)
    if (this.#sampler.left > 0 || slot.lentAt >= this.#sampler.refillAt) this.#sample(slot, USE)
    return this.#run(work, slot, request)
  }

  /** Lends a connection as a one-shot token: `await using lease = await pool.lease()`. Rejects as {@link acquire}. */
  async lease(request?: number | AcquireOptions): Promise<Lease<T>> {
    const refusal = this.#strict === undefined ? undefined : this.#strict.refusal(request, LEASE)
    if (refusal !== undefined) throw refusal
    const slot = request === undefined ? this.#acquiring.lendIdle() : undefined
    if (slot !== undefined) {
      if (this.#sampler.left > 0 || slot.lentAt >= this.#sampler.refillAt) this.#sample(slot, LEASE)
      if (this.#strict !== undefined) this.#strict.plainScope(undefined)?.begin(slot)
      const { loan } = slot
      if (slot.trace !== undefined) await noteOwners(DONE, slot.trace)
      return this.#token(slot, loan)
    }
    const grant = (await this.#acquiring.enter(request, 'lease', LEASE)) as Grant<T>
    return this.#token(grant.slot, grant.loan)
  }

  #token(slot: Slot<T>, loan: number): Lease<T> {
    return new Lease(slot.lent as T, {
      stats: () => this.stats(),
      isCurrent: () => isCurrent(slot, loan),
      isReclaimed: () => slot.isReclaimed && slot.loan === loan,
      end: how => {
        if (how === 'destroy') this.#lending.destroy(slot)
        else this.#lending.giveBack(slot)
      },
    })
  }

  /** Takes a connection back. Takes effect at once; rejects with `POOL_NOT_BORROWED` when it is not lent. */
  release(resource: T): Promise<void> {
    const slot = this.#slots.lentSlot(resource)
    if (slot === undefined) return this.#notLent(resource, 'release')
    this.#lending.giveBack(slot)
    this.flush()
    return DONE
  }

  /** Takes a connection back and ends it. Takes effect at once; rejects with `POOL_NOT_BORROWED`. */
  destroy(resource: T): Promise<void> {
    const slot = this.#slots.lentSlot(resource)
    if (slot === undefined) return this.#notLent(resource, 'destroy')
    this.#lending.destroy(slot)
    this.flush()
    return DONE
  }

  /** Is this connection lent at this moment? */
  isBorrowedResource(resource: T): boolean {
    return this.#slots.lentSlot(resource) !== undefined
  }

  /** Starts to keep `min` connections and to check the idle ones, where `autostart` is off. */
  start(): void {
    this.#lifecycle.start()
  }

  /**
   * Resolves when `min` connections have been made.
   *
   * @param patience - how long it may take; default `acquireTimeoutMillis`
   * @returns rejects with `POOL_CONNECT_FAILED` after that, with `POOL_CLOSED` when the pool is drained first, with
   *   `POOL_ABORTED` at its signal
   */
  ready(patience: CallOptions = {}): Promise<void> {
    return this.#lifecycle.ready(patience)
  }

  /**
   * Takes no more acquires, and resolves when those that wait have been served and every loan has ended.
   *
   * @param patience - how long it may take; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after that, with `POOL_ABORTED` at its signal; it stays draining
   */
  drain(patience: CallOptions = {}): Promise<void> {
    return this.#lifecycle.drain(patience)
  }

  /** Ends every idle connection and waits for the creates and closes that are under way. `min` is refilled after. */
  clear(): Promise<void> {
    return this.#lifecycle.clear()
  }

  /**
   * Ends the pool: drains it, ends every connection, and resolves when all are closed.
   *
   * @param patience - how long it may take; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after that; what is still lent is then destroyed, and whoever waits is
   *   rejected with `POOL_CLOSED`. At its signal the same happens at once, and every call of `close` rejects with
   *   `POOL_ABORTED`
   */
  close(patience: CallOptions = {}): Promise<void> {
    if (patience !== null && !isRecord(patience) && !((patience as unknown) instanceof AbortSignal))
      return this.#misused(`close takes { timeoutMillis, signal }, got ${show(patience)}`)
    return this.#lifecycle.close(patience)
  }

  /** `await using pool = createPool(…)`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts a new generation: idle connections are destroyed now, lent ones when they come back. */
  purge(why: string | Error = 'purge'): void {
    const { connector } = this.#lending
    const reason = messageOf(why)
    connector.newGeneration(reason)
    if (log.pool.enabled) log.pool('%s: generation %d: %s', this.name, connector.generation, reason)
    for (const slot of this.#slots.idleSlots()) {
      if (slot.state === 'idle') connector.discard(slot, 'generation', reason)
    }
    this.#lending.serve(this.#clock.now())
    this.flush()
  }

  /** Changes the bounds. Surplus connections are destroyed: idle ones now, lent ones when they come back. */
  resize(bounds: { min?: number | undefined; max?: number | undefined }): void {
    const { min, max } = checkedBounds(bounds, this.#options, () => this.stats())
    this.#options.min = min
    this.#options.max = max
    const { connector } = this.#lending
    for (const slot of this.#slots.idleSlots()) {
      if (!connector.isOversized) break
      if (slot.state === 'idle') connector.discard(slot, 'surplus')
    }
    this.#lending.serve(this.#clock.now())
    this.flush()
  }

  get name(): string {
    return this.#options.name
  }

  /** Connections that the pool owns or makes; those closing are not counted. */
  get size(): number {
    return this.#slots.size
  }

  /** Idle connections. */
  get available(): number {
    return this.#slots.counts.idle
  }

  /** Lent connections. */
  get borrowed(): number {
    return this.#slots.counts.lent
  }

  /** Acquires that wait. */
  get pending(): number {
    return this.#queue.waiting
  }

  get max(): number {
    return this.#options.max
  }

  get min(): number {
    return this.#options.min
  }

  /** How many connections may be made now; those closing still count. */
  get spareResourceCapacity(): number {
    return this.#lending.connector.freePermits
  }

  /** A plain snapshot. */
  stats(): PoolStats {
    return statsOf(this.#view())
  }

  /** The state of the pool for a person: every lease, every waiter, every connection, what went wrong. */
  report(): string {
    return inText(this.reportJson())
  }

  /** The same as plain data, for `JSON.stringify`. */
  reportJson(): PoolReport {
    this.#stalls.update()
    return reportOf(this.#view(), this.#clock.now())
  }

  /** @internal Notes what goes wrong, for the report, and tells the listeners. */
  override announce<K extends keyof PoolEvents<T> & string>(event: K, ...details: PoolEvents<T>[K]): void {
    this.#problems.note(event, details, this.#clock.now())
    super.announce(event, ...details)
  }

  /** @internal Read by generic-pool's own test suite. */
  get _scheduledEviction(): object | null {
    return this.#lifecycle.evictor.planned
  }

  /** @internal For the model test, which asserts the invariants. */
  get _insides() {
    return {
      slots: this.#slots,
      queue: this.#queue,
      connector: this.#lending.connector,
      options: this.#options,
      stalls: this.#stalls,
    }
  }

  /** The stack of a loan is taken, and looked at for a nested acquire. */
  #sample(slot: Slot<T>, from: Entry): void {
    slot.trace = this.#sampler.capture(from, slot.lentAt)
    this.#nesting?.warnings.look(slot.trace, slot.lentAt)
  }

  async #useLater<R>(
    work: (resource: T) => R | PromiseLike<R>,
    request: number | AcquireOptions | undefined,
    served: Promise<Grant<T>>,
  ): Promise<R> {
    const { slot, loan } = await served
    // Somebody who had it before may have given it back once more meanwhile.
    if (!isCurrent(slot, loan)) throw refusals.leaseEnded(this.stats(), 'use was to begin')
    return await this.#run(work, slot, request)
  }

  #run<R>(
    work: (resource: T) => R | PromiseLike<R>,
    slot: Slot<T>,
    request: number | AcquireOptions | undefined,
  ): Promise<R> {
    const frame = useFrameOf(slot, this.#nesting?.detector, this.#giveBack)
    if (this.#strict === undefined) return frame.run(work as Work<R>)
    return this.#strict.run(frame, work as Work<R>, request)
  }

  readonly #giveBack = (slot: Slot<T>): void => this.#lending.giveBack(slot)

  #misused(issue: string): Promise<never> {
    return Promise.reject(badOptions([issue], this.name, this.stats()))
  }

  #notLent(resource: T, what: 'release' | 'destroy'): Promise<void> {
    if (this.#leaks.isLateRelease(resource)) return DONE
    return Promise.reject(refusals.notBorrowed(this.stats(), what))
  }

  /** What deals with overload, as far as the options ask for it. */
  #addOverloadControls(): void {
    const { options, clock, hookLimits } = this.#context
    const stalledSince = (start: number): number => this.#stalls.since(start)
    if (options.shedding !== undefined) {
      this.#queue.loadShedder = new LoadShedder(
        options.shedding,
        this.#queue,
        clock,
        hookLimits.onStall,
        stalledSince,
      )
    }
    if (options.earlyRefusal) this.#queue.serviceRate = new ServiceRate(stalledSince)
  }

  #newNesting(factory: Factory<T>, totals: Totals, onStall: StallListener): Nesting<T> {
    const context = {
      factory,
      options: this.#options,
      clock: this.#clock,
      events: this,
      slots: this.#slots,
      totals,
      sampler: this.#sampler,
      stalls: this.#stalls,
      stats: () => this.stats(),
      waits: () => this.#queue.waiters(),
      waiting: () => this.#queue.waiting,
      hasTrafficWithin: (slot: LentConnection, now: number, millis: number) =>
        hasTrafficWithin(slot as Slot<T>, now, millis),
      reject: (waiter: Wait, error: PoolError): boolean => {
        const rejected = waiter as Waiter<T>
        rejected.own.deadlockError = error
        return this.#queue.reject(rejected, 'deadlocked')
      },
    }
    return new Nesting<T>(context, onStall)
  }

  #stalled(millis: number): void {
    this.#stallGrace.start()
    if (log.stall.enabled) log.stall('%s: the event loop stood still for %d ms', this.name, millis)
    this.announce('stall', { pool: this.name, millis })
  }

  #limitChanged(): void {
    // While the pool is being made, there is nothing to plan and nobody to tell.
    if (this.#lifecycle === undefined) return
    this.#lifecycle.evictor.plan()
    this.announce('server-timeout', { pool: this.name, ...this.#context.serverLimit.stats })
  }

  #view(): ReportView<T> {
    const { connector } = this.#lending
    return {
      options: this.#options,
      state: this.#lifecycle.state,
      slots: this.#slots,
      queue: this.#queue,
      breaker: connector.breaker,
      generation: connector.generation,
      totals: this.#context.totals,
      stalls: this.#stalls,
      problems: this.#problems,
      busy: this.#context.factory.busy?.bind(this.#context.factory),
      unused: slot => this.#leaks.unusedMillis(slot),
      halfClose: this.#context.liveness.counts,
      serverTimeout: this.#context.serverLimit.stats,
    }
  }
}

/** What a loan gives to its borrower: made once per connection, or once per loan where each has a handle of its own. */
const promiseOf = <T>(slot: Slot<T>): Promise<T> => slot.served ?? Promise.resolve(slot.lent as T)

/** Where our own frames end in a stack: kept here, as a subclass or a tool may put its own method in the place. */
const { acquire: ACQUIRE, use: USE, lease: LEASE } = Pool.prototype
