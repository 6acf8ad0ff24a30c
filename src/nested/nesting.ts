import { isDetached } from '../api/acquire-request.ts'
import type { PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/options.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import type { StallListener } from '../runtime/alarm.ts'
import { StackTrace } from '../runtime/stack-trace.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import { noteOwners, Signal, trackAwaiters } from './awaiters.ts'
import { DeadlockDetector } from './deadlock-detector.ts'
import { leasesOf, needsStacks } from './holders.ts'
import type { Entry, NestingHost } from './host.ts'
import { nestedAcquire } from './messages.ts'
import { learn, noteGoing } from './release-history.ts'
import { share, shareable } from './reuse.ts'
import { EMPTY, heldFrom, isSpent, Scope, shared, type WaitEdge } from './scope.ts'
import { NestedWarnings } from './warnings.ts'

/** Releases that are looked at in a row, and then in a second: two stacks to read, some 30 µs each. */
const MOST_LOOKS = 200
const LOOKS_A_SECOND = 50

/** Nested acquires of one pool: which leases each async context holds, and what becomes of an acquire made inside. */
export class Nesting<T> {
  /** Whether an acquire may have to be answered otherwise than by lending: `'forbid'` and `'reuse'`. */
  readonly mode: ResolvedOptions['nested']
  readonly detector: DeadlockDetector<T>
  readonly #context: NestingHost<T>
  readonly #sightings: NestedWarnings<T>
  readonly #shared = shared()
  readonly #storage = this.#shared.storage
  readonly #looks: TokenBucket

  constructor(context: NestingHost<T>, onStall: StallListener) {
    this.#context = context
    this.mode = context.options.nested
    this.detector = new DeadlockDetector(context, onStall)
    this.#sightings = new NestedWarnings(context)
    this.#looks = new TokenBucket(MOST_LOOKS, LOOKS_A_SECOND / 1000, MOST_LOOKS, context.clock.now())
  }

  /** The innermost scope of this context whose lease is held. */
  get around(): Scope | undefined {
    return heldFrom(this.#storage.getStore())
  }

  /** An acquire was served at once. After a plain one its caller's context holds the lease from here on. */
  begin(slot: Slot<T>, exact: boolean, detached: boolean, from: Entry): void {
    const hint = this.#storage.getStore()
    // A plain lease whose stack was not taken can never be proved to be held by whoever waits: it needs no scope.
    if (!exact && slot.trace === undefined && isSpent(hint)) return
    const scope = new Scope(this.detector, undefined, exact)
    if (hint !== undefined) this.#enclose(scope, hint, detached, slot, false, slot.lentAt, from)
    if (!exact && slot.trace === undefined && !scope.isDetached) {
      this.#storage.enterWith(scope.parent ?? EMPTY)
      return
    }
    this.#bind(scope, slot)
    if (!exact) this.#storage.enterWith(scope)
  }

  /** What runs from here on in this microtask, and what it sets off, is in the scope. */
  enter(scope: Scope | undefined): void {
    this.#storage.enterWith(scope)
  }

  /** Runs a function in a scope. */
  within<A extends unknown[], R>(scope: Scope | undefined, run: (...args: A) => R, ...args: A): R {
    return this.#storage.run(scope, run, ...args)
  }

  /** An acquire has to wait. @returns the promise for its caller */
  queued<R>(waiter: Waiter<T>, promise: Promise<R>, from: Entry): Promise<R> {
    const { sampler } = this.#context
    const { call, trace, detached } = waiter
    const exact = call === 'use'
    const hint = this.#storage.getStore()
    if ((exact || trace === undefined) && isSpent(hint)) return promise
    const scope = new Scope(this.detector, undefined, exact)
    const asking = { trace }
    if (hint !== undefined) this.#enclose(scope, hint, detached, asking, true, waiter.since, from)
    const outer = detached ? undefined : scope.parent
    if (!exact && asking.trace === undefined && outer === undefined && !scope.isDetached) {
      this.#storage.enterWith(EMPTY)
      return promise
    }
    waiter.trace = asking.trace
    waiter.scope = scope
    if (!exact) this.#storage.enterWith(scope)
    if (outer === undefined) return exact || waiter.trace === undefined ? promise : noteOwners(promise, scope)
    const asks = needsStacks(outer)
    // Beyond the budget a crowd is judged by its exact scopes alone.
    if (waiter.trace === undefined && (sampler.shows || asks) && sampler.affords(waiter.since))
      waiter.trace = sampler.capture(from, waiter.since)
    const bell = asks && waiter.trace !== undefined ? new Signal() : undefined
    this.#shared.waits += 1
    const wait: WaitEdge = {
      member: this.detector,
      cohort: this.detector.cohortOf(outer),
      scope: outer,
      trace: waiter.trace,
      chain: undefined,
      ask: bell?.ring,
      proven: undefined,
      unsure: [],
      knot: undefined,
      since: waiter.since,
      order: this.#shared.waits,
    }
    this.detector.watch(wait, waiter)
    if (bell !== undefined) return trackAwaiters(promise, bell, wait, scope)
    return exact || waiter.trace === undefined ? promise : noteOwners(promise, scope)
  }

  /** A waiter has got its connection. */
  granted(waiter: Waiter<T>, slot: Slot<T>, now: number): void {
    this.detector.lastSign = now
    const { scope, wait, call } = waiter
    if (scope !== undefined) this.#bind(scope, slot)
    else if (call === 'use') this.#bind(new Scope(this.detector, undefined, true), slot)
    if (wait !== undefined) this.detector.forget(wait)
  }

  /** A waiter has left without. */
  left(waiter: Waiter<T>): void {
    const { scope, wait } = waiter
    scope?.end()
    if (wait !== undefined) this.detector.forget(wait)
  }

  /** A loan has ended. */
  ended(now: number, scope: Scope | undefined): void {
    this.detector.lastSign = now
    if (scope?.owners === undefined) return
    if (this.#looks.level(now) < 1 && scope.goings === undefined) return
    this.#looks.spend(1, now)
    learn(scope, this.#storage.getStore())
  }

  /** `'reuse'`: a further loan of the lease that the caller's line holds already, if there is one. */
  shared(request: number | AcquireOptions | undefined, exact: boolean, from: Entry): Scope | undefined {
    const { around } = this
    if (this.mode !== 'reuse' || around === undefined || isDetached(request)) return undefined
    const asked = new StackTrace(from)
    const within = shareable(around, this.detector, asked)
    if (within === undefined) return undefined
    this.#context.totals.nested += 1
    const child = share(within, around, exact, asked)
    if (!exact) this.#storage.enterWith(child)
    return child
  }

  /** `'forbid'`: why this acquire must not be made. */
  refusal(request: number | AcquireOptions | undefined, from: Entry): PoolError | undefined {
    if (this.mode !== 'forbid' || isDetached(request)) return undefined
    const outer = this.around
    if (outer === undefined) return undefined
    const trace = new StackTrace(from)
    const leases = leasesOf({ scope: outer, trace, chain: undefined }, 'call')
    if (leases.length === 0) return undefined
    this.#context.totals.nested += 1
    const shows = this.#context.sampler.shows
    return nestedAcquire(this.#context.stats(), leases, shows ? trace : undefined)
  }

  /** Which scopes are around a new one, as far as the context knows it, and the stack of this call. */
  #enclose(
    scope: Scope,
    hint: Scope,
    detached: boolean,
    asking: { trace: StackTrace | undefined },
    waits: boolean,
    now: number,
    from: Entry,
  ): void {
    const outer = heldFrom(hint)
    if (outer === undefined) return
    if (!detached) {
      scope.parent = this.#sightings.see(outer, asking, waits, now, from)
      if (!scope.exact) noteGoing(scope, hint, asking.trace)
    } else if (!scope.exact) {
      // Whoever has called this, and finds itself in the scope as well, still holds what it held.
      scope.parent = outer
      scope.isDetached = true
    }
  }

  #bind(scope: Scope, slot: Slot<T>): void {
    scope.begin(slot)
    scope.trace = slot.trace
    slot.scope = scope
  }
}
