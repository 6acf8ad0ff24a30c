import { Alarm, type StallListener } from '../runtime/alarm.ts'
import type { Clock } from '../runtime/clock.ts'
import { Heap } from './heap.ts'
import type { Waiter } from './waiter.ts'
import { PriorityList, type TimeoutGroup, TimeoutList } from './waiter-lists.ts'

/** A crowd that expires together does so in portions of so many milliseconds; the loop turns in between. */
export const PORTION_MILLIS = 8
/** After so many, the clock is read again. */
export const MOST_BLIND = 256
/** Those who are spared are looked at again after so many milliseconds. */
const SPARED_MILLIS = 5
/** So many empty lanes are kept for those who come with the same timeout again. */
const SPARE_LANES = 64

/** What becomes of those whose time is up. */
export interface TimeoutListener<T> {
  /** Is it too early to reject one whose time is up? */
  defers(waiter: Waiter<T>, now: number): boolean
  expire(waiter: Waiter<T>, now: number): void
  /** All that were due at this moment, or a portion of them, have expired. */
  done(): void
}

/**
 * The deadlines of all waiters behind one timer, as Node keeps its own timers: a crowd for each timeout, and the crowds
 * in order of what is due first. A pool has few timeouts, mostly one, so entering and leaving are O(1); with a timeout
 * of its own for every waiter they are O(log n).
 *
 *     agenda  due 1042 ─► 1042 1044 1044 1051 …      (timeoutMillis: 250)
 *             due 1170 ─► 1170 1180 …                (timeoutMillis: 400)
 *             due 5210 ─► 5210 5210 5233 …           (acquireTimeoutMillis: 5000)
 */
export class WaitTimeouts<T> {
  readonly #clock: Clock
  readonly #alarm: Alarm
  readonly #listener: TimeoutListener<T>
  readonly #lanes = new Map<number, TimeoutList<T>>()
  readonly #agenda = new Heap<TimeoutGroup<T>>()
  /** Where the last waiter went: most go where the one before them went. */
  #latest: TimeoutList<T> | undefined
  #empty = 0
  /** How many have been looked at since the clock was read, of whatever crowd: there may be as many crowds as waiters. */
  #blind = 0

  constructor(clock: Clock, stalls: StallListener, listener: TimeoutListener<T>) {
    this.#clock = clock
    this.#listener = listener
    this.#alarm = new Alarm(clock, () => this.#ring(), stalls)
  }

  add(waiter: Waiter<T>, line: PriorityList<T>, timeout: number): void {
    if (timeout !== line.timeout) {
      this.#join(waiter, timeout)
      return
    }
    line.soonest ??= waiter
    if (!line.isPlanned) this.#plan(line, waiter.since + timeout)
  }

  /** Whether the process is kept alive for those who wait. */
  hold(held: boolean): void {
    this.#alarm.hold(held)
  }

  /** One with a timeout of its own joins those who have the same. */
  #join(waiter: Waiter<T>, timeout: number): void {
    let lane = this.#latest
    if (lane?.timeout !== timeout) lane = this.#lanes.get(timeout)
    if (lane === undefined) {
      lane = new TimeoutList<T>(timeout)
      this.#lanes.set(timeout, lane)
      this.#plan(lane, waiter.since + timeout)
    } else if (lane.soonest === undefined) this.#empty -= 1
    this.#latest = lane
    lane.push(waiter)
  }

  /** It leaves them, for whatever reason. */
  leave(lane: TimeoutList<T>, waiter: Waiter<T>): void {
    lane.remove(waiter)
    if (lane.soonest === undefined) this.#emptied()
  }

  #plan(crowd: TimeoutGroup<T>, due: number): void {
    crowd.due = due
    if (crowd instanceof PriorityList) crowd.isPlanned = true
    this.#agenda.push(crowd)
    // Never later than the alarm already is: an empty crowd may still be on the agenda.
    this.#alarm.set(due)
  }

  stop(): void {
    this.#alarm.clear()
  }

  #emptied(): void {
    this.#empty += 1
    if (this.#empty <= SPARE_LANES || this.#empty * 2 <= this.#lanes.size) return
    this.#agenda.retain(crowd => crowd instanceof PriorityList || crowd.soonest !== undefined)
    for (const lane of this.#lanes.values()) if (lane.soonest === undefined) this.#lanes.delete(lane.timeout)
    this.#latest = undefined
    this.#empty = 0
  }

  #ring(): void {
    const now = this.#clock.now()
    const end = now + PORTION_MILLIS
    this.#blind = 0
    let inTime = true
    for (
      let crowd = this.#agenda.first();
      inTime && crowd !== undefined && crowd.due <= now;
      crowd = this.#agenda.first()
    ) {
      inTime = this.#expire(crowd, now, end)
      // Read again: expiring the last one may have cleared the agenda of empty lanes, this one among them.
      if (this.#agenda.first() !== crowd) continue
      this.#agenda.pop()
      const { soonest } = crowd
      if (soonest === undefined) this.#drop(crowd)
      else {
        // What a used up portion has left over goes on in the next turn.
        const due = soonest.since + crowd.timeout
        crowd.due = inTime && due <= now ? now + SPARED_MILLIS : due
        this.#agenda.push(crowd)
      }
    }
    this.#listener.done()
    if (!inTime) this.#clock.turn(() => this.#ring())
    else this.#setAlarm()
  }

  /** @returns false when the portion is used up */
  #expire(crowd: TimeoutGroup<T>, now: number, end: number): boolean {
    let next: Waiter<T> | undefined
    for (let waiter = crowd.soonest; waiter !== undefined && !waiter.hasLeft; waiter = next) {
      if (waiter.since + crowd.timeout > now) break
      next = crowd.after(waiter)
      if (this.#blind === MOST_BLIND) {
        this.#blind = 0
        if (this.#clock.now() > end) return false
      }
      this.#blind += 1
      if (!this.#listener.defers(waiter, now)) this.#listener.expire(waiter, now)
    }
    return true
  }

  #drop(crowd: TimeoutGroup<T>): void {
    if (crowd instanceof PriorityList) {
      crowd.isPlanned = false
      return
    }
    this.#lanes.delete(crowd.timeout)
    if (this.#latest === crowd) this.#latest = undefined
    this.#empty -= 1
  }

  #setAlarm(): void {
    const next = this.#agenda.first()
    if (next !== undefined) this.#alarm.set(next.due)
  }
}
