import type { PoolStats } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { Clock, Lateness } from '../runtime/clock.ts'
import type { Shedder } from './load-shedder.ts'
import type { ServiceRate } from './service-rate.ts'
import { Expiry, MOST_BLIND, PORTION_MILLIS } from './wait-timeouts.ts'
import type { Request, Waiter, WaiterState } from './waiter.ts'
import { Line } from './waiter-lists.ts'

/** Why a waiter left without a connection. */
export type Departure = Exclude<WaiterState, 'waiting' | 'granted'>

/** Of those who leave together: when that was, the pool as it was then, and why nothing could be made. */
export interface Crowd {
  readonly now: number
  readonly stats: PoolStats
  readonly cause: unknown
}

/** Sees out those who leave without a connection. */
export interface Doorman<T> {
  /** What those who leave at this moment are told alike. */
  crowd(now: number): Crowd
  /** Fails the waiter, which has already left the queue. */
  onDeparture(waiter: Waiter<T>, how: Departure, crowd: Crowd): void
  /** One or more have left. */
  onDepartures(): void
}

/**
 * The queue of acquires: by priority, then in order of arrival. Entering, leaving and being served are O(1), also
 * with a hundred thousand waiters; one timer serves all deadlines, one listener serves all waiters of a signal.
 */
export class Gate<T> {
  readonly #lines: Line<T>[]
  readonly #first: Line<T>
  readonly #expiry: Expiry<T>
  readonly #bySignal = new Map<AbortSignal, { waiters: Set<Waiter<T>>; onAbort: () => void }>()
  readonly #clock: Clock
  readonly #doorman: Doorman<T>
  /** Acquires that wait. */
  waiting = 0
  /** Sheds load, and measures the service, where the options ask for it. */
  shedder: Shedder<T> | undefined
  rate: ServiceRate | undefined

  /** @param mercy - is it too early to judge one whose time is up, as the event loop stood still meanwhile? */
  constructor(
    { priorityRange, acquireTimeoutMillis }: Pick<ResolvedOptions, 'priorityRange' | 'acquireTimeoutMillis'>,
    clock: Clock,
    onStall: Lateness,
    mercy: (waiter: Waiter<T>, now: number) => boolean,
    doorman: Doorman<T>,
  ) {
    this.#lines = Array.from(
      { length: priorityRange },
      (_, priority) => new Line<T>(priority, acquireTimeoutMillis),
    )
    this.#first = this.#lines[0] as Line<T>
    this.#clock = clock
    this.#doorman = doorman
    this.#expiry = new Expiry(clock, onStall, mercy, {
      expire: (waiter, now) => {
        if (this.#leave(waiter, 'expired')) doorman.onDeparture(waiter, 'expired', doorman.crowd(now))
      },
      done: () => doorman.onDepartures(),
    })
  }

  get priorities(): number {
    return this.#lines.length
  }

  enqueue(waiter: Waiter<T>, { priority, timeout, signal }: Request): void {
    let line = this.#first
    if (priority !== 0) {
      line = this.#lines[priority] as Line<T>
      waiter.own.line = line
    }
    line.push(waiter)
    this.waiting += 1
    if (this.waiting === 1) this.#occupied(waiter)
    this.#expiry.add(waiter, line, timeout)
    if (signal !== undefined) this.#listen(waiter, signal)
  }

  /** Takes the next waiter, who is then granted: the caller serves it in the same step. */
  take(): Waiter<T> | undefined {
    const waiter = this.shedder?.takesYoungest === true ? this.#youngest() : this.peek()
    return waiter === undefined ? undefined : this.takeThis(waiter)
  }

  /** The oldest of the highest priority. */
  peek(): Waiter<T> | undefined {
    if (this.waiting === 0) return undefined
    const { first } = this.#first
    return first ?? this.#lines.find(line => line.first !== undefined)?.first
  }

  #youngest(): Waiter<T> | undefined {
    return this.#lines.find(line => line.last !== undefined)?.last
  }

  /** Who has waited longest, of whatever priority. */
  oldest(): Waiter<T> | undefined {
    let oldest: Waiter<T> | undefined
    for (const line of this.#lines) {
      const waiter = line.first
      if (waiter !== undefined && (oldest === undefined || waiter.since < oldest.since)) oldest = waiter
    }
    return oldest
  }

  /** How many are served before one who comes now with that priority. */
  ahead(priority: number): number {
    let count = 0
    // The youngest goes first, in its line.
    const last = this.shedder?.takesYoungest === true ? priority - 1 : priority
    for (let line = 0; line <= last; line += 1) count += this.#lines[line]?.length ?? 0
    return count
  }

  /** Sends those away whom the shedder has chosen. */
  shed(crowd: readonly Waiter<T>[]): void {
    this.#depart(crowd, 'shed')
  }

  /** A probe has failed: sends those away who came since the breaker opened. */
  disappoint(opening: number): void {
    if (this.waiting === 0) return
    const crowd = this.waiters().filter(waiter => waiter.particulars.opening === opening)
    if (crowd.length > 0) this.#depart(crowd, 'unhealthy')
  }

  /** Takes one waiter out of its turn, who is then granted. */
  takeThis(waiter: Waiter<T>): Waiter<T> {
    waiter.state = 'granted'
    this.#remove(waiter)
    return waiter
  }

  /** Sends a waiter away. @returns false if it had already left */
  refuse(waiter: Waiter<T>, how: 'refused' | 'deadlocked' = 'refused'): boolean {
    if (waiter.gone) return false
    this.#depart([waiter], how)
    return true
  }

  /** Sends everybody away, for good: nobody enters any more. */
  close(): void {
    this.#depart(this.waiters(), 'refused')
    this.#expiry.stop()
    this.shedder?.stop()
  }

  /** Everybody who waits, in the order in which they will be served. */
  waiters(): Waiter<T>[] {
    return this.#lines.flatMap(line => [...line])
  }

  /** Those who wait, by priority, each line in order of arrival. */
  get lines(): readonly Iterable<Waiter<T>>[] {
    return this.#lines
  }

  #depart(crowd: readonly Waiter<T>[], how: Departure): void {
    const left = crowd.filter(each => this.#leave(each, how))
    // A closing pool does not settle before everybody has heard of it.
    const millis = how === 'refused' ? Number.POSITIVE_INFINITY : PORTION_MILLIS
    this.#tell(left, how, this.#doorman.crowd(this.#clock.now()), millis, 0)
    this.#doorman.onDepartures()
  }

  /** Tells those who have left. Of a large crowd each hears in a turn of the loop that has not been held up for long. */
  #tell(left: readonly Waiter<T>[], how: Departure, crowd: Crowd, millis: number, from: number): void {
    const end = this.#clock.now() + millis
    let at = from
    do {
      const portion = left.slice(at, at + MOST_BLIND)
      for (const each of portion) this.#doorman.onDeparture(each, how, crowd)
      at += portion.length
    } while (at < left.length && this.#clock.now() <= end)
    if (at < left.length) this.#clock.turn(() => this.#tell(left, how, crowd, millis, at))
  }

  /** @returns false if the waiter had already left */
  #leave(waiter: Waiter<T>, how: Departure): boolean {
    if (waiter.gone) return false
    waiter.state = how
    this.#remove(waiter)
    return true
  }

  /** Somebody joins an empty queue. */
  #occupied(first: Waiter<T>): void {
    this.shedder?.begin(first.since)
    this.#expiry.hold(true)
  }

  #remove(waiter: Waiter<T>): void {
    const { line = this.#first, lane, signal } = waiter.particulars
    line.remove(waiter)
    this.waiting -= 1
    if (this.waiting === 0) this.#expiry.hold(false)
    if (lane !== undefined) this.#expiry.leave(lane, waiter)
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
    const onAbort = (): void => this.#depart([...waiters], 'aborted')
    this.#bySignal.set(signal, { waiters, onAbort })
    signal.addEventListener('abort', onAbort)
  }
}
