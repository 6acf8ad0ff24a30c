import { Alarm } from '../runtime/alarm.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Stalls } from '../runtime/stalls.ts'
import { Heap } from './heap.ts'
import type { Waiter } from './waiter.ts'

/** Waiters that leave together do so in portions of so many milliseconds; the loop turns in between. */
export const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
export const PORTION_CHECK = 256
/** So many that have left may stay in the heap beside those that wait. */
const MAX_LEFT = 64

/** A waiter whose deadline has come and was put off, and how often. */
interface PutOff<T> {
  readonly deadline: number
  readonly waiter: Waiter<T>
  readonly times: number
}

/** What becomes of waiters whose time is up. */
export interface TimeoutListener<T> {
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
  readonly #putOff = new Heap<PutOff<T>>()
  readonly #stalls: Stalls
  /** How many of the heap have left. */
  #left = 0

  constructor(clock: Clock, stalls: Stalls, listener: TimeoutListener<T>) {
    this.#clock = clock
    this.#listener = listener
    this.#stalls = stalls
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
    else this.#setAlarm()
  }

  /** @returns false when the portion is used up before all that are due have been seen */
  #expire(now: number): boolean {
    const end = now + PORTION_MILLIS
    for (let count = 1; ; count += 1) {
      const late = this.#putOff.first()
      const again = late !== undefined && late.deadline <= now ? this.#putOff.pop() : undefined
      const waiter = again?.waiter ?? this.#nextDue(now)
      if (waiter === undefined) return true
      if (!waiter.hasLeft) this.#expireOrPutOff(waiter, now, again?.times ?? 0)
      if (count % PORTION_CHECK === 0 && this.#clock.now() > end) return false
    }
  }

  #expireOrPutOff(waiter: Waiter<T>, now: number, times: number): void {
    const grace = this.#stalls.grace(waiter.since, waiter.deadline, now, times)
    if (grace > 0) this.#putOff.push({ deadline: now + grace, waiter, times: times + 1 })
    else this.#listener.expire(waiter, now)
  }

  #nextDue(now: number): Waiter<T> | undefined {
    const first = this.#heap.first()
    return first === undefined || first.deadline > now ? undefined : this.#pop()
  }

  #setAlarm(): void {
    const late = this.#putOff.first()
    if (late !== undefined) this.#alarm.set(late.deadline)
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
