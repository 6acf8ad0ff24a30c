import type { Stalls } from '../runtime/time/stalls.ts'

/** The weight of a new sample: one eighth, as TCP uses for its round trips (RFC 6298). */
const WEIGHT = 1 / 8
/** With fewer samples there is no estimate. */
const ENOUGH = 16

/** How fast a queue is served: the mean time from one hand-over to the next, measured only while acquires wait. */
export class ServiceRate {
  /** A moving mean, in milliseconds. */
  #between = 0
  #samples = 0
  #lastAt = 0
  #hadBacklog = false
  /** When an acquire was last let in to check whether the estimate still holds. */
  #probedAt = 0
  readonly #stalls: Stalls

  constructor(stalls: Stalls) {
    this.#stalls = stalls
  }

  /**
   * Called when a waiter has been served.
   * @param waiting - how many still wait
   */
  served(now: number, waiting: number): void {
    // Without a backlog, the time since the last hand-over was spent waiting for work.
    if (this.#hadBacklog) {
      // Time in which the event loop was blocked says nothing about the speed of the service.
      const stalled = this.#stalls.since(this.#lastAt)
      const between = Math.max(now - this.#lastAt - stalled, 0)
      this.#between += (between - this.#between) * (this.#samples === 0 ? 1 : WEIGHT)
      this.#samples += 1
    }
    this.#lastAt = now
    this.#hadBacklog = waiting > 0
  }

  /** Called when the queue is empty because all waiters gave up: how fast they would have been served is unknown. */
  emptied(): void {
    this.#hadBacklog = false
  }

  /**
   * Should one acquire be let in that would be refused? True once if nobody was served for as long as the estimate. An
   * estimate that refuses everybody could never be seen to be wrong.
   */
  probes(now: number, estimate: number): boolean {
    if (now - Math.max(this.#lastAt, this.#probedAt) < estimate) return false
    this.#probedAt = now
    return true
  }

  /** @returns the expected wait in milliseconds with this many waiters ahead; undefined while too little is known */
  estimate(ahead: number): number | undefined {
    return this.#samples < ENOUGH || !this.#hadBacklog ? undefined : (ahead + 1) * this.#between
  }
}
