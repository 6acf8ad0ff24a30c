import type { PoolEvents } from '../api/events.ts'
import { log } from '../runtime/log/log.ts'
import { isBusy } from '../runtime/sync-hooks.ts'
import { Alarm, type StallListener } from '../runtime/time/alarm.ts'
import { type DeadlockSearch, searchOn } from './deadlock-search.ts'
import type { Connection, Knot, Lease, NestingHost, PoolNode, Wait } from './host.ts'
import { deadlock } from './messages.ts'
import { addPool } from './process-wide.ts'

/** Has the knots found and broken that one pool is part of, and answers the questions of the search. */
export class DeadlockDetector<T> implements PoolNode {
  /** When a connection was last lent or returned, in milliseconds of the pool's clock. */
  lastSign = Number.NEGATIVE_INFINITY
  readonly #host: NestingHost<T>
  readonly #alarm: Alarm
  readonly #search: DeadlockSearch
  readonly #remove: () => void
  /** Waiters from a knot that was broken. They hold connections, and give them back once they are served. */
  #prioritised: Wait[] = []

  constructor(host: NestingHost<T>, onStall: StallListener) {
    this.#host = host
    this.#alarm = new Alarm(host.clock, () => this.#check(), onStall)
    this.#search = searchOn(host.clock)
    this.#remove = addPool(this)
  }

  get name(): string {
    return this.#host.options.name
  }

  get lent(): number {
    return this.#host.slots.counts.lent
  }

  /** Called when an acquire has to wait: from now on there may be a knot. */
  watch(now: number): void {
    if (!this.#alarm.isSet) this.#alarm.set(now + this.#host.options.deadlockGraceMillis)
  }

  /** Called when the pool is closed. */
  stop(): void {
    this.#alarm.clear()
    this.#search.withdraw(this)
    this.#remove()
  }

  /**
   * The waiter that is served before all others. If the victim's connection went to the first waiter in the queue
   * instead, the same knot could form again.
   */
  prioritised(): Wait | undefined {
    let wait = this.#prioritised[0]
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
    if (!this.isStill()) return true
    const { slots, options, rivals } = this.#host
    if (slots.permitsInUse >= options.max) return false
    return rivals?.()?.every(rival => rival.isStill()) !== true
  }

  sharers(): readonly PoolNode[] {
    return this.#host.sharers?.() ?? []
  }

  sharedLimit(): 'budget' | 'maxTotal' {
    return this.#host.options.budget?.stats().isMaxTotal ? 'maxTotal' : 'budget'
  }

  rivals(): readonly PoolNode[] {
    const { slots, options, rivals } = this.#host
    if (this.#host.waiting() === 0) return []
    return (slots.permitsInUse < options.max && rivals?.()) || []
  }

  isStill(): boolean {
    const { connecting, idle, validating, resetting, closing } = this.#host.slots.counts
    return connecting + idle + validating + resetting + closing === 0 && this.hasStood(1)
  }

  hasStood(graces: number, since = Number.NEGATIVE_INFINITY): boolean {
    const { clock, options, stalls } = this.#host
    const from = Math.max(since, this.lastSign)
    // Nothing could move while the event loop was blocked, so stalls do not count.
    return clock.now() - from - stalls.knownSince(from) >= graces * options.deadlockGraceMillis
  }

  leases(): Lease[] {
    const leases: Lease[] = []
    for (const connection of this.#host.slots.all) {
      if (connection.state !== 'lent') continue
      const { frame, loan } = connection
      const isUse = frame?.connection === connection && frame.loan === loan
      leases.push({ connection, pool: this, loan, isPlain: !isUse })
    }
    return leases
  }

  isQuiet(connection: Connection, graces: number): boolean {
    const { factory, clock, options } = this.#host
    if (this.#host.hasTrafficWithin(connection, clock.now(), graces * options.deadlockGraceMillis))
      return false
    return !isBusy(factory, connection.resource as T)
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
    details.pools = [...new Set(knot.flatMap(({ pool }) => [pool, ...pool.rivals()].map(({ name }) => name)))]
    if (sampler.shows) {
      details.heldStacks = (edge?.blocks ?? []).map(({ connection }) => connection.trace?.text ?? '')
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

  #check(): void {
    const { clock, options } = this.#host
    if (this.#host.waiting() === 0) {
      this.#prioritised = []
      this.#search.withdraw(this)
      return
    }
    if (!this.canMove()) this.#search.request(this)
    const next = clock.now() + Math.max(options.deadlockGraceMillis / 2, 1)
    this.#alarm.set(Math.max(next, this.#search.restsUntil))
  }
}
