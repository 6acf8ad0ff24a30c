import { Aftermath } from './aftermath.ts'
import type { Clock, Lateness } from './clock.ts'
import { newTotals, statsOf, type Totals } from './diagnostics.ts'
import { type AcquirePhase, type PoolError, withoutStack } from './errors.ts'
import { PoolEmitter } from './events.ts'
import { holderInWords } from './findings.ts'
import { type Departure, Gate } from './gate.ts'
import { handlesOf } from './handles.ts'
import { Lease } from './lease.ts'
import { Lending } from './lending.ts'
import { Lifecycle, type Patience } from './lifecycle.ts'
import { log, refreshTracing } from './log.ts'
import { Lookout } from './lookout.ts'
import { checkedBounds, type ResolvedOptions } from './options.ts'
import { handOver } from './policy/attend.ts'
import { LeakWatch } from './policy/leak.ts'
import { Nesting } from './policy/nested.ts'
import { endsAlone, unshare } from './policy/reuse.ts'
import { Sampling } from './policy/sampling.ts'
import type { Scope } from './policy/scope.ts'
import { ServerLimit } from './policy/server-limit.ts'
import { ServiceRate } from './policy/service-rate.ts'
import { stallMeterOf } from './policy/stall-meter.ts'
import { whereTaken } from './provenance.ts'
import * as refusals from './refusals.ts'
import { register } from './registry.ts'
import { leasesOf, type PoolReport, type ReportInsight, reportOf } from './report.ts'
import { inText } from './report-text.ts'
import { readRequest } from './requests.ts'
import { Roster } from './roster.ts'
import { Shedder } from './shedder.ts'
import type { Slot } from './slot.ts'
import { Stalls } from './stalls.ts'
import type { House } from './supply.ts'
import { Troubles } from './troubles.ts'
import type { AcquireOptions, Factory, PoolEvents, PoolStats } from './types.ts'
import { type Call, newPending, type Request, Waiter } from './waiter.ts'

/** @internal What tests put in place of time and chance. */
export interface Surroundings {
  readonly clock: Clock
  readonly random: () => number
}

/** An acquire timeout of a full pool lists the holders, unless one has done so this short a time ago. */
const HOLDERS_MILLIS = 10_000

const DONE: Promise<void> = Promise.resolve()

/**
 * A pool of connections: lends them, takes them back, and sees to it that none is lent dead, kept dead or leaked.
 * Made with `createPool` or by an adapter.
 */
export class Pool<T> extends PoolEmitter<T> {
  readonly #options: ResolvedOptions
  readonly #clock: Clock
  readonly #house: House<T>
  readonly #roster: Roster<T>
  readonly #gate: Gate<T>
  readonly #lending: Lending<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #stalls: Stalls
  readonly #aftermath: Aftermath<T>
  readonly #troubles = new Troubles()
  #leaks: LeakWatch<T> | undefined
  /** When an acquire timeout last listed the holders. */
  #holdersTold = Number.NEGATIVE_INFINITY
  /** Resources whose forgotten lease the pool has ended, and nobody else yet. */
  readonly #reclaimed = new WeakSet<object>()
  /** Who holds what in which context; undefined under `nested: 'allow'`. */
  readonly #nesting: Nesting<T> | undefined
  /** The same where a nested acquire is not simply served. */
  readonly #strict: Nesting<T> | undefined
  readonly #sampling: Sampling
  /** The snapshot that the errors of one crowd of departures share. */
  #crowd: { readonly now: number; readonly stats: PoolStats } | undefined
  /** What an acquire without options asks for. */
  readonly #plain: Request

  /** @internal */
  constructor(factory: Factory<T>, options: ResolvedOptions, { clock, random }: Surroundings) {
    super()
    this.#options = options
    this.#clock = clock
    this.#plain = { priority: 0, timeout: options.acquireTimeoutMillis, signal: undefined, detached: false }
    this.#sampling = new Sampling(options, clock.now())
    this.#roster = new Roster(handlesOf(factory))
    this.#stalls = new Stalls(stallMeterOf(clock), millis => this.#stalled(millis))
    const onStall = (millis: number): boolean => this.#stalls.late(millis)
    const mercy = (waiter: Waiter<T>, now: number): boolean => this.#aftermath.lasts(waiter, now)
    this.#gate = new Gate(options, clock, onStall, mercy, {
      onDeparture: (waiter, how, now) => this.#departed(waiter, how, now),
      onDepartures: () => {
        this.#lending.supply.provision()
        this.#lifecycle.changed()
      },
    })
    const totals = newTotals()
    this.#nesting = options.nested === 'allow' ? undefined : this.#newNesting(factory, totals, onStall)
    this.#strict = options.nested === 'detect' ? undefined : this.#nesting
    this.#house = {
      factory,
      options,
      clock,
      random,
      bounds: { clock, onStall, stalls: this.#stalls },
      events: this,
      roster: this.#roster,
      gate: this.#gate,
      lookout: new Lookout(factory, options, clock),
      limit: new ServerLimit(options.serverIdleTimeoutMillis, options.halfClose === 'on', () =>
        this.#limitChanged(),
      ),
      totals,
      nesting: this.#nesting,
      stats: () => this.stats(),
      onChange: () => this.#lifecycle.changed(),
    }
    this.#lending = new Lending(this.#house)
    this.#lifecycle = new Lifecycle(this.#house, this.#lending)
    this.#aftermath = new Aftermath(this.#house, this.#stalls)
    this.#beCalm(factory)
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
    const share = this.#strict?.shared(request, false, ACQUIRE)
    if (share !== undefined) return handOver(promiseOf(share.slot as Slot<T>), share)
    const slot = request === undefined ? this.#lendIdle() : undefined
    if (slot === undefined) return this.#enter(request, 'acquire', ACQUIRE) as Promise<T>
    const { lentAt } = slot
    if (this.#sampling.left > 0 || lentAt >= this.#sampling.refillAt)
      slot.trace = this.#sampling.take(ACQUIRE, lentAt)
    if (this.#nesting !== undefined) this.#nesting.begin(slot, false, false, ACQUIRE)
    return slot.trace === undefined ? promiseOf(slot) : this.#handOver(promiseOf(slot), slot)
  }

  /**
   * Lends a connection for the time that a function needs, and takes it back on every path. The function may be
   * synchronous. Its failure is passed on and does not cost the connection, unless that is broken or dirty.
   */
  use<R>(work: (resource: T) => R | PromiseLike<R>, request?: number | AcquireOptions): Promise<R> {
    const refusal = this.#strict === undefined ? undefined : this.#strict.refusal(request, USE)
    if (refusal !== undefined) return Promise.reject(refusal)
    const share = this.#strict?.shared(request, true, USE)
    if (share !== undefined)
      return this.#strict?.within(share, runShared<T, R>, this, share, work) as Promise<R>
    return this.#use(work, request)
  }

  /** Lends a connection as a one-shot token: `await using lease = await pool.lease()`. Rejects as {@link acquire}. */
  async lease(request?: number | AcquireOptions): Promise<Lease<T>> {
    const refusal = this.#strict === undefined ? undefined : this.#strict.refusal(request, LEASE)
    if (refusal !== undefined) throw refusal
    const share = this.#strict?.shared(request, false, LEASE)
    if (share !== undefined) {
      const { loan } = share.slot as Slot<T>
      const shared = await handOver(Promise.resolve(share.slot as Slot<T>), share)
      return this.#token(shared, loan, share)
    }
    let slot = request === undefined ? this.#lendIdle() : undefined
    if (slot !== undefined) {
      if (this.#sampling.left > 0 || slot.lentAt >= this.#sampling.refillAt)
        slot.trace = this.#sampling.take(LEASE, slot.lentAt)
      if (this.#nesting !== undefined) this.#nesting.begin(slot, false, false, LEASE)
      const { loan } = slot
      if (slot.trace !== undefined) await this.#handOver(DONE, slot)
      return this.#token(slot, loan)
    } else slot = (await this.#enter(request, 'lease', LEASE)) as Slot<T>
    return this.#token(slot, slot.loan)
  }

  /** For a plain loan whose stack was taken: it is noted who gets it. */
  #handOver<R>(served: Promise<R>, slot: Slot<T>): Promise<R> {
    return slot.scope === undefined ? served : handOver(served, slot.scope)
  }

  #token(slot: Slot<T>, loan: number, share?: Scope): Lease<T> {
    return new Lease(slot.lent as T, {
      stats: () => this.stats(),
      isCurrent: () => isCurrent(slot, loan) && (share === undefined || share.state === 'held'),
      isReclaimed: () => slot.isReclaimed && slot.loan === loan,
      end: how => {
        if (how === 'destroy') this.#lending.destroy(slot)
        else if (share === undefined) this.#giveBack(slot)
        else if (unshare(share)) this.#lending.giveBack(slot)
      },
    })
  }

  /** Takes a connection back. Takes effect at once; rejects with `POOL_NOT_BORROWED` when it is not lent. */
  release(resource: T): Promise<void> {
    const slot = this.#roster.lent(resource)
    if (slot === undefined) return this.#notLent(resource, 'release')
    const share = slot.scope?.tip
    if (share === undefined || share.exact) this.#giveBack(slot)
    else if (unshare(share)) this.#lending.giveBack(slot)
    this.tellNow()
    return DONE
  }

  /** Takes a connection back and ends it. Takes effect at once; rejects with `POOL_NOT_BORROWED`. */
  destroy(resource: T): Promise<void> {
    const slot = this.#roster.lent(resource)
    if (slot === undefined) return this.#notLent(resource, 'destroy')
    this.#lending.destroy(slot)
    this.tellNow()
    return DONE
  }

  /** Is this connection lent at this moment? */
  isBorrowedResource(resource: T): boolean {
    return this.#roster.lent(resource) !== undefined
  }

  /** Starts to keep `min` connections and to check the idle ones, where `autostart` is off. */
  start(): void {
    this.#lifecycle.start()
  }

  /**
   * Resolves when `min` connections have been made.
   *
   * @param patience - how long it may take; default `acquireTimeoutMillis`
   * @returns rejects with `POOL_CONNECT_FAILED` after that, with `POOL_CLOSED` when the pool is drained first
   */
  ready(patience: Patience = {}): Promise<void> {
    return this.#lifecycle.ready(patience)
  }

  /**
   * Takes no more acquires, and resolves when those that wait have been served and every loan has ended.
   *
   * @param patience - how long it may take; default `drainTimeoutMillis`
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after that
   */
  drain(patience: Patience = {}): Promise<void> {
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
   *   rejected with `POOL_CLOSED`
   */
  close(patience: Patience = {}): Promise<void> {
    return this.#lifecycle.close(patience)
  }

  /** `await using pool = createPool(…)`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts a new generation: idle connections are destroyed now, lent ones when they come back. */
  purge(reason = 'purge'): void {
    const { supply } = this.#lending
    supply.newGeneration()
    if (log.pool.enabled) log.pool('%s: generation %d: %s', this.name, supply.generation, reason)
    for (const slot of this.#roster.idleSlots()) {
      if (slot.state === 'idle') supply.discard(slot, 'generation', reason)
    }
    this.#lending.serve(this.#clock.now())
    this.tellNow()
  }

  /** Changes the bounds. Surplus connections are destroyed: idle ones now, lent ones when they come back. */
  resize(bounds: { min?: number; max?: number }): void {
    const { min, max } = checkedBounds(bounds, this.#options)
    this.#options.min = min
    this.#options.max = max
    const { supply } = this.#lending
    for (const slot of this.#roster.idleSlots()) {
      if (!supply.isOversized) break
      if (slot.state === 'idle') supply.discard(slot, 'surplus')
    }
    this.#lending.serve(this.#clock.now())
    this.tellNow()
  }

  get name(): string {
    return this.#options.name
  }

  /** Connections that the pool owns or makes; those closing are not counted. */
  get size(): number {
    return this.#roster.size
  }

  /** Idle connections. */
  get available(): number {
    return this.#roster.census.idle
  }

  /** Lent connections. */
  get borrowed(): number {
    return this.#roster.census.lent
  }

  /** Acquires that wait. */
  get pending(): number {
    return this.#gate.waiting
  }

  get max(): number {
    return this.#options.max
  }

  get min(): number {
    return this.#options.min
  }

  /** How many connections may be made now; those closing still count. */
  get spareResourceCapacity(): number {
    return this.#lending.supply.spare
  }

  /** A plain snapshot. */
  stats(): PoolStats {
    return statsOf(this.#insight())
  }

  /** The state of the pool for a person: every lease, every waiter, every connection, what went wrong. */
  report(): string {
    return inText(this.reportJson())
  }

  /** The same as plain data, for `JSON.stringify`. */
  reportJson(): PoolReport {
    this.#stalls.look()
    return reportOf(this.#insight(), this.#clock.now())
  }

  /** @internal Notes what goes wrong, for the report, and tells the listeners. */
  override announce<K extends keyof PoolEvents<T> & string>(event: K, ...details: PoolEvents<T>[K]): void {
    this.#troubles.note(event, details, this.#clock.now())
    super.announce(event, ...details)
  }

  /** @internal Read by generic-pool's own test suite. */
  get _scheduledEviction(): object | null {
    return this.#lifecycle.sweep.planned
  }

  /** @internal For the model test, which asserts the invariants. */
  get _insides() {
    return {
      roster: this.#roster,
      gate: this.#gate,
      supply: this.#lending.supply,
      options: this.#options,
      stalls: this.#stalls,
    }
  }

  /** The fast path: nobody waits, and an idle connection is fit to be lent. */
  #lendIdle(): Slot<T> | undefined {
    if (this.#gate.waiting > 0 || this.#lifecycle.state !== 'open') return undefined
    const now = this.#clock.now()
    const slot = this.#lending.take(now, 0, Number.NEGATIVE_INFINITY)
    if (slot !== undefined) this.#lending.lend(slot, now, 0)
    // Before the work starts that `use` runs in this very call.
    this.tellNow()
    return slot
  }

  /** The other path: options to read, somebody before us, or nothing at hand. */
  #enter(given: number | AcquireOptions | undefined, call: Call, from: Entry): Promise<T | Slot<T>> {
    if (this.#lifecycle.state !== 'open') return Promise.reject(refusals.closed(this.stats()))
    let request: Request
    try {
      request = readRequest(given, this.#options, this.#plain)
    } catch (error) {
      return Promise.reject(error)
    }
    const { signal } = request
    if (signal?.aborted) return Promise.reject(refusals.aborted(this.stats(), 0, signal.reason))
    this.start()
    const slot = given === undefined ? undefined : this.#lendIdle()
    if (slot !== undefined) {
      if (this.#sampling.affords(slot.lentAt)) slot.trace = this.#sampling.take(from, slot.lentAt)
      this.#nesting?.begin(slot, call === 'use', request.detached, from)
      const served = Promise.resolve(call === 'acquire' ? (slot.lent as T) : slot)
      return slot.trace === undefined || call === 'use' ? served : this.#handOver(served, slot)
    }
    const refusal = this.#refusal(request)
    if (refusal !== undefined) return Promise.reject(refusal)
    // A hook that ran on the way may have aborted it.
    if (signal?.aborted) return Promise.reject(refusals.aborted(this.stats(), 0, signal.reason))
    const now = this.#clock.now()
    const promise = newPending<T | Slot<T>>()
    const waiter = new Waiter<T>(request, now, call)
    if (this.#sampling.affords(now)) waiter.own.trace = this.#sampling.take(from, now)
    else this.#sampling.waiting()
    const served = this.#nesting === undefined ? promise : this.#nesting.queued(waiter, promise, from)
    this.#gate.enqueue(waiter, request)
    this.#lending.serve(now)
    return served
  }

  /** Why an acquire is not even let into the queue. */
  #refusal(request: Request): PoolError | undefined {
    const { supply } = this.#lending
    if (supply.isDown) return refusals.unhealthy(this.stats(), supply.breaker.lastError)
    if (request.timeout === 0 && !this.#lending.isSettling)
      return refusals.acquireTimeout(this.stats(), this.#phase(), 0, 0, undefined)
    if (this.#gate.rate !== undefined) {
      const estimate = this.#gate.rate.estimate(this.#gate.ahead(request.priority))
      if (estimate !== undefined && estimate > request.timeout && supply.headroom <= 0) {
        this.#house.totals.shed += 1
        this.announce('shed', { pool: this.name, waitedMillis: 0, estimatedMillis: estimate })
        return refusals.hopeless(this.stats(), estimate, request.timeout)
      }
    }
    const most = this.#options.maxWaitingClients
    if (most === Number.POSITIVE_INFINITY) return undefined
    const served = supply.headroom > -most || this.#roster.census.idle > 0
    return served ? undefined : refusals.queueFull(this.stats(), most)
  }

  async #use<R>(
    work: (resource: T) => R | PromiseLike<R>,
    request: number | AcquireOptions | undefined,
  ): Promise<R> {
    let slot = request === undefined ? this.#lendIdle() : undefined
    if (slot === undefined) slot = (await this.#enter(request, 'use', USE)) as Slot<T>
    else {
      if (this.#sampling.left > 0 || slot.lentAt >= this.#sampling.refillAt)
        slot.trace = this.#sampling.take(USE, slot.lentAt)
      if (this.#nesting !== undefined) {
        this.#nesting.begin(slot, true, false, USE)
        // From a microtask of its own the scope reaches nobody but the work, and there is nothing to restore: from
        // Node 24 on, `run` makes two maps for that, and takes 100 ns longer than this turn of the queue.
        await DONE
      }
    }
    const { loan } = slot
    this.#nesting?.enter(slot.scope)
    try {
      return await work(slot.lent as T)
    } finally {
      // Unless the function has ended the loan itself.
      if (isCurrent(slot, loan)) this.#giveBack(slot)
    }
  }

  /** Ends a loan; its connection stays with whoever shares it. */
  #giveBack(slot: Slot<T>): void {
    if (this.#strict === undefined || endsAlone(slot.scope)) this.#lending.giveBack(slot)
  }

  /** @internal */
  async _runShared<R>(share: Scope, work: (resource: T) => R | PromiseLike<R>): Promise<R> {
    const slot = share.slot as Slot<T>
    const { loan } = slot
    try {
      return await work(slot.lent as T)
    } finally {
      if (unshare(share) && isCurrent(slot, loan)) this.#lending.giveBack(slot)
    }
  }

  /** A waiter has left the queue without a connection. */
  #departed(waiter: Waiter<T>, how: Departure, now: number): void {
    const { supply } = this.#lending
    if (this.#crowd?.now !== now) this.#crowd = { now, stats: this.stats() }
    const { stats } = this.#crowd
    this.#nesting?.left(waiter)
    waiter.fail(
      waiter.particulars.sentence ??
        withoutStack(() => this.#farewell(waiter, how, now - waiter.since, stats)),
    )
    if (how === 'expired') this.#troubles.add('timeout', 'an acquire timed out', now)
    if (how === 'shed') this.announce('shed', { pool: this.name, waitedMillis: now - waiter.since })
    supply.outwaited(waiter, now, how === 'aborted')
  }

  #farewell(waiter: Waiter<T>, how: Departure, waited: number, stats: PoolStats): PoolError {
    const { totals } = this.#house
    if (how === 'refused') return refusals.closed(stats)
    if (how === 'aborted') {
      totals.aborted += 1
      return refusals.aborted(stats, waited, waiter.particulars.signal?.reason)
    }
    if (how === 'shed') {
      totals.shed += 1
      return refusals.shed(stats, waited, this.#options.shedding?.targetMillis ?? 0)
    }
    totals.timeouts += 1
    const stalled = this.#stalls.since(waiter.since)
    return refusals.acquireTimeout(
      stats,
      this.#phase(),
      waited,
      stalled,
      this.#lending.supply.breaker.lastError,
      this.#holders(),
    )
  }

  /** Who holds the connections of a full pool, oldest first; not again and again for each of a crowd. */
  #holders(): string[] | undefined {
    const now = this.#clock.now()
    const isFull = this.#roster.census.lent >= this.#options.max
    if (!isFull || now - this.#holdersTold < HOLDERS_MILLIS) return undefined
    this.#holdersTold = now
    return leasesOf(this.#insight(), now).map(holderInWords)
  }

  /** What keeps the first in the queue waiting. */
  #phase(): AcquirePhase {
    const { validating, connecting } = this.#roster.census
    if (validating > 0) return 'validate'
    return connecting > 0 || this.#lending.supply.breaker.failures > 0 ? 'connect' : 'queue'
  }

  /** What deals with overload and forgotten leases, as far as the options ask for it. */
  #beCalm(factory: Factory<T>): void {
    const { leakThresholdMillis, shedding, earlyRefusal } = this.#options
    const { roster, clock, bounds } = this.#house
    const stalledSince = (start: number): number => this.#stalls.since(start)
    if (shedding !== undefined) {
      this.#gate.shedder = new Shedder(shedding, this.#gate, clock, bounds.onStall, stalledSince)
    }
    if (earlyRefusal) this.#gate.rate = new ServiceRate(stalledSince)
    if (leakThresholdMillis === 0) return
    this.#leaks = new LeakWatch(leakThresholdMillis, {
      ...{ clock, roster, factory, stalledSince, onStall: bounds.onStall },
      isClosed: () => this.#lifecycle.state === 'closed',
      onLeak: (slot, unusedMillis) => this.#leaked(slot, unusedMillis),
    })
    this.#leaks.start()
  }

  /** A lease looks forgotten. */
  #leaked(slot: Slot<T>, unusedMillis: number): void {
    const { leakReclaim: reclaimed, name } = this.#options
    const resource = slot.lent as T
    slot.isSuspect = true
    this.#house.totals.leaks += 1
    const heldMillis = this.#clock.now() - slot.lentAt
    const stack = whereTaken(slot)
    if (log.leak.enabled) {
      const where = stack === undefined ? '' : `\n${stack}`
      log.leak('%s #%d: loan %d not used for %d ms%s', name, slot.id, slot.loan, unusedMillis, where)
    }
    const { id: connection, loan } = slot
    this.announce('leak', {
      ...{ pool: name, resource, connection, loan, heldMillis, unusedMillis, reclaimed, stats: this.stats() },
      ...(stack === undefined ? {} : { stack }),
    })
    // Whoever listens may end it in a better way.
    this.tellNow()
    if (!reclaimed || !isCurrent(slot, loan)) return
    if (typeof resource === 'object' && resource !== null) this.#reclaimed.add(resource)
    this.#lending.reclaim(slot)
  }

  #notLent(resource: T, what: 'release' | 'destroy'): Promise<void> {
    // The first late release of a lease that was reclaimed is no mistake of whoever makes it.
    if (this.#reclaimed.delete(resource as object)) return DONE
    return Promise.reject(refusals.notBorrowed(this.stats(), what))
  }

  #newNesting(factory: Factory<T>, totals: Totals, onStall: Lateness): Nesting<T> {
    const house = {
      factory,
      options: this.#options,
      clock: this.#clock,
      events: this,
      roster: this.#roster,
      totals,
      sampling: this.#sampling,
      stats: () => this.stats(),
      reject: (waiter: Waiter<T>): boolean => this.#gate.refuse(waiter, 'deadlocked'),
    }
    return new Nesting<T>(house, onStall)
  }

  #stalled(millis: number): void {
    this.#aftermath.begin()
    if (log.stall.enabled) log.stall('%s: the event loop stood still for %d ms', this.name, millis)
    this.announce('stall', { pool: this.name, millis })
  }

  #limitChanged(): void {
    // While the pool is being made, there is nothing to plan and nobody to tell.
    if (this.#lifecycle === undefined) return
    this.#lifecycle.sweep.plan()
    this.announce('server-timeout', { pool: this.name, ...this.#house.limit.stats })
  }

  #insight(): ReportInsight<T> {
    const { supply } = this.#lending
    return {
      options: this.#options,
      state: this.#lifecycle.state,
      roster: this.#roster,
      gate: this.#gate,
      breaker: supply.breaker,
      generation: supply.generation,
      totals: this.#house.totals,
      stalls: this.#stalls,
      troubles: this.#troubles,
      busy: this.#house.factory.busy?.bind(this.#house.factory),
      unused: slot => this.#leaks?.unused(slot, this.#clock.now()),
      halfClose: this.#house.lookout.findings,
      serverTimeout: this.#house.limit.stats,
    }
  }
}

/** What a loan gives to its borrower: made once per connection, or once per loan where each has a handle of its own. */
const promiseOf = <T>(slot: Slot<T>): Promise<T> => slot.served ?? Promise.resolve(slot.lent as T)

/** Is this still the loan that the slot is lent for? */
const isCurrent = <T>(slot: Slot<T>, loan: number): boolean => slot.loan === loan && slot.state === 'lent'

type Entry = (...args: never[]) => unknown

const runShared = <T, R>(
  pool: Pool<T>,
  share: Scope,
  work: (resource: T) => R | PromiseLike<R>,
): Promise<R> => pool._runShared(share, work)

/** Where our own frames end in a stack: kept here, as a subclass or a tool may put its own method in the place. */
const { acquire: ACQUIRE, use: USE, lease: LEASE } = Pool.prototype
