import { LONGEST_MILLIS } from '../../api/options/option-table.ts'
import type { Clock, Timer } from './clock.ts'

/**
 * A turn of the event loop that takes this long counts as a stall, and so does a timer that fires this late. The value
 * is well above the scheduling noise of a loaded machine and well below any deadline worth setting. Milliseconds.
 */
export const STALL_MILLIS = 25

/** Is called when a timer fires late. */
export interface StallListener {
  /**
   * Is called with how many milliseconds late a timer fired.
   * @returns whether the event loop has just been blocked, so that data that arrived meanwhile is still unread in the
   * kernel
   */
  late(millis: number): boolean
}

/**
 * The alarm waits for at most this many stalled turns in a row. Otherwise a loop that is always late would delay it for
 * ever.
 */
const MOST_YIELDS = 3

/**
 * One timer that can be moved to an earlier time whenever needed. When it fires after a stall, it lets the poll phase
 * run first: Node runs due timers before it polls, so answers that arrived in time are still unread in the kernel then.
 */
export class Alarm {
  readonly #clock: Clock
  readonly #ring: () => void
  readonly #stalls: StallListener
  #timer: Timer | undefined
  #held = false
  #at = Number.POSITIVE_INFINITY
  #firesAt = 0
  #yielding = false

  constructor(clock: Clock, ring: () => void, stalls: StallListener) {
    this.#clock = clock
    this.#ring = ring
    this.#stalls = stalls
  }

  get isSet(): boolean {
    return this.#timer !== undefined || this.#yielding
  }

  /**
   * Rings at this time, or at the time set before if that is earlier. With an infinite time, it keeps the process alive
   * (see {@link hold}) and never rings.
   */
  set(at: number): void {
    if (this.isSet && at >= this.#at) return
    this.#at = at
    if (!this.#yielding) this.#arm()
  }

  /** Sets whether the pending alarm keeps the process alive. */
  hold(held: boolean): void {
    if (held === this.#held) return
    this.#held = held
    this.#timer?.hold(held)
  }

  clear(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#at = Number.POSITIVE_INFINITY
    this.#yielding = false
  }

  #arm(now = this.#clock.now()): void {
    this.#timer?.cancel()
    const delay = Math.min(Math.max(Math.ceil(this.#at - now), 1), LONGEST_MILLIS)
    this.#firesAt = now + delay
    this.#timer = this.#clock.after(delay, () => this.#fire())
    if (this.#held) this.#timer.hold(true)
  }

  #fire(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    if (this.#stalls.late(now - this.#firesAt)) {
      this.#yielding = true
      this.#yield(now, MOST_YIELDS)
    } else this.#ringIfDue()
  }

  #yield(since: number, left: number): void {
    this.#clock.turn(() => {
      if (!this.#yielding) return
      const now = this.#clock.now()
      // A callback that ran in this turn may have blocked the loop again.
      if (this.#stalls.late(now - since) && left > 1) {
        this.#yield(now, left - 1)
        return
      }
      this.#yielding = false
      this.#ringIfDue()
    })
  }

  #ringIfDue(): void {
    // It may be too early: the delay was capped, a timer can fire a fraction early, or the alarm was cleared and set
    // again.
    const now = this.#clock.now()
    if (now < this.#at) this.#arm(now)
    else this.#end()
  }

  #end(): void {
    this.#at = Number.POSITIVE_INFINITY
    this.#ring()
  }
}
