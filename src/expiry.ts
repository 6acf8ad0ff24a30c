import { Alarm, type Clock, type Lateness } from './clock.ts'
import { Fifo } from './fifo.ts'
import { Heap } from './heap.ts'
import type { Waiter } from './waiter.ts'

/** A crowd that expires together does so in portions of so many milliseconds; the loop turns in between. */
const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
const MOST_BLIND = 256
/** Those who are spared are looked at again after so many milliseconds. */
const SPARED_MILLIS = 5
/** So many empty lanes are kept for those who come with the same timeout again. */
const SPARE_LANES = 64

/** The waiters with one timeout: their deadlines come in the order in which they arrived. */
class Lane<T> extends Fifo<Waiter<T>> {
  /** Not after the first deadline in the lane, but for those who are spared; it lags behind when waiters leave in time. */
  due: number
  readonly timeout: number

  constructor(timeout: number, due: number) {
    super()
    this.timeout = timeout
    this.due = due
  }
}

/** What becomes of those whose time is up. */
export interface ExpiryListener<T> {
  expire(waiter: Waiter<T>, now: number): void
  /** All that were due at this moment, or a portion of them, have expired. */
  done(): void
}

/**
 * The deadlines of all waiters behind one timer, as Node keeps its own timers: a lane for each timeout, and the lanes
 * in order of what is due first. A pool has few timeouts, mostly one, so entering and leaving are O(1); with a timeout
 * of its own for every waiter they are O(log n).
 *
 *     agenda  due 1042 ─► 1042 1044 1044 1051 …      (timeoutMillis: 250)
 *             due 1170 ─► 1170 1180 …                (timeoutMillis: 400)
 *             due 5210 ─► 5210 5210 5233 …           (acquireTimeoutMillis: 5000)
 */
export class Expiry<T> {
  readonly #clock: Clock
  readonly #alarm: Alarm
  readonly #listener: ExpiryListener<T>
  readonly #mercy: (waiter: Waiter<T>, now: number) => boolean
  readonly #lanes = new Map<number, Lane<T>>()
  readonly #agenda = new Heap<Lane<T>>()
  /** Where the last waiter went: most go where the one before them went. */
  #latest: Lane<T> | undefined
  #waiting = 0
  #empty = 0

  /** @param mercy - is it too early to judge one whose time is up? */
  constructor(
    clock: Clock,
    onStall: Lateness,
    mercy: (waiter: Waiter<T>, now: number) => boolean,
    listener: ExpiryListener<T>,
  ) {
    this.#clock = clock
    this.#listener = listener
    this.#mercy = mercy
    this.#alarm = new Alarm(clock, () => this.#ring(), onStall)
  }

  add(waiter: Waiter<T>): void {
    let lane = this.#latest
    if (lane?.timeout !== waiter.timeout) lane = this.#lanes.get(waiter.timeout)
    if (lane === undefined) {
      lane = new Lane(waiter.timeout, waiter.deadline)
      this.#lanes.set(waiter.timeout, lane)
      this.#agenda.push(lane)
      // Never later than the alarm already is: an empty lane may still be on the agenda.
      this.#alarm.set(waiter.deadline)
    } else if (lane.live === 0) this.#empty -= 1
    this.#latest = lane
    lane.push(waiter)
    waiter.lane = lane
    this.#waiting += 1
    if (this.#waiting === 1) this.#alarm.hold(true)
  }

  /** A waiter has marked itself gone. */
  left(waiter: Waiter<T>): void {
    waiter.lane?.left()
    if (waiter.lane?.live === 0) this.#emptied()
    this.#waiting -= 1
    if (this.#waiting === 0) this.#alarm.hold(false)
  }

  stop(): void {
    this.#alarm.clear()
  }

  #emptied(): void {
    this.#empty += 1
    if (this.#empty <= SPARE_LANES || this.#empty * 2 <= this.#lanes.size) return
    this.#agenda.retain(lane => lane.live > 0)
    for (const lane of this.#lanes.values()) if (lane.live === 0) this.#lanes.delete(lane.timeout)
    this.#latest = undefined
    this.#empty = 0
  }

  #ring(): void {
    const now = this.#clock.now()
    const end = now + PORTION_MILLIS
    let inTime = true
    for (
      let lane = this.#agenda.first();
      inTime && lane !== undefined && lane.due <= now;
      lane = this.#agenda.first()
    ) {
      inTime = this.#expire(lane, now, end)
      // Read again: expiring the last one may have cleared the agenda of empty lanes, this one among them.
      if (this.#agenda.first() !== lane) continue
      this.#agenda.pop()
      const first = lane.peek()
      if (first === undefined) this.#drop(lane)
      else {
        // What a used up portion has left over goes on in the next turn.
        lane.due = inTime && first.deadline <= now ? now + SPARED_MILLIS : first.deadline
        this.#agenda.push(lane)
      }
    }
    this.#listener.done()
    if (!inTime) this.#clock.turn(() => this.#ring())
    else this.#setAlarm()
  }

  /** @returns false when the portion is used up */
  #expire(lane: Lane<T>, now: number, end: number): boolean {
    let count = 0
    for (const waiter of lane) {
      if (waiter.deadline > now) break
      if (count === MOST_BLIND) {
        if (this.#clock.now() > end) return false
        count = 0
      }
      count += 1
      if (!this.#mercy(waiter, now)) this.#listener.expire(waiter, now)
    }
    return true
  }

  #drop(lane: Lane<T>): void {
    this.#lanes.delete(lane.timeout)
    if (this.#latest === lane) this.#latest = undefined
    this.#empty -= 1
  }

  #setAlarm(): void {
    const next = this.#agenda.first()
    if (next !== undefined) this.#alarm.set(next.due)
  }
}
