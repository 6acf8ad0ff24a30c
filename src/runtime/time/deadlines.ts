import { Alarm } from './alarm.ts'
import type { Clock } from './clock.ts'
import { Heap } from './heap.ts'
import type { Stalls } from './stalls.ts'

/**
 * Entries that are due at the same time expire in portions of this many milliseconds. The event loop turns between two
 * portions, so that a large number of timeouts does not block it.
 */
export const PORTION_MILLIS = 8
/** The clock is read again after this many entries. */
export const PORTION_CHECK = 256
/** The heap may hold this many ended entries before it is cleaned up. */
const MAX_ENDED = 64

/** Something that ends by itself or at its deadline. Times are in milliseconds of the pool's clock. */
interface Expiring {
  readonly since: number
  readonly deadline: number
  readonly hasEnded: boolean
}

/** An entry whose deadline has passed and was extended, and how often. */
interface PutOff<E> {
  readonly deadline: number
  readonly entry: E
  readonly times: number
}

/** Is called when entries reach their deadline. */
interface ExpiryListener<E> {
  expire(entry: E, now: number): void
  /** Is called when all due entries, or one portion of them, have expired. */
  done?(): void
  /**
   * The owner may itself keep entries whose deadlines come in order, which costs less than adding them here. These two
   * return the first of them, and remove it from that order: from then on it is an entry like those added.
   */
  firstInOrder?(): E | undefined
  takeInOrder?(): void
}

/**
 * Many deadlines behind one timer: a heap with the earliest deadline first. An entry that ends in time stays in the
 * heap until it reaches the top. When most entries of the heap have ended, these are dropped all at once. So ending is
 * O(1) on average. Adding is O(1) where deadlines come in order, as with a single timeout. A deadline that passes
 * during a stall of the event loop is extended, see {@link Stalls.grace}.
 */
export class Deadlines<E extends Expiring> {
  readonly #clock: Clock
  readonly #alarm: Alarm
  readonly #listener: ExpiryListener<E>
  readonly #heap = new Heap<E>()
  readonly #putOff = new Heap<PutOff<E>>()
  readonly #stalls: Stalls
  /**
   * `#pending`: entries that were added and have not ended. `#ended`: entries that have ended and are still in the
   * heap.
   */
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

  /** Called when an entry becomes the first of those that the owner keeps in order. */
  first({ deadline }: E): void {
    this.#alarm.set(deadline)
  }

  /**
   * Must be called when an entry ends, for any reason, unless the owner keeps it in order.
   * @returns how many entries have not ended
   */
  ended(): number {
    this.#pending -= 1
    this.#ended += 1
    if (this.#ended > MAX_ENDED && this.#ended * 2 > this.#heap.size) {
      this.#heap.retain(entry => !entry.hasEnded)
      this.#ended = 0
    }
    return this.#pending
  }

  /** Sets whether the next deadline keeps the process alive. */
  hold(held: boolean): void {
    this.#alarm.hold(held)
  }

  /** Stops the timer until the next entry is added. */
  stop(): void {
    this.#alarm.clear()
    if (this.#pending > 0) return
    // The heap must not keep ended entries alive until then.
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

  /** @returns false if the portion is used up before all due entries were handled */
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
    const inOrder = this.#listener.firstInOrder?.()
    if (inOrder !== undefined && inOrder.deadline <= now) {
      if (first === undefined || inOrder.deadline <= first.deadline) return this.#takeInOrder(inOrder)
    }
    return first === undefined || first.deadline > now ? undefined : this.#pop()
  }

  #takeInOrder(entry: E): E {
    this.#listener.takeInOrder?.()
    this.#pending += 1
    // It will be counted as ended when it ends, and is not in the heap.
    this.#ended -= 1
    return entry
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
    const inOrder = this.#listener.firstInOrder?.()
    if (inOrder !== undefined) this.#alarm.set(inOrder.deadline)
  }

  /** A removed entry has either ended and been counted already, or will be counted when it ends. */
  #pop(): E | undefined {
    this.#ended -= 1
    return this.#heap.pop()
  }
}
