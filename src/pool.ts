import { Alarm, type Clock, systemClock } from './clock.ts'
import { type Insight, newTotals, reportOf, Stalls, statsOf } from './diagnostics.ts'
import type { AcquirePhase, PoolError } from './errors.ts'
import { PoolEmitter } from './events.ts'
import { type Departure, Gate } from './gate.ts'
import { Lease } from './lease.ts'
import { Lending } from './lending.ts'
import { log } from './log.ts'
import { badOptions, checkedBounds, type ResolvedOptions, resolveOptions } from './options.ts'
import { idleCheckPeriod, tooIdle } from './policy/freshness.ts'
import * as refusals from './refusals.ts'
import { readRequest } from './requests.ts'
import { Roster } from './roster.ts'
import type { Slot } from './slot.ts'
import type { House } from './supply.ts'
import type { AcquireOptions, Factory, PoolOptions, PoolStats } from './types.ts'
import { type Request, Waiter } from './waiter.ts'

/** @internal What tests put in place of time and chance. */
export interface Surroundings {
  readonly clock: Clock
  readonly random: () => number
}

const DONE: Promise<void> = Promise.resolve()

/**
 * A pool of connections: lends them, takes them back, and sees to it that none is lent dead, kept dead or leaked.
 * Made with {@link createPool} or by an adapter.
 */
export class Pool<T> extends PoolEmitter<T> {
  readonly #options: ResolvedOptions
  readonly #clock: Clock
  readonly #house: House<T>
  readonly #roster: Roster<T>
  readonly #gate: Gate<T>
  readonly #lending: Lending<T>
  readonly #stalls = new Stalls()
  readonly #idleCheck: Alarm
  /** What an acquire without options asks for. */
  readonly #plain: Request
  readonly #watchers = new Set<() => void>()
  #state: PoolStats['state'] = 'open'
  #started = false
  #clearing = 0
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(factory: Factory<T>, options: ResolvedOptions, surroundings: Surroundings) {
    super()
    const { clock, random } = surroundings
    this.#options = options
    this.#clock = clock
    this.#plain = { priority: 0, timeout: options.acquireTimeoutMillis, signal: undefined }
    this.#roster = new Roster()
    const onStall = (millis: number): void => this.#stalled(millis)
    this.#gate = new Gate(options.priorityRange, clock, onStall, (waiter, how) => this.#departed(waiter, how))
    this.#house = {
      factory,
      options,
      clock,
      random,
      bounds: { clock, onStall },
      events: this,
      roster: this.#roster,
      gate: this.#gate,
      totals: newTotals(),
      onChange: () => this.#changed(),
    }
    this.#lending = new Lending(this.#house)
    this.#idleCheck = new Alarm(clock, () => this.#checkIdle(), onStall)
    if (log.pool.enabled) log.pool('%s: made with %O', options.name, options)
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
    const slot = request === undefined ? this.#lendIdle() : undefined
    if (slot !== undefined) return Promise.resolve(slot.resource as T)
    return this.#enter(request, false) as Promise<T>
  }

  /**
   * Lends a connection for the time that a function needs, and takes it back on every path. The function may be
   * synchronous. Its failure is passed on and does not cost the connection, unless that is broken or dirty.
   */
  use<R>(work: (resource: T) => R | PromiseLike<R>, request?: number | AcquireOptions): Promise<R> {
    const slot = request === undefined ? this.#lendIdle() : undefined
    if (slot !== undefined) return this.#run(slot, work)
    return (this.#enter(request, true) as Promise<Slot<T>>).then(lent => this.#run(lent, work))
  }

  /** Lends a connection as a one-shot token: `await using lease = await pool.lease()`. Rejects as {@link acquire}. */
  async lease(request?: number | AcquireOptions): Promise<Lease<T>> {
    const slot =
      (request === undefined ? this.#lendIdle() : undefined) ??
      ((await this.#enter(request, true)) as Slot<T>)
    const loan = slot.loan
    return new Lease(slot.resource as T, this.name, {
      isCurrent: () => isCurrent(slot, loan),
      end: how => (how === 'release' ? this.#lending.giveBack(slot) : this.#lending.destroy(slot)),
    })
  }

  /** Takes a connection back. Takes effect at once; rejects with `POOL_NOT_BORROWED` when it is not lent. */
  release(resource: T): Promise<void> {
    const slot = this.#roster.lent(resource)
    if (slot === undefined) return Promise.reject(refusals.notBorrowed(this.stats(), 'release'))
    this.#lending.giveBack(slot)
    return DONE
  }

  /** Takes a connection back and ends it. Takes effect at once; rejects with `POOL_NOT_BORROWED`. */
  destroy(resource: T): Promise<void> {
    const slot = this.#roster.lent(resource)
    if (slot === undefined) return Promise.reject(refusals.notBorrowed(this.stats(), 'destroy'))
    this.#lending.destroy(slot)
    return DONE
  }

  /** Is this connection lent at this moment? */
  isBorrowedResource(resource: T): boolean {
    return this.#roster.lent(resource) !== undefined
  }

  /** Starts to keep `min` connections and to check the idle ones, where `autostart` is off. */
  start(): void {
    if (this.#started || this.#state !== 'open') return
    this.#started = true
    this.#planIdleCheck()
    this.#keepMin()
  }

  /**
   * Resolves when `min` connections have been made.
   * @returns rejects with `POOL_CONNECT_FAILED` after `timeoutMillis` (default: `acquireTimeoutMillis`), with
   *   `POOL_CLOSED` when the pool is drained first
   */
  async ready(options: { timeoutMillis?: number } = {}): Promise<void> {
    this.start()
    const millis = checkedTimeout(options, this.#options.acquireTimeoutMillis, this.name)
    const isReady = () => this.#roster.alive >= this.#options.min
    const settled = await this.#until(() => isReady() || this.#state !== 'open', millis)
    if (isReady()) return
    throw settled
      ? refusals.closed(this.stats())
      : refusals.notReady(this.stats(), millis, this.#lending.supply.breaker.lastError)
  }

  /**
   * Takes no more acquires, and resolves when those that wait have been served and every loan has ended.
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after `timeoutMillis` (default: `drainTimeoutMillis`)
   */
  async drain(options: { timeoutMillis?: number } = {}): Promise<void> {
    const millis = checkedTimeout(options, this.#options.drainTimeoutMillis, this.name)
    if (this.#state === 'open') this.#state = 'draining'
    this.#keepMin()
    this.#idleCheck.clear()
    this.#changed()
    const { census } = this.#roster
    if (
      await this.#until(() => this.#gate.waiting === 0 && census.lent === 0 && census.resetting === 0, millis)
    )
      return
    throw refusals.drainTimeout(this.stats(), millis, 'drain', 'It stays draining.')
  }

  /** Ends every idle connection and waits for the creates and closes that are under way. `min` is refilled after. */
  async clear(): Promise<void> {
    const { slots } = this.#roster
    this.#clearing += 1
    this.#keepMin()
    this.#discardIdle()
    const dialling = new Set([...slots].filter(slot => slot.state === 'connecting'))
    await this.#until(
      () => ![...dialling].some(slot => slot.state === 'connecting'),
      Number.POSITIVE_INFINITY,
    )
    this.#discardIdle()
    await Promise.all([...slots].map(slot => slot.closed))
    this.#clearing -= 1
    this.#keepMin()
  }

  /**
   * Ends the pool: drains it, ends every connection, and resolves when all are closed.
   * @returns rejects with `POOL_DRAIN_TIMEOUT` after `timeoutMillis` (default: `drainTimeoutMillis`); what is still lent
   *   is then destroyed, whoever waits is rejected with `POOL_CLOSED`
   */
  close(options: { timeoutMillis?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  /** `await using pool = createPool(…)`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts a new generation: idle connections are destroyed now, lent ones when they come back. */
  purge(reason = 'purge'): void {
    this.#lending.supply.newGeneration()
    if (log.pool.enabled)
      log.pool('%s: generation %d: %s', this.name, this.#lending.supply.generation, reason)
    for (const slot of this.#roster.idleSlots()) {
      if (slot.state === 'idle') this.#lending.supply.discard(slot, 'generation', reason)
    }
    this.#lending.serve()
  }

  /** Changes the bounds. Surplus connections are destroyed: idle ones now, lent ones when they come back. */
  resize(bounds: { min?: number; max?: number }): void {
    const { min = this.#options.min, max = this.#options.max } = bounds
    checkedBounds(min, max)
    this.#options.min = min
    this.#options.max = max
    const { supply } = this.#lending
    for (const slot of this.#roster.idleSlots()) {
      if (supply.spare >= 0) break
      if (slot.state === 'idle') supply.discard(slot, 'surplus')
    }
    this.#lending.serve()
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
    return reportOf(this.#insight(), this.#clock.now())
  }

  /** @internal Read by generic-pool's own test suite. */
  get _scheduledEviction(): object | null {
    return this.#idleCheck.isSet ? this.#idleCheck : null
  }

  /** @internal For the model test, which asserts the invariants. */
  get _insides() {
    return { roster: this.#roster, gate: this.#gate, supply: this.#lending.supply, options: this.#options }
  }

  /** The fast path: nobody waits, and an idle connection is fit to be lent. */
  #lendIdle(): Slot<T> | undefined {
    if (this.#gate.waiting > 0 || this.#state !== 'open') return undefined
    const now = this.#clock.now()
    const slot = this.#lending.take(now, 0)
    if (slot !== undefined) this.#lending.lend(slot, now, 0)
    return slot
  }

  /** The other path: options to read, somebody before us, or nothing at hand. */
  #enter(given: number | AcquireOptions | undefined, wantsSlot: boolean): Promise<T | Slot<T>> {
    if (this.#state !== 'open') return Promise.reject(refusals.closed(this.stats()))
    let request: Request
    try {
      request = readRequest(given, this.#options, this.#plain)
    } catch (error) {
      return Promise.reject(error)
    }
    const { signal } = request
    if (signal?.aborted) return Promise.reject(refusals.aborted(this.stats(), 0, signal.reason))
    this.start()
    const now = this.#clock.now()
    const slot = given === undefined ? undefined : this.#lendIdle()
    if (slot !== undefined) return Promise.resolve(wantsSlot ? slot : (slot.resource as T))
    const refusal = this.#refusal(request)
    if (refusal !== undefined) return Promise.reject(refusal)
    const waiter = new Waiter<T>(request, now, wantsSlot)
    this.#gate.enqueue(waiter)
    this.#lending.serve()
    return waiter.promise
  }

  #refusal(request: Request): PoolError | undefined {
    const { supply } = this.#lending
    if (supply.isDown) return refusals.unhealthy(this.stats(), supply.breaker.lastError)
    if (request.timeout === 0) return refusals.acquireTimeout(this.stats(), this.#phase(), 0, 0, undefined)
    const most = this.#options.maxWaitingClients
    const unserved = -supply.headroom
    if (unserved >= most && this.#roster.census.idle === 0) return refusals.queueFull(this.stats(), most)
    return undefined
  }

  async #run<R>(slot: Slot<T>, work: (resource: T) => R | PromiseLike<R>): Promise<R> {
    const loan = slot.loan
    try {
      return await work(slot.resource as T)
    } finally {
      // Unless the function has ended the loan itself.
      if (isCurrent(slot, loan)) this.#lending.giveBack(slot)
    }
  }

  /** A waiter has left the queue without a connection. */
  #departed(waiter: Waiter<T>, how: Departure): void {
    const now = this.#clock.now()
    const waited = now - waiter.since
    const { totals } = this.#house
    if (how === 'expired') {
      totals.timeouts += 1
      const { lastError } = this.#lending.supply.breaker
      const stalled = this.#stalls.since(waiter.since)
      waiter.fail(refusals.acquireTimeout(this.stats(), this.#phase(), waited, stalled, lastError))
    } else if (how === 'aborted') {
      totals.aborted += 1
      waiter.fail(refusals.aborted(this.stats(), waited, waiter.signal?.reason))
    } else waiter.fail(refusals.closed(this.stats()))
    this.#lending.supply.outwaited(waiter, now, how === 'aborted')
    this.#lending.supply.provision()
    this.#changed()
  }

  /** What keeps the first in the queue waiting. */
  #phase(): AcquirePhase {
    const { validating, connecting } = this.#roster.census
    if (validating > 0) return 'validate'
    return connecting > 0 || this.#lending.supply.breaker.failures > 0 ? 'connect' : 'queue'
  }

  #stalled(millis: number): void {
    if (!this.#stalls.add(this.#clock.now(), millis)) return
    if (log.stall.enabled) log.stall('%s: the event loop stood still for %d ms', this.name, millis)
    this.announce('stall', { pool: this.name, millis })
  }

  async #close(options: { timeoutMillis?: number }): Promise<void> {
    const millis = checkedTimeout(options, this.#options.drainTimeoutMillis, this.name)
    const deadline = this.#clock.now() + millis
    const drained = await this.drain({ timeoutMillis: millis }).then(
      () => true,
      () => false,
    )
    const before = this.stats()
    this.#state = 'closed'
    const closed = refusals.closed(this.stats())
    this.#lending.supply.stop()
    this.#lending.supply.abortDials(closed)
    this.#gate.refuseAll()
    for (const slot of [...this.#roster.slots]) {
      if (slot.state !== 'connecting' && slot.state !== 'closing') this.#lending.supply.discard(slot, 'drain')
    }
    this.#changed()
    const left = Math.max(deadline - this.#clock.now(), 1)
    if (drained && (await this.#until(() => this.#roster.slots.size === 0, left))) return
    const then = drained ? 'They are given up.' : 'What was lent has been destroyed, who waited was rejected.'
    throw refusals.drainTimeout(before, millis, 'close', then)
  }

  #keepMin(): void {
    const { supply } = this.#lending
    supply.keepsMin = this.#started && this.#state === 'open' && this.#clearing === 0
    supply.provision()
  }

  #discardIdle(): void {
    for (const slot of this.#roster.idleSlots()) {
      if (slot.state === 'idle') this.#lending.supply.discard(slot, 'drain')
    }
  }

  #planIdleCheck(): void {
    const period = idleCheckPeriod(this.#options)
    if (Number.isFinite(period)) this.#idleCheck.set(this.#clock.now() + period)
  }

  /** Looks at the connections that have been idle longest, as many as one run may test. */
  #checkIdle(): void {
    const now = this.#clock.now()
    for (const slot of this.#roster.idleSlots().slice(0, this.#options.numTestsPerEvictionRun)) {
      if (slot.state !== 'idle') continue
      const spare = this.#roster.census.idle > this.#options.min
      if (tooIdle(slot, now, this.#options, spare)) this.#lending.supply.discard(slot, 'idle')
      else if (now >= slot.retireAt) this.#lending.supply.discard(slot, 'lifetime')
    }
    this.#planIdleCheck()
  }

  #insight(): Insight<T> {
    const { supply } = this.#lending
    return {
      options: this.#options,
      state: this.#state,
      roster: this.#roster,
      gate: this.#gate,
      breaker: supply.breaker,
      generation: supply.generation,
      totals: this.#house.totals,
      stalls: this.#stalls,
    }
  }

  #changed(): void {
    for (const check of this.#watchers) check()
  }

  /** @returns true when the condition holds, false when it did not within so many milliseconds */
  #until(condition: () => boolean, millis: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true)
    return new Promise(resolve => {
      const settle = (met: boolean): void => {
        this.#watchers.delete(check)
        alarm.hold(false)
        alarm.clear()
        resolve(met)
      }
      const check = (): void => {
        if (condition()) settle(true)
      }
      const alarm = new Alarm(this.#clock, () => settle(condition()), this.#house.bounds.onStall)
      alarm.hold(true)
      alarm.set(this.#clock.now() + millis)
      this.#watchers.add(check)
    })
  }
}

const isCurrent = <T>(slot: Slot<T>, loan: number): boolean => slot.loan === loan && slot.state === 'lent'

function checkedTimeout(options: { timeoutMillis?: number }, otherwise: number, pool: string): number {
  const { timeoutMillis = otherwise } = options
  if (typeof timeoutMillis === 'number' && timeoutMillis >= 0) return timeoutMillis
  throw badOptions([`timeoutMillis must be milliseconds ≥ 0, got ${String(timeoutMillis)}`], pool)
}

/** What is wrong with a factory, and with options that it cannot serve. */
function factoryIssues(factory: unknown, options: PoolOptions | undefined): string[] {
  if (typeof factory !== 'object' || factory === null)
    return ['the factory must be an object with create and destroy']
  const hooks = factory as Record<string, unknown>
  const issues: string[] = []
  for (const hook of ['create', 'destroy']) {
    if (typeof hooks[hook] !== 'function') issues.push(`factory.${hook} must be a function`)
  }
  for (const hook of ['validate', 'reset', 'socket', 'busy', 'serverIdleTimeout']) {
    if (hooks[hook] !== undefined && typeof hooks[hook] !== 'function') {
      issues.push(`factory.${hook} must be a function, or left out`)
    }
  }
  if (hooks.validate === undefined) {
    for (const option of ['testOnBorrow', 'testOnReturn', 'validateAfterIdleMillis'] as const) {
      if (options?.[option]) issues.push(`${option} needs a factory.validate`)
    }
  }
  return issues
}

/** @internal */
export function openPool<T>(
  factory: Factory<T>,
  options: PoolOptions | undefined,
  dropIn: boolean,
  surroundings: Surroundings = { clock: systemClock, random: Math.random },
): Pool<T> {
  const issues = factoryIssues(factory, options)
  let resolved: ResolvedOptions | undefined
  try {
    resolved = resolveOptions(options, dropIn)
  } catch (error) {
    issues.push(...((error as PoolError).issues ?? []))
  }
  if (resolved === undefined || issues.length > 0) throw badOptions(issues)
  return new Pool(factory, resolved, surroundings)
}

/**
 * Makes a pool. A drop-in for generic-pool's function of this name.
 *
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong. Odd values that generic-pool's own test suite passes
 *   are taken as it takes them, with a process warning, as long as only its own options are used.
 */
export function createPool<T>(factory: Factory<T>, options?: PoolOptions): Pool<T> {
  return openPool(factory, options, true)
}

/** @internal For adapters, which are nobody's drop-in: every odd value is refused. */
export function createStrictPool<T>(factory: Factory<T>, options: PoolOptions | undefined): Pool<T> {
  return openPool(factory, options, false)
}
