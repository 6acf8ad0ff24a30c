import type { PoolEvents } from '../api/events.ts'
import { log } from '../runtime/log/log.ts'
import { Alarm, type StallListener } from '../runtime/time/alarm.ts'
import { DeadlockSearch, youngestOf } from './deadlock-search.ts'
import type { Held, Knot, Lease, NestingHost, PoolNode, Wait } from './host.ts'
import { deadlock } from './messages.ts'
import { addPool } from './process-wide.ts'

/** Finds the knots of which one pool is part, and breaks them; answers what those of other pools ask of it. */
export class DeadlockDetector<T> implements PoolNode {
  /** When a connection last came or went, in milliseconds of the pool's clock. */
  lastSign = Number.NEGATIVE_INFINITY
  readonly #host: NestingHost<T>
  readonly #alarm: Alarm
  readonly #search: DeadlockSearch
  /** Those who stood in a knot that has been broken: they hold connections, and give them back once they are served. */
  #prioritised: Wait[] = []

  constructor(host: NestingHost<T>, onStall: StallListener) {
    this.#host = host
    this.#alarm = new Alarm(host.clock, () => this.#look(), onStall)
    this.#search = new DeadlockSearch(this, host.clock, knot => this.#break(knot))
    addPool(this)
  }

  get name(): string {
    return this.#host.options.name
  }

  get lent(): number {
    return this.#host.slots.counts.lent
  }

  /** Somebody has to wait: from now on there may be a knot. */
  watch(now: number): void {
    if (!this.#alarm.isSet) this.#alarm.set(now + this.#host.options.deadlockGraceMillis)
  }

  /** The pool is closed. */
  stop(): void {
    this.#alarm.clear()
  }

  /**
   * Who is served before all others: if the connection that the victim gives back went to the first in the queue, that
   * would tie the knot again.
   */
  prioritised(): Wait | undefined {
    let [wait] = this.#prioritised
    while (wait?.hasEnded) {
      this.#prioritised.shift()
      wait = this.#prioritised[0]
    }
    return wait
  }

  prioritise(waits: readonly Wait[]): void {
    this.#prioritised = [...waits]
  }

  canMove(): boolean {
    const { slots, options } = this.#host
    const { connecting, idle, validating, resetting, closing } = slots.counts
    const isUnderWay = connecting + idle + validating + resetting + closing > 0
    return isUnderWay || slots.permitsInUse < options.max || !this.hasStood(1)
  }

  hasStood(graces: number, since = Number.NEGATIVE_INFINITY): boolean {
    const { clock, options, stalls } = this.#host
    const from = Math.max(since, this.lastSign)
    // While the event loop stood still nothing could have moved.
    return clock.now() - from - stalls.noted(from) >= graces * options.deadlockGraceMillis
  }

  leases(): Held[] {
    const held: Held[] = []
    for (const lease of this.#host.slots.all) {
      if (lease.state !== 'lent') continue
      const { frame, loan } = lease
      const isPlain = frame === undefined || frame.users === 0 || frame.loan !== loan
      held.push({ lease, pool: this, loan, isPlain })
    }
    return held
  }

  isQuiet(lease: Lease, graces: number): boolean {
    const { factory, clock, options } = this.#host
    if (this.#host.hasTrafficWithin(lease, clock.now(), graces * options.deadlockGraceMillis)) return false
    try {
      return factory.busy?.(lease.resource as T) !== true
    } catch {
      // It cannot tell: no proof that the holder does nothing.
      return false
    }
  }

  waits(): Wait[] {
    return [...this.#host.waits()].filter(({ detached }) => !detached)
  }

  isBound(wait: Wait): boolean {
    const { clock, options } = this.#host
    return !wait.hasEnded && wait.deadline - clock.now() > options.deadlockGraceMillis
  }

  isDue(wait: Wait): boolean {
    return this.isBound(wait) && this.hasStood(1, wait.since)
  }

  reject(wait: Wait, knot: Knot): boolean {
    const { clock, events, totals, sampler, stats } = this.#host
    const now = clock.now()
    const waitedMillis = now - wait.since
    const edge = knot.find(({ waiter }) => waiter === wait)
    const details = { heldStacks: [] as string[], waitStack: '', pools: [] as string[], waitedMillis }
    details.pools = [...new Set(knot.map(({ pool }) => pool.name))]
    if (sampler.shows) {
      details.heldStacks = (edge?.blocks ?? []).map(({ lease }) => lease.trace?.text ?? '')
      details.waitStack = (wait.trace ?? wait.awaiters?.chain)?.text ?? ''
    }
    const error = deadlock(stats(), edge?.blocks ?? [], knot, details)
    if (!this.#host.reject(wait, error)) return false
    this.lastSign = now
    totals.deadlocks += 1
    if (log.pool.enabled) log.pool('%s', error.message)
    events.announce('deadlock', { pool: this.name, ...details, error } as PoolEvents<T>['deadlock'][0])
    return true
  }

  #look(): void {
    const { clock, options } = this.#host
    if (this.#host.waiting() === 0) {
      this.#prioritised = []
      return
    }
    if (!this.canMove()) this.#search.begin()
    const next = clock.now() + Math.max(options.deadlockGraceMillis / 2, 1)
    this.#alarm.set(Math.max(next, this.#search.restsUntil))
  }

  #break(knot: Knot): void {
    const victim = youngestOf(knot)
    if (victim?.pool.reject(victim.waiter, knot) !== true) return
    const pools = new Set(knot.map(({ pool }) => pool))
    for (const each of pools) {
      each.prioritise(knot.filter(({ pool }) => pool === each).map(({ waiter }) => waiter))
    }
  }
}
