import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import { Alarm, type StallListener } from '../runtime/alarm.ts'
import { log } from '../runtime/log.ts'
import { DetectionRun } from './detection-run.ts'
import { leasesOf } from './holders.ts'
import type { NestingHost } from './host.ts'
import { circle, deadlock } from './messages.ts'
import {
  type Knot,
  knotOf,
  type PoolNode,
  type Scope,
  shared,
  type WaitEdge,
  type WaitGroup,
} from './scope.ts'

/** Finds the knots of which one pool is part, and breaks them; answers what those of other pools ask of it. */
export class DeadlockDetector<T> implements PoolNode {
  readonly #context: NestingHost<T>
  readonly #alarm: Alarm
  /** Acquires of this pool that wait inside a lease. */
  readonly #waiters = new Map<WaitEdge, Waiter<T>>()
  /** Where they are searched for whoever was in a knot that has been broken, and goes first. */
  #freed: IterableIterator<[WaitEdge, Waiter<T>]> | undefined
  /** The last wait that may be one of them, by its order. */
  #lastFreed = 0
  /** When a connection last came or went, in milliseconds of the pool's clock. */
  lastSign = Number.NEGATIVE_INFINITY
  readonly #examination: DetectionRun

  constructor(context: NestingHost<T>, onStall: StallListener) {
    this.#context = context
    this.#alarm = new Alarm(context.clock, () => this.#ring(), onStall)
    this.#examination = new DetectionRun(this, context.clock, {
      hasWaiters: () => this.#waiters.size > 0,
      lookAgain: () => this.#alarm.set(context.clock.now()),
      break: knot => this.#break(knot),
    })
  }

  get name(): string {
    return this.#context.options.name
  }

  get lent(): number {
    return this.#context.slots.counts.lent
  }

  /** Those who wait for this pool inside a scope. */
  cohortOf(scope: Scope): WaitGroup {
    scope.asking ??= new Map()
    const known = scope.asking.get(this)
    if (known !== undefined) return known
    const leases = leasesOf({ scope, trace: undefined, chain: undefined }, 'hints')
    const cohort: WaitGroup = {
      member: this,
      scope,
      leases,
      waits: new Set(),
      askable: new Set(),
      answered: new Set(),
      knot: undefined,
      look: undefined,
      inquest: undefined,
    }
    scope.asking.set(this, cohort)
    for (const lease of leases) {
      lease.cohorts ??= new Set()
      lease.cohorts.add(cohort)
      // Traffic from here on will show.
      if (lease.slot !== undefined) lease.member?.hasTalked(lease.slot)
    }
    return cohort
  }

  /** An acquire waits inside leases: from now on there may be a knot. */
  watch(wait: WaitEdge, waiter: Waiter<T>): void {
    waiter.wait = wait
    this.#waiters.set(wait, waiter)
    wait.cohort.waits.add(wait)
    if (wait.ask !== undefined) wait.cohort.askable.add(wait)
    this.#alarm.set(wait.since + this.#context.options.deadlockGraceMillis)
  }

  /** The pool is closed: nobody waits for it any more. */
  stop(): void {
    this.#alarm.clear()
  }

  /** It waits no more. */
  forget(wait: WaitEdge): void {
    this.#waiters.delete(wait)
    const { waits, askable, answered, leases, scope, member } = wait.cohort
    waits.delete(wait)
    askable.delete(wait)
    answered.delete(wait)
    if (waits.size === 0) {
      scope.asking?.delete(member)
      for (const lease of leases) lease.cohorts?.delete(wait.cohort)
    }
    // All of them have gone: in a pool where nobody waits any more, nobody would ever take them from the list.
    if (this.#waiters.size === 0) this.#freed = undefined
  }

  /**
   * Who is served before all others. A knot has been broken: whoever stood in it holds connections, and gives them
   * back once it is served. If the freed connection went to the first in the queue, that would tie the knot again.
   */
  prioritised(): Waiter<T> | undefined {
    if (this.#freed === undefined) return undefined
    for (let next = this.#freed.next(); !next.done; next = this.#freed.next()) {
      const [wait, waiter] = next.value
      if (wait.order > this.#lastFreed) break
      // Of a crowd that has been aborted some have not been told yet.
      if (!waiter.hasEnded && knotOf(wait) !== undefined) return waiter
    }
    this.#freed = undefined
    return undefined
  }

  youngest(knot: Knot): WaitEdge | undefined {
    return [...this.#waiters.keys()].findLast(wait => knotOf(wait) === knot && this.isRipe(wait))
  }

  goFirst(): void {
    this.#freed = this.#waiters.entries()
    this.#lastFreed = shared().waits
  }

  canMove(): boolean {
    const { slots, options, clock } = this.#context
    const { connecting, idle, validating, resetting, closing } = slots.counts
    return (
      connecting + idle + validating + resetting + closing > 0 ||
      slots.permitsInUse < options.max ||
      this.#standing(this.lastSign, clock.now()) < options.deadlockGraceMillis
    )
  }

  *leases(): Generator<Scope> {
    for (const slot of this.#context.slots.all) if (slot.scope !== undefined) yield slot.scope
  }

  isStuck(): boolean {
    for (const slot of this.#context.slots.all) {
      if (slot.state === 'lent' && (slot.scope?.cohorts?.size ?? 0) === 0) return false
    }
    return true
  }

  hasTalked(slot: object): boolean {
    const { clock, options } = this.#context
    const { socket, traffic, lentAt } = slot as Slot<T>
    if (socket === undefined) return false
    const now = clock.now()
    // A socket that does not tell may be at work.
    if (!traffic.count(socket, now, lentAt)) return true
    return now - Math.max(traffic.lastSeenAt, lentAt) < options.deadlockGraceMillis
  }

  isBusy(slot: object): boolean {
    const { factory } = this.#context
    try {
      if (this.hasTalked(slot)) return true
      const busy = factory.busy?.((slot as Slot<T>).resource as T)
      return busy === true || (typeof busy === 'string' && busy !== '')
    } catch {
      // It cannot tell: no proof that the holder does nothing.
      return true
    }
  }

  isRipe(wait: WaitEdge): boolean {
    const now = this.#context.clock.now()
    return this.#isOld(wait, now) && !this.#isEnding(wait, now)
  }

  hasRipe(waits: Iterable<WaitEdge>): boolean {
    const now = this.#context.clock.now()
    for (const wait of waits) {
      if (!this.#isOld(wait, now)) return false
      if (!this.#isEnding(wait, now)) return true
    }
    return false
  }

  hasStood(wait: WaitEdge, graces: number): boolean {
    const { clock, options } = this.#context
    const from = Math.max(wait.since, this.lastSign)
    const half = (this.#deadline(wait) - from) / 2
    return this.#standing(from, clock.now()) >= Math.min(graces * options.deadlockGraceMillis, half)
  }

  reject(wait: WaitEdge, knot: Knot): boolean {
    const { clock, events, totals, sampler } = this.#context
    const waiter = this.#waiters.get(wait)
    if (waiter === undefined) return false
    const now = clock.now()
    const own =
      knot.find(({ waiter: each }) => each === wait) ?? knot.find(each => each.waiter === wait.cohort)
    const leases = own?.blocks ?? []
    const heldStacks = sampler.shows ? leases.map(lease => lease.trace?.text ?? '') : []
    const waitStack = sampler.shows ? (wait.trace?.text ?? '') : ''
    const pools = [...new Set(knot.map(({ pool }) => pool.name))]
    const drawing = circle(knot, this)
    const waitedMillis = now - wait.since
    const details = { heldStacks, waitStack, pools, waitedMillis }
    const error = deadlock(this.#context.stats(), leases, drawing, details)
    waiter.ownError = error
    if (!this.#context.reject(waiter)) return false
    this.lastSign = now
    totals.deadlocks += 1
    if (log.pool.enabled) log.pool('%s', error.message)
    events.announce('deadlock', { pool: this.name, pools, waitedMillis, heldStacks, waitStack, error })
    return true
  }

  /** For how long something could have moved since then: not while the event loop stood still. */
  #standing(since: number, now: number): number {
    return now - since - this.#context.stalls.noted(since)
  }

  #isOld(wait: WaitEdge, now: number): boolean {
    return this.#standing(wait.since, now) >= this.#context.options.deadlockGraceMillis
  }

  #isEnding(wait: WaitEdge, now: number): boolean {
    return this.#deadline(wait) - now <= this.#context.options.deadlockGraceMillis
  }

  /** When it ends by itself, if it has not left already; of a crowd that was aborted some have not been told yet. */
  #deadline(wait: WaitEdge): number {
    const waiter = this.#waiters.get(wait)
    if (waiter === undefined || waiter.hasEnded) return wait.since
    return waiter.deadline
  }

  #ring(): void {
    if (this.#waiters.size === 0) return
    const { clock, options } = this.#context
    if (!this.canMove()) this.#examination.begin()
    const next = clock.now() + Math.max(options.deadlockGraceMillis / 2, 1)
    this.#alarm.set(Math.max(next, this.#examination.restsUntil))
  }

  #break(knot: Knot): void {
    for (const { waiter } of knot) waiter.knot = knot
    const members = [...new Set(knot.map(({ pool }) => pool))]
    // Whom it costs least: the one that has waited the shortest.
    const [victim] = members.flatMap(member => member.youngest(knot) ?? []).sort((a, b) => b.order - a.order)
    if (victim?.member.reject(victim, knot)) for (const member of members) member.goFirst()
  }
}
