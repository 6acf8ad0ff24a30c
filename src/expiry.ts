import { Alarm, type Clock } from './clock.ts'
import { Heap } from './heap.ts'
import { Lane } from './line.ts'
import type { Waiter } from './waiter.ts'

/** A crowd that expires together does so in portions of so many milliseconds; the loop turns in between. */
const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
const MOST_BLIND = 256
/** So many empty lanes are kept for those who come with the same timeout again. */
const SPARE_LANES = 64

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
  readonly #lanes = new Map<number, Lane<T>>()
  readonly #agenda = new Heap<Lane<T>>()
  /** Where the last waiter went: most go where the one before them went. */
  #latest: Lane<T> | undefined
  #waiting = 0
  #empty = 0

  constructor(
    clock: Clock,
    onStall: (millis: number) => void,
    mercy: (since: number, now: number) => boolean,
    listener: ExpiryListener<T>,
  ) {
    this.#clock = clock
    this.#listener = listener
    this.#alarm = new Alarm(
      clock,
      () => this.#ring(),
      onStall,
      now => {
        const first = this.#agenda.first()?.first
        return first !== undefined && first.deadline <= now && mercy(first.since, now)
      },
    )
  }

  add(waiter: Waiter<T>, timeout: number): void {
    let lane = this.#latest
    if (lane?.timeout !== timeout) lane = this.#lanes.get(timeout)
    if (lane === undefined) {
      const due = waiter.since + timeout
      lane = new Lane<T>(timeout, due)
      this.#lanes.set(timeout, lane)
      this.#agenda.push(lane)
      // Never later than the alarm already is: an empty lane may still be on the agenda.
      this.#alarm.set(due)
    } else if (lane.first === undefined) this.#empty -= 1
    this.#latest = lane
    lane.push(waiter)
    this.#waiting += 1
    if (this.#waiting === 1) this.#alarm.hold(true)
  }

  /** A waiter leaves, for whatever reason. */
  remove(waiter: Waiter<T>): void {
    const { lane } = waiter
    if (lane === undefined) return
    lane.remove(waiter)
    if (lane.first === undefined) this.#emptied()
    this.#waiting -= 1
    if (this.#waiting === 0) this.#alarm.hold(false)
  }

  stop(): void {
    this.#alarm.clear()
  }

  #emptied(): void {
    this.#empty += 1
    if (this.#empty <= SPARE_LANES || this.#empty * 2 <= this.#lanes.size) return
    this.#agenda.retain(lane => lane.first !== undefined)
    for (const lane of this.#lanes.values()) if (lane.first === undefined) this.#lanes.delete(lane.timeout)
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
      const { first } = lane
      if (first === undefined) this.#drop(lane)
      else {
        lane.due = first.deadline
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
    for (let { first } = lane; first !== undefined && first.deadline <= now; first = lane.first) {
      if (count === MOST_BLIND) {
        if (this.#clock.now() > end) return false
        count = 0
      }
      count += 1
      this.#listener.expire(first, now)
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
