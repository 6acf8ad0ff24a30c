import { Alarm, type Lateness } from '../clock.ts'
import { log } from '../log.ts'
import type { Slot } from '../slot.ts'
import type { Waiter } from '../waiter.ts'
import { leasesOf } from './holders.ts'
import type { NestedHouse } from './nested.ts'
import { circle, deadlock } from './nested-words.ts'
import type { Member, Scope, Wait } from './scope.ts'
import { prepare, provenKnots, suspects, youngest } from './watch.ts'

/** The share of time that the verdict may take: one in so many. */
const VERDICT_SHARE = 20

/** Finds the knots of which one pool is part, and breaks them; answers what those of other pools ask of it. */
export class Judge<T> implements Member {
  /** Acquires of this pool that wait inside a lease. */
  readonly #waits = new Set<Wait>()
  readonly #house: NestedHouse<T>
  readonly #alarm: Alarm
  readonly #waiters = new Map<Wait, Waiter<T>>()
  /** Who was in a knot that has been broken, and goes first. */
  #freed: Waiter<T>[] = []
  /** When a connection last came or went, in milliseconds of the pool's clock. */
  lastSign = Number.NEGATIVE_INFINITY
  #examining = false

  constructor(house: NestedHouse<T>, onStall: Lateness) {
    this.#house = house
    this.#alarm = new Alarm(house.clock, () => this.#ring(), onStall)
  }

  get name(): string {
    return this.#house.options.name
  }

  get lent(): number {
    return this.#house.roster.census.lent
  }

  /** An acquire waits inside leases: from now on there may be a knot. */
  watch(wait: Wait, waiter: Waiter<T>): void {
    const { clock, options } = this.#house
    waiter.own.wait = wait
    this.#waiters.set(wait, waiter)
    this.#waits.add(wait)
    for (const lease of wait.leases) {
      lease.waits ??= new Set()
      lease.waits.add(wait)
    }
    this.#alarm.set(clock.now() + options.deadlockGraceMillis)
  }

  /** It waits no more. */
  forget(wait: Wait): void {
    this.#waits.delete(wait)
    this.#waiters.delete(wait)
    for (const lease of wait.leases) lease.waits?.delete(wait)
    // All of them have gone: in a pool where nobody waits any more, nobody would ever take them from the list.
    if (this.#waits.size === 0 && this.#freed.length > 0) this.#freed = []
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

  canMove(): boolean {
    const { roster, options, clock } = this.#house
    const { connecting, idle, validating, resetting, closing } = roster.census
    return (
      connecting + idle + validating + resetting + closing > 0 ||
      roster.held < options.max ||
      clock.now() - this.lastSign < options.deadlockGraceMillis
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
    if (now - wait.since < grace) return false
    const waiter = this.#waiters.get(wait)
    return waiter !== undefined && waiter.deadline(options.acquireTimeoutMillis) - now > grace
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
    waiter.own.sentence = error
    if (!this.#house.reject(waiter)) return false
    this.lastSign = now
    totals.deadlocks += 1
    if (log.pool.enabled) log.pool('%s', error.message)
    events.announce('deadlock', { pool: this.name, pools, waitedMillis, heldStacks, waitStack, error })
    return true
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
