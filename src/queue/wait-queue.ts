import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { PoolStats } from '../api/stats.ts'
import { onAbort } from '../runtime/abort.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { Deadlines, PORTION_CHECK, PORTION_MILLIS } from '../runtime/time/deadlines.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import { DefaultWaits } from './default-waits.ts'
import type { LoadShedder } from './load-shedder.ts'
import { PriorityList } from './priority-list.ts'
import type { ServiceRate } from './service-rate.ts'
import type { Waiter, WaiterState } from './waiter.ts'

/** How many acquires go to another pool in one turn of the loop: the first of them are to connect there meanwhile. */
const WITHDRAWN_PER_TURN = 64

/** Why a waiter left without a connection. */
export type RejectReason = Exclude<WaiterState, 'waiting' | 'granted'>

/**
 * What waiters that leave at the same time have in common: the time, the pool's stats at that time, and why no
 * connection could be made.
 */
export interface Snapshot {
  readonly now: number
  readonly stats: PoolStats
  readonly cause: unknown
}

/** Rejects the waiters that leave without a connection. */
export interface QueueListener<T> {
  /** The data for the errors of all waiters that leave at this moment. */
  snapshot(now: number): Snapshot
  /** Rejects one waiter, which has already left the queue. */
  onRejected(waiter: Waiter<T>, how: RejectReason, snapshot: Snapshot): void
  /** Called after one or more waiters have left. */
  onAnyRejected(): void
}

/**
 * The queue of acquires: by priority, then in order of arrival. Entering, leaving and being served are O(1), even with
 * a hundred thousand waiters. One timer serves all deadlines, and one listener serves all waiters of a signal.
 */
export class WaitQueue<T> {
  readonly #lists: PriorityList<T>[]
  readonly #first: PriorityList<T>
  readonly #deadlines: Deadlines<Waiter<T>>
  readonly #defaults: DefaultWaits<T>
  readonly #bySignal = new Map<AbortSignal, { waiters: Set<Waiter<T>>; stop: () => void }>()
  readonly #clock: Clock
  /** Set when all parts of the pool exist, see `assemble`. */
  listener!: QueueListener<T>
  /** How many acquires wait. */
  waiting = 0
  /** These shed load and measure the service rate, where the options ask for it. */
  loadShedder: LoadShedder<T> | undefined
  serviceRate: ServiceRate | undefined

  /** @param hasExactTimes - whether the times at which waits begin are exact, see `DefaultWaits` */
  constructor(
    { priorityRange, acquireTimeoutMillis }: Pick<ResolvedOptions, 'priorityRange' | 'acquireTimeoutMillis'>,
    clock: Clock,
    stalls: Stalls,
    hasExactTimes: boolean,
  ) {
    this.#lists = Array.from({ length: priorityRange }, () => new PriorityList<T>())
    this.#first = this.#lists[0] as PriorityList<T>
    this.#clock = clock
    this.#defaults = new DefaultWaits(acquireTimeoutMillis, clock, hasExactTimes)
    this.#deadlines = new Deadlines<Waiter<T>>(clock, stalls, {
      expire: (waiter, now) => {
        this.#leave(waiter, 'expired')
        this.listener.onRejected(waiter, 'expired', this.listener.snapshot(now))
      },
      done: () => this.listener.onAnyRejected(),
      firstInOrder: () => this.#defaults.first,
      takeInOrder: () => this.#takeInOrder(this.#defaults.first as Waiter<T>),
    })
  }

  enqueue(waiter: Waiter<T>): void {
    this.#listOf(waiter).push(waiter)
    this.waiting += 1
    if (this.waiting === 1) this.#occupied(waiter)
    if (this.#defaults.keeps(waiter)) {
      waiter.isInOrder = true
      if (this.#defaults.add(waiter)) this.#deadlines.first(waiter)
    } else this.#deadlines.add(waiter)
    if (waiter.signal !== undefined) this.#listen(waiter, waiter.signal)
  }

  /** Removes the next waiter and marks it as granted. The caller has to serve it in the same step. */
  shift(): Waiter<T> | undefined {
    const waiter = this.loadShedder?.takesYoungest === true ? this.#youngest() : this.peek()
    return waiter === undefined ? undefined : this.remove(waiter)
  }

  /** The oldest waiter of the highest priority. */
  peek(): Waiter<T> | undefined {
    if (this.waiting === 0) return undefined
    const { first } = this.#first
    return first ?? this.#lists.find(list => list.first !== undefined)?.first
  }

  #youngest(): Waiter<T> | undefined {
    return this.#lists.find(list => list.last !== undefined)?.last
  }

  /** The waiter that has waited longest, of any priority. */
  oldest(): Waiter<T> | undefined {
    let oldest: Waiter<T> | undefined
    for (const list of this.#lists) {
      const waiter = list.first
      if (waiter !== undefined && (oldest === undefined || waiter.since < oldest.since)) oldest = waiter
    }
    return oldest
  }

  /** How many waiters are served before a new one of this priority. */
  ahead(priority: number): number {
    let count = 0
    // When the youngest go first, waiters of the same priority are not ahead.
    const last = this.loadShedder?.takesYoungest === true ? priority - 1 : priority
    for (let list = 0; list <= last; list += 1) count += this.#lists[list]?.length ?? 0
    return count
  }

  /** Rejects the waiters that the load shedder has chosen. */
  shed(group: readonly Waiter<T>[]): void {
    this.#rejectAll(group, 'shed')
  }

  /** Called when a probe has failed: rejects the waiters that came since this opening of the breaker. */
  rejectSince(opening: number): void {
    if (this.waiting === 0) return
    const group = this.waiters().filter(waiter => waiter.breakerOpening === opening)
    if (group.length > 0) this.#rejectAll(group, 'unhealthy')
  }

  /** Rejects all waiters, because no connection can be made and waiting does not help. */
  rejectUnhealthy(): void {
    if (this.waiting > 0) this.#rejectAll(this.waiters(), 'unhealthy')
  }

  /** Removes one waiter out of turn and marks it as granted. */
  remove(waiter: Waiter<T>): Waiter<T> {
    this.#move(waiter, 'granted')
    return waiter
  }

  /**
   * Rejects one waiter.
   * @returns false if it had already left
   */
  reject(waiter: Waiter<T>, how: 'refused' | 'deadlocked' = 'refused'): boolean {
    if (waiter.hasEnded) return false
    this.#rejectAll([waiter], how)
    return true
  }

  /**
   * Rejects the waiters that have one of these signals, none of which has been aborted, with this error. Few in one turn:
   * each has work to do then.
   */
  withdraw(signals: ReadonlySet<AbortSignal>, error: Error): void {
    if (signals.size === 0) return
    const group = this.waiters().filter(({ signal }) => signal !== undefined && signals.has(signal))
    for (const waiter of group) waiter.ownError = error
    if (group.length > 0) this.#rejectAll(group, 'aborted', WITHDRAWN_PER_TURN)
  }

  /** Rejects all waiters and stops the timers. No waiter may be added after that. */
  close(): void {
    this.#rejectAll(this.waiters(), 'refused')
    this.#deadlines.stop()
    this.loadShedder?.stop()
  }

  /**
   * The waiters, in the order in which they will be served.
   * @param most - no more than this many of the first ones
   */
  waiters(most = Number.POSITIVE_INFINITY): Waiter<T>[] {
    if (this.waiting <= most) return this.#lists.flatMap(list => [...list])
    const first: Waiter<T>[] = []
    for (const list of this.#lists) {
      for (const waiter of list) {
        if (first.length >= most) return first
        first.push(waiter)
      }
    }
    return first
  }

  /** The waiters by priority, each list in order of arrival. */
  get lists(): readonly Iterable<Waiter<T>>[] {
    return this.#lists
  }

  /** @param perTurn - how many are told in one turn; default: as many as `PORTION_MILLIS` are enough for */
  #rejectAll(group: readonly Waiter<T>[], how: RejectReason, perTurn?: number): void {
    for (const each of group) this.#leave(each, how)
    // `close` must not settle before all waiters have been rejected.
    const millis = how === 'refused' ? Number.POSITIVE_INFINITY : perTurn === undefined ? PORTION_MILLIS : -1
    const portion = { perCheck: perTurn ?? PORTION_CHECK, millis }
    this.#notify(group, how, this.listener.snapshot(this.#clock.now()), portion, 0)
    this.listener.onAnyRejected()
  }

  /** Rejects waiters that have left the queue, in portions, so that a large group does not block the event loop. */
  #notify(
    left: readonly Waiter<T>[],
    how: RejectReason,
    snapshot: Snapshot,
    portion: { readonly perCheck: number; readonly millis: number },
    from: number,
  ): void {
    const end = this.#clock.now() + portion.millis
    let at = from
    do {
      const next = left.slice(at, at + portion.perCheck)
      for (const each of next) this.listener.onRejected(each, how, snapshot)
      at += next.length
    } while (at < left.length && this.#clock.now() <= end)
    if (at < left.length) this.#clock.turn(() => this.#notify(left, how, snapshot, portion, at))
  }

  /** A waiter, which still waits, leaves without a connection. */
  #leave(waiter: Waiter<T>, how: RejectReason): void {
    this.#move(waiter, how)
    if (this.waiting === 0) this.serviceRate?.emptied()
  }

  /** Called when the first waiter joins an empty queue. */
  #occupied(first: Waiter<T>): void {
    this.loadShedder?.queueStarted(first.since)
    this.#deadlines.hold(true)
  }

  #listOf({ priority }: Waiter<T>): PriorityList<T> {
    return priority === 0 ? this.#first : (this.#lists[priority] as PriorityList<T>)
  }

  /** The one place where the state of a waiter moves: from `waiting` to its end, which takes it from the queue. */
  #move(waiter: Waiter<T>, to: Exclude<WaiterState, 'waiting'>): void {
    const { signal } = waiter
    waiter.state = to
    if (waiter.isInOrder) this.#defaults.remove(waiter)
    else this.#deadlines.ended()
    this.#listOf(waiter).remove(waiter)
    this.waiting -= 1
    if (this.waiting === 0) this.#deadlines.hold(false)
    if (signal === undefined) return
    const group = this.#bySignal.get(signal)
    if (group?.waiters.delete(waiter) && group.waiters.size === 0) {
      group.stop()
      this.#bySignal.delete(signal)
    }
  }

  #takeInOrder(waiter: Waiter<T>): void {
    this.#defaults.remove(waiter)
    waiter.isInOrder = false
  }

  /** Adds one listener per signal, because adding a listener takes time proportional to those already there. */
  #listen(waiter: Waiter<T>, signal: AbortSignal): void {
    const group = this.#bySignal.get(signal)
    if (group !== undefined) {
      group.waiters.add(waiter)
      return
    }
    const waiters = new Set([waiter])
    const stop = onAbort(signal, () => this.#rejectAll([...waiters], 'aborted'))
    this.#bySignal.set(signal, { waiters, stop })
  }
}
