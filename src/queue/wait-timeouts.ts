import { Alarm, type StallListener } from '../runtime/alarm.ts'
import type { Clock } from '../runtime/clock.ts'
import { Heap } from './heap.ts'
import type { Waiter } from './waiter.ts'

/** Waiters that leave together do so in portions of so many milliseconds; the loop turns in between. */
export const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
export const PORTION_CHECK = 256
/** Those who are deferred are looked at again after so many milliseconds. */
const DEFER_MILLIS = 5
/** So many that have left may stay in the heap beside those that wait. */
const MAX_LEFT = 64

/** What becomes of waiters whose time is up. */
export interface TimeoutListener<T> {
  /** Is it too early to reject one whose time is up? */
  defers(waiter: Waiter<T>, now: number): boolean
  expire(waiter: Waiter<T>, now: number): void
  /** All that were due at this moment, or a portion of them, have expired. */
  done(): void
}

/**
 * The deadlines of all waiters behind one timer: a heap of waiters, the earliest deadline first. One that is served
 * stays in the heap until its turn comes or until those who have left are the majority, which are then dropped at
 * once: so leaving is O(1) on average, and entering as well where all have the same timeout.
 */
export class WaitTimeouts<T> {
  readonly #clock: Clock
  readonly #alarm: Alarm
  readonly #listener: TimeoutListener<T>
  readonly #heap = new Heap<Waiter<T>>()
  /** Those whose time is up, but who are deferred. */
  #deferred: Waiter<T>[] = []
  /** How many of the heap have left. */
  #left = 0

  constructor(clock: Clock, stalls: StallListener, listener: TimeoutListener<T>) {
    this.#clock = clock
    this.#listener = listener
    this.#alarm = new Alarm(clock, () => this.#ring(), stalls)
  }

  add(waiter: Waiter<T>): void {
    const { deadline } = waiter
    this.#heap.push(waiter)
    this.#alarm.set(deadline)
  }

  /** A waiter has left the queue, for whatever reason. */
  left(): void {
    this.#left += 1
    if (this.#left <= MAX_LEFT || this.#left * 2 <= this.#heap.size) return
    this.#heap.retain(waiter => !waiter.hasLeft)
    this.#left = 0
  }

  /** Whether the process is kept alive for those who wait. */
  hold(held: boolean): void {
    this.#alarm.hold(held)
  }

  stop(): void {
    this.#alarm.clear()
  }

  #ring(): void {
    const now = this.#clock.now()
    const inTime = this.#expire(now)
    this.#listener.done()
    if (!inTime) this.#clock.turn(() => this.#ring())
    else this.#setAlarm(now)
  }

  /** @returns false when the portion is used up before all that are due have been seen */
  #expire(now: number): boolean {
    const end = now + PORTION_MILLIS
    const due = this.#deferred
    this.#deferred = []
    for (let count = 1; ; count += 1) {
      const waiter = due.pop() ?? this.#nextDue(now)
      if (waiter === undefined) return true
      if (waiter.hasLeft) continue
      if (this.#listener.defers(waiter, now)) this.#deferred.push(waiter)
      else this.#listener.expire(waiter, now)
      if (count % PORTION_CHECK === 0 && this.#clock.now() > end) {
        this.#deferred.push(...due)
        return false
      }
    }
  }

  #nextDue(now: number): Waiter<T> | undefined {
    const first = this.#heap.first()
    return first === undefined || first.deadline > now ? undefined : this.#pop()
  }

  #setAlarm(now: number): void {
    if (this.#deferred.length > 0) this.#alarm.set(now + DEFER_MILLIS)
    let next = this.#heap.first()
    while (next?.hasLeft) {
      this.#pop()
      next = this.#heap.first()
    }
    if (next !== undefined) this.#alarm.set(next.deadline)
  }

  /** What is popped has left already and was counted then, or will be counted when it leaves. */
  #pop(): Waiter<T> | undefined {
    this.#left -= 1
    return this.#heap.pop()
  }
}
