import { Alarm } from './alarm.ts'
import type { Clock } from './clock.ts'
import { Heap } from './heap.ts'
import type { Stalls } from './stalls.ts'

/** Entries that expire together do so in portions of so many milliseconds; the loop turns in between. */
export const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
export const PORTION_CHECK = 256
/** So many ended entries may stay in the heap beside those that have not ended. */
const MAX_ENDED = 64

/** Something that ends by itself or at its deadline. Times are in milliseconds of the pool's clock. */
export interface Expiring {
  readonly since: number
  readonly deadline: number
  readonly hasEnded: boolean
}

/** An entry whose deadline has come and was put off, and how often. */
interface PutOff<E> {
  readonly deadline: number
  readonly entry: E
  readonly times: number
}

/** Is told of entries whose time is up. */
export interface ExpiryListener<E> {
  expire(entry: E, now: number): void
  /** All entries that were due at this moment, or a portion of them, have expired. */
  done?(): void
}

/**
 * Many deadlines behind one timer: a heap, the earliest first. What ends in time stays in the heap until its turn
 * comes or until those that have ended are the majority, which are then dropped at once: so ending is O(1) on
 * average, and adding as well where deadlines come in order, as those of one timeout do. A deadline that falls into a
 * stall of the event loop is put off, see {@link Stalls.grace}.
 */
export class Deadlines<E extends Expiring> {
  readonly #clock: Clock
  readonly #alarm: Alarm
  readonly #listener: ExpiryListener<E>
  readonly #heap = new Heap<E>()
  readonly #putOff = new Heap<PutOff<E>>()
  readonly #stalls: Stalls
  /** How many have been added and have not ended, and how many of the heap have. */
  #pending = 0
  #ended = 0

  constructor(clock: Clock, stalls: Stalls, listener: ExpiryListener<E>) {
    this.#clock = clock
    this.#listener = listener
    this.#stalls = stalls
    this.#alarm = new Alarm(clock, () => this.#ring(), stalls)
  }

  add(entry: E): void {
    const { deadline } = entry
    this.#heap.push(entry)
    this.#pending += 1
    this.#alarm.set(deadline)
  }

  /** One of the entries has ended, for whatever reason. @returns how many have not */
  ended(): number {
    this.#pending -= 1
    this.#ended += 1
    if (this.#ended > MAX_ENDED && this.#ended * 2 > this.#heap.size) {
      this.#heap.retain(entry => !entry.hasEnded)
      this.#ended = 0
    }
    return this.#pending
  }

  /** Whether the process is kept alive for the next deadline. */
  hold(held: boolean): void {
    this.#alarm.hold(held)
  }

  /** No deadline comes any more, until one is added. */
  stop(): void {
    this.#alarm.clear()
    if (this.#pending > 0) return
    // Ended entries must not be kept alive until the next one is added.
    this.#heap.clear()
    this.#putOff.clear()
    this.#ended = 0
  }

  #ring(): void {
    const now = this.#clock.now()
    const inTime = this.#expire(now)
    this.#listener.done?.()
    if (!inTime) this.#clock.turn(() => this.#ring())
    else this.#setAlarm()
  }

  /** @returns false when the portion is used up before all that are due have been seen */
  #expire(now: number): boolean {
    const end = now + PORTION_MILLIS
    for (let count = 1; ; count += 1) {
      const late = this.#putOff.first()
      const again = late !== undefined && late.deadline <= now ? this.#putOff.pop() : undefined
      const entry = again?.entry ?? this.#nextDue(now)
      if (entry === undefined) return true
      if (!entry.hasEnded) this.#expireOrPutOff(entry, now, again?.times ?? 0)
      if (count % PORTION_CHECK === 0 && this.#clock.now() > end) return false
    }
  }

  #expireOrPutOff(entry: E, now: number, times: number): void {
    const grace = this.#stalls.grace(entry.since, entry.deadline, now, times)
    if (grace > 0) this.#putOff.push({ deadline: now + grace, entry, times: times + 1 })
    else this.#listener.expire(entry, now)
  }

  #nextDue(now: number): E | undefined {
    const first = this.#heap.first()
    return first === undefined || first.deadline > now ? undefined : this.#pop()
  }

  #setAlarm(): void {
    const late = this.#putOff.first()
    if (late !== undefined) this.#alarm.set(late.deadline)
    let next = this.#heap.first()
    while (next?.hasEnded) {
      this.#pop()
      next = this.#heap.first()
    }
    if (next !== undefined) this.#alarm.set(next.deadline)
  }

  /** What is popped has ended already and was counted then, or will be counted when it ends. */
  #pop(): E | undefined {
    this.#ended -= 1
    return this.#heap.pop()
  }
}
