import { Alarm, type Clock } from './clock.ts'
import { Fifo } from './fifo.ts'
import type { Waiter } from './waiter.ts'

/** A crowd that expires together does so in portions of so many milliseconds; the loop turns in between. */
const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
const MOST_BLIND = 256

/** The waiters with one timeout: their deadlines come in the order in which they arrived. */
class Lane<T> extends Fifo<Waiter<T>> {
  /** Not after the first deadline in the lane; it lags behind when waiters leave in time. */
  due: number
  readonly timeout: number

  constructor(timeout: number, due: number) {
    super()
    this.timeout = timeout
    this.due = due
  }
}

/**
 * The deadlines of all waiters behind one timer, as Node keeps its own timers: a lane for each timeout, and the lanes
 * in order of what is due first. A pool has few timeouts, mostly one, so entering and leaving are O(1).
 *
 *     agenda  [ due 5210 | due 1170 | due 1042 ]  ◄─ the alarm rings for the last one
 *     lane         │          │          └─ 1042 1044 1044 1051 …      (timeoutMillis: 250)
 *                  │          └─ 1170 1180 …                           (timeoutMillis: 400)
 *                  └─ 5210 5210 5233 …                                 (acquireTimeoutMillis: 5000)
 */
export class Expiry<T> {
  readonly #clock: Clock
  readonly #alarm: Alarm
  readonly #expire: (waiter: Waiter<T>, now: number) => void
  readonly #lanes = new Map<number, Lane<T>>()
  readonly #agenda: Lane<T>[] = []
  /** Where the last waiter went: most go where the one before them went. */
  #latest: Lane<T> | undefined
  #waiting = 0

  constructor(
    clock: Clock,
    onStall: (millis: number) => void,
    expire: (waiter: Waiter<T>, now: number) => void,
  ) {
    this.#clock = clock
    this.#expire = expire
    this.#alarm = new Alarm(clock, () => this.#ring(), onStall)
  }

  add(waiter: Waiter<T>): void {
    let lane = this.#latest
    if (lane?.timeout !== waiter.timeout) lane = this.#lanes.get(waiter.timeout)
    if (lane === undefined) {
      lane = new Lane(waiter.timeout, waiter.deadline)
      this.#lanes.set(waiter.timeout, lane)
      this.#schedule(lane)
      // Never later than the alarm already is: an idle lane may still be on the agenda.
      this.#alarm.set(waiter.deadline)
    }
    this.#latest = lane
    lane.push(waiter)
    waiter.lane = lane
    this.#waiting += 1
    if (this.#waiting === 1) this.#alarm.hold(true)
  }

  /** A waiter has marked itself gone. */
  left(waiter: Waiter<T>): void {
    waiter.lane?.left()
    this.#waiting -= 1
    if (this.#waiting === 0) this.#alarm.hold(false)
  }

  stop(): void {
    this.#alarm.clear()
  }

  #ring(): void {
    const now = this.#clock.now()
    let left = MOST_BLIND
    for (let lane = this.#agenda.at(-1); lane !== undefined && lane.due <= now; lane = this.#agenda.at(-1)) {
      this.#agenda.pop()
      for (let first = lane.peek(); first !== undefined && first.deadline <= now; first = lane.peek()) {
        if (left === 0) {
          if (this.#clock.now() - now > PORTION_MILLIS) break
          left = MOST_BLIND
        }
        left -= 1
        this.#expire(first, now)
      }
      const first = lane.peek()
      if (first === undefined) {
        this.#lanes.delete(lane.timeout)
        if (this.#latest === lane) this.#latest = undefined
      } else {
        lane.due = first.deadline
        this.#schedule(lane)
      }
      if (left === 0) {
        this.#clock.turn(() => this.#ring())
        return
      }
    }
    const next = this.#agenda.at(-1)
    if (next !== undefined) this.#alarm.set(next.due)
  }

  /** Puts a lane on the agenda, which is kept latest first so that the next one is taken from the end. */
  #schedule(lane: Lane<T>): void {
    let low = 0
    let high = this.#agenda.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#agenda[middle] as Lane<T>).due > lane.due) low = middle + 1
      else high = middle
    }
    this.#agenda.splice(low, 0, lane)
  }
}
