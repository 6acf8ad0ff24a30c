import type { Stalls } from '../runtime/time/stalls.ts'

/** Weight of a new sample: an eighth, as TCP smooths its round trips (RFC 6298). */
const WEIGHT = 1 / 8
/** Fewer samples than this say nothing. */
const ENOUGH = 16

/** How fast a queue is served: the mean time from one hand-over to the next, measured only while acquires wait. */
export class ServiceRate {
  /** Milliseconds; a moving mean. */
  #between = 0
  #samples = 0
  #lastAt = 0
  #hadBacklog = false
  /** When an acquire was last let in to see whether the estimate still holds. */
  #probedAt = 0
  readonly #stalls: Stalls

  constructor(stalls: Stalls) {
    this.#stalls = stalls
  }

  /**
   * A waiter has been served.
   * @param waiting - how many still wait
   */
  served(now: number, waiting: number): void {
    // Without a backlog, the time since the last hand-over was spent waiting for work.
    if (this.#hadBacklog) {
      // A stall of the event loop says nothing about the speed of the service.
      const stalled = this.#stalls.since(this.#lastAt)
      const between = Math.max(now - this.#lastAt - stalled, 0)
      this.#between += (between - this.#between) * (this.#samples === 0 ? 1 : WEIGHT)
      this.#samples += 1
    }
    this.#lastAt = now
    this.#hadBacklog = waiting > 0
  }

  /** The queue is empty because all waiters gave up: how fast they would have been served is not known. */
  emptied(): void {
    this.#hadBacklog = false
  }

  /**
   * Is it time to let one in who would be refused? Once in the time of the estimate in which nobody was served: an
   * estimate that refuses everybody would never be seen to be wrong.
   */
  probes(now: number, estimate: number): boolean {
    if (now - Math.max(this.#lastAt, this.#probedAt) < estimate) return false
    this.#probedAt = now
    return true
  }

  /** @returns how long one will wait with so many in front, in milliseconds; undefined while too little is known */
  estimate(ahead: number): number | undefined {
    return this.#samples < ENOUGH || !this.#hadBacklog ? undefined : (ahead + 1) * this.#between
  }
}
