import type { Clock } from '../clock.ts'
import type { Totals } from '../diagnostics.ts'
import type { PoolError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { ResolvedOptions } from '../options.ts'
import { isDetached } from '../requests.ts'
import type { Roster } from '../roster.ts'
import type { Slot } from '../slot.ts'
import type { AcquireOptions, Factory, PoolStats } from '../types.ts'
import type { Waiter } from '../waiter.ts'
import { attend, Bell, handOver } from './attend.ts'
import { leasesOf, needsStacks } from './holders.ts'
import { Judge } from './judge.ts'
import { nestedAcquire } from './nested-words.ts'
import { share, shareable } from './reuse.ts'
import type { Sampling } from './sampling.ts'
import { heldFrom, Scope, shared, type Wait } from './scope.ts'
import { Sightings } from './sightings.ts'
import { Trace } from './stacks.ts'

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

/** Nested acquires of one pool: which leases each async context holds, and what becomes of an acquire made inside. */
export class Nesting<T> {
  /** Whether an acquire may have to be answered otherwise than by lending: `'forbid'` and `'reuse'`. */
  readonly mode: ResolvedOptions['nested']
  readonly judge: Judge<T>
  readonly #house: NestedHouse<T>
  readonly #sightings: Sightings<T>
  readonly #shared = shared()
  readonly #storage = this.#shared.storage

  constructor(house: NestedHouse<T>, onStall: (millis: number) => void) {
    this.#house = house
    this.mode = house.options.nested
    this.judge = new Judge(house, onStall)
    this.#sightings = new Sightings(house)
  }

  /** The innermost scope of this context whose lease is held. */
  get around(): Scope | undefined {
    return heldFrom(this.#storage.getStore())
  }

  /** An acquire was served at once. After a plain one its caller's context holds the lease from here on. */
  begin(slot: Slot<T>, exact: boolean, detached: boolean, from: Entry): void {
    const outer = detached ? undefined : this.around
    const scope = new Scope(this.judge, outer, exact)
    this.#bind(scope, slot)
    if (!exact) this.#storage.enterWith(scope)
    if (outer === undefined) return
    scope.parent = this.#sightings.see(outer, slot, slot.lentAt, from)
    scope.trace = slot.trace
  }

  /** Runs a function in the scope of its lease. */
  within<A extends unknown[], R>(scope: Scope | undefined, run: (...args: A) => R, ...args: A): R {
    return this.#storage.run(scope, run, ...args)
  }

  /** An acquire has to wait. @returns the promise for its caller */
  queued(waiter: Waiter<T>, from: Entry): Promise<T | Slot<T>> {
    const { sampling } = this.#house
    const { promise } = waiter
    const hint = waiter.detached ? undefined : this.around
    const scope = new Scope(this.judge, hint, waiter.call === 'use')
    waiter.scope = scope
    if (!scope.exact) this.#storage.enterWith(scope)
    const outer = hint === undefined ? undefined : this.#sightings.see(hint, waiter, waiter.since, from)
    scope.parent = outer
    if (outer === undefined)
      return waiter.trace === undefined || scope.exact ? promise : handOver(promise, scope)
    const asks = needsStacks(outer)
    if (sampling.shows || asks) waiter.trace ??= new Trace(from)
    const bell = asks ? new Bell() : undefined
    this.#shared.waits += 1
    const wait: Wait = {
      member: this.judge,
      leases: leasesOf({ scope: outer, trace: undefined, chain: undefined }, 'hints'),
      scope: outer,
      trace: waiter.trace,
      chain: undefined,
      ask: bell?.ring,
      since: waiter.since,
      order: this.#shared.waits,
    }
    this.judge.watch(wait, waiter)
    if (bell !== undefined) return attend(promise, bell, wait, scope)
    return waiter.trace === undefined || scope.exact ? promise : handOver(promise, scope)
  }

  /** A waiter has got its connection. */
  granted(waiter: Waiter<T>, slot: Slot<T>, now: number): void {
    this.judge.lastSign = now
    if (waiter.scope !== undefined) this.#bind(waiter.scope, slot)
    if (waiter.wait !== undefined) this.judge.forget(waiter.wait)
  }

  /** A waiter has left without. */
  left(waiter: Waiter<T>): void {
    waiter.scope?.end()
    if (waiter.wait !== undefined) this.judge.forget(waiter.wait)
  }

  /** A loan has ended. */
  ended(now: number): void {
    this.judge.lastSign = now
  }

  /** `'reuse'`: a further loan of the lease that the caller's line holds already, if there is one. */
  shared(request: number | AcquireOptions | undefined, exact: boolean, from: Entry): Scope | undefined {
    const { around } = this
    if (this.mode !== 'reuse' || around === undefined || isDetached(request)) return undefined
    const asked = new Trace(from)
    const within = shareable(around, this.judge, asked)
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
}
