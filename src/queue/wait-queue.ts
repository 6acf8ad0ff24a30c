import type { Request } from '../api/acquire-request.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { PoolStats } from '../api/stats.ts'
import type { StallListener } from '../runtime/alarm.ts'
import type { Clock } from '../runtime/clock.ts'
import type { LoadShedder } from './load-shedder.ts'
import type { ServiceRate } from './service-rate.ts'
import { MOST_BLIND, PORTION_MILLIS, WaitTimeouts } from './wait-timeouts.ts'
import type { Waiter, WaiterState } from './waiter.ts'
import { PriorityList } from './waiter-lists.ts'

/** Why a waiter left without a connection. */
export type RejectReason = Exclude<WaiterState, 'waiting' | 'granted'>

/** Of those who leave together: when that was, the pool as it was then, and why nothing could be made. */
export interface Snapshot {
  readonly now: number
  readonly stats: PoolStats
  readonly cause: unknown
}

/** Sees out those who leave without a connection. */
export interface QueueListener<T> {
  /** Is it too early to reject one whose time is up, as the event loop stood still meanwhile? */
  defers(waiter: Waiter<T>, now: number): boolean
  /** What those who leave at this moment are told alike. */
  snapshot(now: number): Snapshot
  /** Fails the waiter, which has already left the queue. */
  onRejected(waiter: Waiter<T>, how: RejectReason, snapshot: Snapshot): void
  /** One or more have left. */
  onAnyRejected(): void
}

/**
 * The queue of acquires: by priority, then in order of arrival. Entering, leaving and being served are O(1), also
 * with a hundred thousand waiters; one timer serves all deadlines, one listener serves all waiters of a signal.
 */
export class WaitQueue<T> {
  readonly #lists: PriorityList<T>[]
  readonly #first: PriorityList<T>
  readonly #timeouts: WaitTimeouts<T>
  readonly #bySignal = new Map<AbortSignal, { waiters: Set<Waiter<T>>; onAbort: () => void }>()
  readonly #clock: Clock
  /** Set when all parts of the pool are there, see `assemble`. */
  listener!: QueueListener<T>
  /** Acquires that wait. */
  waiting = 0
  /** Sheds load, and measures the service, where the options ask for it. */
  loadShedder: LoadShedder<T> | undefined
  serviceRate: ServiceRate | undefined

  constructor(
    { priorityRange, acquireTimeoutMillis }: Pick<ResolvedOptions, 'priorityRange' | 'acquireTimeoutMillis'>,
    clock: Clock,
    stalls: StallListener,
  ) {
    this.#lists = Array.from(
      { length: priorityRange },
      (_, priority) => new PriorityList<T>(priority, acquireTimeoutMillis),
    )
    this.#first = this.#lists[0] as PriorityList<T>
    this.#clock = clock
    this.#timeouts = new WaitTimeouts(clock, stalls, {
      defers: (waiter, now) => this.listener.defers(waiter, now),
      expire: (waiter, now) => {
        if (this.#leave(waiter, 'expired'))
          this.listener.onRejected(waiter, 'expired', this.listener.snapshot(now))
      },
      done: () => this.listener.onAnyRejected(),
    })
  }

  get priorities(): number {
    return this.#lists.length
  }

  enqueue(waiter: Waiter<T>, { priority, timeout, signal }: Request): void {
    let line = this.#first
    if (priority !== 0) {
      line = this.#lists[priority] as PriorityList<T>
      waiter.own.line = line
    }
    line.push(waiter)
    this.waiting += 1
    if (this.waiting === 1) this.#occupied(waiter)
    this.#timeouts.add(waiter, line, timeout)
    if (signal !== undefined) this.#listen(waiter, signal)
  }

  /** Takes the next waiter, who is then granted: the caller serves it in the same step. */
  shift(): Waiter<T> | undefined {
    const waiter = this.loadShedder?.takesYoungest === true ? this.#youngest() : this.peek()
    return waiter === undefined ? undefined : this.remove(waiter)
  }

  /** The oldest of the highest priority. */
  peek(): Waiter<T> | undefined {
    if (this.waiting === 0) return undefined
    const { first } = this.#first
    return first ?? this.#lists.find(line => line.first !== undefined)?.first
  }

  #youngest(): Waiter<T> | undefined {
    return this.#lists.find(line => line.last !== undefined)?.last
  }

  /** Who has waited longest, of whatever priority. */
  oldest(): Waiter<T> | undefined {
    let oldest: Waiter<T> | undefined
    for (const line of this.#lists) {
      const waiter = line.first
      if (waiter !== undefined && (oldest === undefined || waiter.since < oldest.since)) oldest = waiter
    }
    return oldest
  }

  /** How many are served before one who comes now with that priority. */
  ahead(priority: number): number {
    let count = 0
    // The youngest goes first, in its line.
    const last = this.loadShedder?.takesYoungest === true ? priority - 1 : priority
    for (let line = 0; line <= last; line += 1) count += this.#lists[line]?.length ?? 0
    return count
  }

  /** Sends those away whom the shedder has chosen. */
  shed(group: readonly Waiter<T>[]): void {
    this.#rejectAll(group, 'shed')
  }

  /** A probe has failed: sends those away who came since the breaker opened. */
  rejectSince(opening: number): void {
    if (this.waiting === 0) return
    const group = this.waiters().filter(waiter => waiter.particulars.breakerOpening === opening)
    if (group.length > 0) this.#rejectAll(group, 'unhealthy')
  }

  /** No connection can be made, and waiting does not help: sends everybody away. */
  rejectUnhealthy(): void {
    if (this.waiting > 0) this.#rejectAll(this.waiters(), 'unhealthy')
  }

  /** Takes one waiter out of its turn, who is then granted. */
  remove(waiter: Waiter<T>): Waiter<T> {
    waiter.state = 'granted'
    this.#unlink(waiter)
    return waiter
  }

  /** Sends a waiter away. @returns false if it had already left */
  reject(waiter: Waiter<T>, how: 'refused' | 'deadlocked' = 'refused'): boolean {
    if (waiter.hasLeft) return false
    this.#rejectAll([waiter], how)
    return true
  }

  /** Sends everybody away, for good: nobody enters any more. */
  close(): void {
    this.#rejectAll(this.waiters(), 'refused')
    this.#timeouts.stop()
    this.loadShedder?.stop()
  }

  /** Everybody who waits, in the order in which they will be served. */
  waiters(): Waiter<T>[] {
    return this.#lists.flatMap(line => [...line])
  }

  /** Those who wait, by priority, each line in order of arrival. */
  get lists(): readonly Iterable<Waiter<T>>[] {
    return this.#lists
  }

  #rejectAll(group: readonly Waiter<T>[], how: RejectReason): void {
    const left = group.filter(each => this.#leave(each, how))
    // A closing pool does not settle before everybody has heard of it.
    const millis = how === 'refused' ? Number.POSITIVE_INFINITY : PORTION_MILLIS
    this.#notify(left, how, this.listener.snapshot(this.#clock.now()), millis, 0)
    this.listener.onAnyRejected()
  }

  /** Tells those who have left. Of a large group each hears in a turn of the loop that has not been held up for long. */
  #notify(
    left: readonly Waiter<T>[],
    how: RejectReason,
    snapshot: Snapshot,
    millis: number,
    from: number,
  ): void {
    const end = this.#clock.now() + millis
    let at = from
    do {
      const portion = left.slice(at, at + MOST_BLIND)
      for (const each of portion) this.listener.onRejected(each, how, snapshot)
      at += portion.length
    } while (at < left.length && this.#clock.now() <= end)
    if (at < left.length) this.#clock.turn(() => this.#notify(left, how, snapshot, millis, at))
  }

  /** @returns false if the waiter had already left */
  #leave(waiter: Waiter<T>, how: RejectReason): boolean {
    if (waiter.hasLeft) return false
    waiter.state = how
    this.#unlink(waiter)
    return true
  }

  /** Somebody joins an empty queue. */
  #occupied(first: Waiter<T>): void {
    this.loadShedder?.queueStarted(first.since)
    this.#timeouts.hold(true)
  }

  #unlink(waiter: Waiter<T>): void {
    const { line = this.#first, lane, signal } = waiter.particulars
    line.remove(waiter)
    this.waiting -= 1
    if (this.waiting === 0) this.#timeouts.hold(false)
    if (lane !== undefined) this.#timeouts.leave(lane, waiter)
    if (signal === undefined) return
    const group = this.#bySignal.get(signal)
    if (group?.waiters.delete(waiter) && group.waiters.size === 0) {
      signal.removeEventListener('abort', group.onAbort)
      this.#bySignal.delete(signal)
    }
  }

  /** One listener a signal: adding one costs a walk over those already there. */
  #listen(waiter: Waiter<T>, signal: AbortSignal): void {
    const group = this.#bySignal.get(signal)
    if (group !== undefined) {
      group.waiters.add(waiter)
      return
    }
    const waiters = new Set([waiter])
    const onAbort = (): void => this.#rejectAll([...waiters], 'aborted')
    this.#bySignal.set(signal, { waiters, onAbort })
    signal.addEventListener('abort', onAbort)
  }
}
