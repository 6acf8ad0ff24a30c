import { Alarm, type Clock, type Lateness } from '../clock.ts'
import type { Totals } from '../diagnostics.ts'
import type { PoolError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import { log } from '../log.ts'
import type { ResolvedOptions } from '../options.ts'
import { isDetached } from '../requests.ts'
import type { Roster } from '../roster.ts'
import type { Slot } from '../slot.ts'
import type { AcquireOptions, Factory, PoolStats } from '../types.ts'
import type { Waiter } from '../waiter.ts'
import { attend, Bell } from './attend.ts'
import { leasesOf, needsStacks } from './holders.ts'
import { circle, deadlock, nestedAcquire, SIZING } from './nested-words.ts'
import { share, shareable } from './reuse.ts'
import type { Sampling } from './sampling.ts'
import { heldFrom, type Member, Scope, shared, type Wait } from './scope.ts'
import { Trace } from './stacks.ts'
import { prepare, provenKnots, suspects, youngest } from './watch.ts'

type Entry = (...args: never[]) => unknown

/** What a pool lets this policy see and do. */
export interface NestedHouse<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly events: PoolEmitter<T>
  readonly roster: Roster<T>
  readonly totals: Totals
  readonly sampling: Sampling
  stats(): PoolStats
  /** Sends a waiter away with its sentence. @returns false if it has left meanwhile */
  reject(waiter: Waiter<T>): boolean
}

/** Nested acquires whose stack is read at once; after that, one in so many. */
const MOST_LOOKS = 1000
const THEN_ONE_IN = 16
/** Call sites that are remembered as told. */
const MOST_SITES = 1000
/** The share of time that the verdict may take: one in so many. */
const VERDICT_SHARE = 20

/** Nested acquires of one pool: who holds what, who is told, and who is sent away when all else has stopped. */
export class Nesting<T> implements Member {
  /** Acquires of this pool that wait inside a lease. */
  readonly #waits = new Set<Wait>()
  /** Whether an acquire may have to be answered otherwise than by lending: `'forbid'` and `'reuse'`. */
  readonly mode: ResolvedOptions['nested']
  readonly #house: NestedHouse<T>
  readonly #storage = shared().storage
  readonly #alarm: Alarm
  readonly #waiters = new WeakMap<Wait, Waiter<T>>()
  readonly #told = new Set<string>()
  #looks = 0
  /** Who was in a knot that has been broken, and goes first. */
  #freed: Waiter<T>[] = []
  /** When a connection last came or went, in milliseconds of the pool's clock. */
  #lastSign = Number.NEGATIVE_INFINITY
  #examining = false

  constructor(house: NestedHouse<T>, onStall: Lateness) {
    this.#house = house
    this.mode = house.options.nested
    this.#alarm = new Alarm(house.clock, () => this.#ring(), onStall)
  }

  get name(): string {
    return this.#house.options.name
  }

  get lent(): number {
    return this.#house.roster.census.lent
  }

  /** The innermost scope of this context whose lease is held. */
  get around(): Scope | undefined {
    return heldFrom(this.#storage.getStore())
  }

  /** An acquire was served at once. After a plain one its caller's context holds the lease from here on. */
  begin(slot: Slot<T>, exact: boolean, detached: boolean, from: Entry): void {
    const outer = detached ? undefined : this.around
    const scope = new Scope(this, outer, exact)
    this.#bind(scope, slot)
    if (!exact) this.#storage.enterWith(scope)
    if (outer !== undefined) scope.parent = this.#sight(outer, slot.trace, from)
  }

  /** Runs a function in the scope of its lease. */
  within<A extends unknown[], R>(scope: Scope | undefined, run: (...args: A) => R, ...args: A): R {
    return this.#storage.run(scope, run, ...args)
  }

  /** An acquire has to wait. @returns the promise for its caller */
  queued(waiter: Waiter<T>, from: Entry): Promise<T | Slot<T>> {
    const { sampling, clock, options } = this.#house
    const outer = waiter.detached ? undefined : this.around
    waiter.scope = new Scope(this, outer, waiter.call === 'use')
    if (!waiter.scope.exact) this.#storage.enterWith(waiter.scope)
    if (outer === undefined) return waiter.promise
    const asks = needsStacks(outer)
    if (sampling.shows || asks) waiter.trace ??= new Trace(from)
    const bell = asks ? new Bell() : undefined
    const all = shared()
    all.waits += 1
    const wait: Wait = {
      member: this,
      leases: leasesOf({ scope: outer, trace: undefined, chain: undefined }, 'hints'),
      scope: outer,
      trace: waiter.trace,
      chain: undefined,
      ask: bell?.ring,
      since: waiter.since,
      order: all.waits,
    }
    waiter.wait = wait
    this.#waiters.set(wait, waiter)
    this.#waits.add(wait)
    for (const lease of wait.leases) {
      lease.waits ??= new Set()
      lease.waits.add(wait)
    }
    this.#alarm.set(clock.now() + options.deadlockGraceMillis)
    waiter.scope.parent = this.#sight(outer, waiter.trace, from)
    return bell === undefined ? waiter.promise : attend(waiter.promise, bell, wait)
  }

  /**
   * Who is served before all others. A knot has been broken: whoever stood in it holds connections, and gives them
   * back once it is served. If the freed connection went to the first in the queue, that would tie the knot again.
   */
  urgent(): Waiter<T> | undefined {
    if (this.#freed.length === 0) return undefined
    let next = this.#freed.pop()
    while (next?.gone) next = this.#freed.pop()
    return next
  }

  goFirst(wait: Wait): void {
    const waiter = this.#waiters.get(wait)
    if (waiter !== undefined) this.#freed.push(waiter)
  }

  /** A waiter has got its connection. */
  granted(waiter: Waiter<T>, slot: Slot<T>, now: number): void {
    this.#lastSign = now
    if (waiter.scope !== undefined) this.#bind(waiter.scope, slot)
    if (waiter.wait !== undefined) this.#forget(waiter.wait)
  }

  /** A waiter has left without. */
  left(waiter: Waiter<T>): void {
    waiter.scope?.end()
    if (waiter.wait !== undefined) this.#forget(waiter.wait)
  }

  /** A loan has ended. */
  ended(now: number): void {
    this.#lastSign = now
  }

  canMove(): boolean {
    const { roster, options, clock } = this.#house
    const { connecting, idle, validating, resetting, closing } = roster.census
    return (
      connecting + idle + validating + resetting + closing > 0 ||
      roster.held < options.max ||
      clock.now() - this.#lastSign < options.deadlockGraceMillis
    )
  }

  *leases(): Generator<Scope> {
    for (const slot of this.#house.roster.slots) if (slot.scope !== undefined) yield slot.scope
  }

  isStuck(): boolean {
    for (const slot of this.#house.roster.slots) {
      if (slot.state === 'lent' && (slot.scope?.waits?.size ?? 0) === 0) return false
    }
    return true
  }

  isBusy(slot: object): boolean {
    const { factory } = this.#house
    if (factory.busy === undefined) return false
    try {
      return factory.busy((slot as Slot<T>).resource as T)
    } catch {
      // It cannot tell: no proof that the holder does nothing.
      return true
    }
  }

  isRipe(wait: Wait): boolean {
    const { clock, options } = this.#house
    const grace = options.deadlockGraceMillis
    const now = clock.now()
    const waiter = this.#waiters.get(wait)
    return now - wait.since >= grace && waiter !== undefined && waiter.deadline - now > grace
  }

  reject(wait: Wait, knot: readonly Wait[]): boolean {
    const { clock, events, totals, sampling } = this.#house
    const waiter = this.#waiters.get(wait)
    if (waiter === undefined) return false
    const now = clock.now()
    const leases = leasesOf(wait, 'chain')
    const heldStacks = sampling.shows ? leases.map(lease => lease.trace?.text ?? '') : []
    const waitStack = sampling.shows ? (wait.trace?.text ?? '') : ''
    const pools = [...new Set(knot.map(({ member }) => member.name))]
    const drawing = circle(knot, wait)
    const waitedMillis = now - wait.since
    const details = { heldStacks, waitStack, pools, waitedMillis }
    const error = deadlock(this.#house.stats(), leases, drawing, details)
    waiter.sentence = error
    if (!this.#house.reject(waiter)) return false
    this.#lastSign = now
    totals.deadlocks += 1
    if (log.pool.enabled) log.pool('%s', error.message)
    events.announce('deadlock', { pool: this.name, pools, waitedMillis, heldStacks, waitStack, error })
    return true
  }

  /** `'reuse'`: a further loan of the lease that the caller's line holds already, if there is one. */
  shared(request: number | AcquireOptions | undefined, exact: boolean, from: Entry): Scope | undefined {
    const { around } = this
    if (this.mode !== 'reuse' || around === undefined || isDetached(request)) return undefined
    const asked = new Trace(from)
    const within = shareable(around, this, asked)
    if (within === undefined) return undefined
    this.#house.totals.nested += 1
    const child = share(within, around, exact, asked)
    if (!exact) this.#storage.enterWith(child)
    return child
  }

  /** `'forbid'`: why this acquire must not be made. */
  refusal(request: number | AcquireOptions | undefined, from: Entry): PoolError | undefined {
    if (this.mode !== 'forbid' || isDetached(request)) return undefined
    const outer = this.around
    if (outer === undefined) return undefined
    const trace = new Trace(from)
    const leases = leasesOf({ scope: outer, trace, chain: undefined }, 'call')
    if (leases.length === 0) return undefined
    this.#house.totals.nested += 1
    const shows = this.#house.sampling.shows
    return nestedAcquire(this.#house.stats(), leases, shows ? trace : undefined)
  }

  #bind(scope: Scope, slot: Slot<T>): void {
    scope.begin(slot)
    scope.trace = slot.trace
    slot.scope = scope
  }

  #forget(wait: Wait): void {
    this.#waits.delete(wait)
    this.#waiters.delete(wait)
    for (const lease of wait.leases) lease.waits?.delete(wait)
  }

  /**
   * Tells of a nested acquire, once for each pair of call sites.
   * @returns the innermost scope that is really around it, as far as that could be seen: without what the context only
   *   happens to carry, chains stay short
   */
  #sight(outer: Scope, known: Trace | undefined, from: Entry): Scope | undefined {
    const { totals, sampling, events } = this.#house
    if (!outer.exact && !needsStacks(outer)) {
      // Where the lease was taken is not known: from now on it will be.
      sampling.nested()
      return outer
    }
    this.#looks += 1
    if (this.#looks > MOST_LOOKS && this.#looks % THEN_ONE_IN !== 0) {
      if (outer.exact) totals.nested += 1
      return outer
    }
    const trace = known ?? new Trace(from)
    const leases = leasesOf({ scope: outer, trace, chain: undefined }, 'call')
    const [inner] = leases
    if (inner === undefined) return undefined
    totals.nested += 1
    sampling.nested()
    const site = [trace, ...leases.map(lease => lease.trace)].map(each => each?.place ?? '').join(' ')
    if (this.#told.has(site) || this.#told.size >= MOST_SITES) return outer.lease === inner ? outer : inner
    this.#told.add(site)
    const heldStacks = sampling.shows ? leases.map(lease => lease.trace?.text ?? '') : []
    const waitStack = sampling.shows ? trace.text : ''
    const heldPools = [...new Set(leases.map(lease => lease.member?.name ?? ''))]
    if (log.pool.enabled) {
      log.pool(
        '%s: nested acquire, holding from %s; %s\n%s',
        this.name,
        heldPools.join(', '),
        SIZING,
        waitStack,
      )
    }
    events.announce('nested', { pool: this.name, heldPools, heldStacks, waitStack, rule: SIZING })
    return outer.lease === inner ? outer : inner
  }

  #ring(): void {
    if (this.#waits.size === 0) return
    const { clock, options } = this.#house
    const before = clock.now()
    if (!this.#examining && !this.canMove()) {
      const suspicion = suspects(this)
      if (suspicion.length > 0) this.#examine(suspicion)
    }
    const now = clock.now()
    const pause = Math.max(options.deadlockGraceMillis / 2, VERDICT_SHARE * (now - before), 1)
    this.#alarm.set(now + pause)
  }

  /** In portions, with the loop turning in between: whatever lies unread in the kernel gets its say before the end. */
  #examine(suspicion: readonly Wait[]): void {
    this.#examining = true
    const left = prepare(suspicion)
    this.#house.clock.turn(() => {
      if (left.length > 0) {
        this.#examine(left)
        return
      }
      this.#examining = false
      if (this.#waits.size === 0) return
      for (const knot of provenKnots(this)) {
        const victim = youngest(knot)
        if (victim === undefined || !victim.member.reject(victim, knot)) continue
        // Taken from the end: who has waited longest comes last.
        for (const wait of knot.toSorted((a, b) => b.order - a.order)) wait.member.goFirst(wait)
      }
    })
  }
}
