import { LONGEST_MILLIS } from '../../api/option-table.ts'
import type { Clock, Timer } from './clock.ts'

/**
 * A turn of the loop that takes this long, or a timer that is this late, counts as a stall of the event loop. Well
 * above the scheduling noise of a loaded machine, well below any deadline worth setting.
 */
export const STALL_MILLIS = 25

/** Is told how late timers fire. */
export interface StallListener {
  /**
   * A timer fires this many milliseconds late.
   * @returns whether the loop has stood still just now, so that what came meanwhile still lies unread in the kernel
   */
  late(millis: number): boolean
}

/**
 * At most so many turns in a row, each of them a stall, are waited for: a loop that is always late must not put the
 * alarm off for ever.
 */
const MOST_YIELDS = 3

/**
 * One timer that can be set earlier at any time. When it fires after a stall, it lets the poll phase run first. Node
 * runs due timers before it polls, so at that moment the answers that came in
 * time still lie unread in the kernel.
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
   * Rings at that time, or earlier if it is set to an earlier time already. An infinite time holds the process and
   * never rings.
   */
  set(at: number): void {
    if (this.isSet && at >= this.#at) return
    this.#at = at
    if (!this.#yielding) this.#arm()
  }

  /** Whether waiting for it keeps the process alive. */
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
      // What was delivered in this turn may have blocked the loop again.
      if (this.#stalls.late(now - since) && left > 1) {
        this.#yield(now, left - 1)
        return
      }
      this.#yielding = false
      this.#ringIfDue()
    })
  }

  #ringIfDue(): void {
    // Not yet: the delay was capped, a timer may fire a fraction early, or the alarm was cleared and set anew.
    const now = this.#clock.now()
    if (now < this.#at) this.#arm(now)
    else this.#end()
  }

  #end(): void {
    this.#at = Number.POSITIVE_INFINITY
    this.#ring()
  }
}
