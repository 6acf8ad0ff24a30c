/**
 * Controlled delay (CoDel; Nichols and Jacobson, "Controlling Queue Delay", 2012, RFC 8289), in the form that
 * Elixir's DBConnection gave it for pools: it looks at the smallest queue delay of each interval. A burst brings that
 * back to nothing as it drains; only a queue that stands, because more is asked for than can be served, keeps it
 * above the target. From then on waiters older than twice the target are dropped where they would have been served,
 * until an interval has seen a delay within the target.
 *
 * Three deviations: a queue that was empty counts as a delay of 0 as soon as a waiter joins it; time for which the
 * event loop stood still is not counted as waiting (the caller sees to that); where the youngest go first, having
 * dropped a waiter keeps it dropping, see {@link Codel.dropped}.
 */
export class Codel {
  /** Is there a standing queue? */
  isSlow = false
  readonly #target: number
  readonly #interval: number
  /** The smallest delay of the current interval, in milliseconds. */
  #least = 0
  #intervalEnds = Number.NEGATIVE_INFINITY
  /** Has a waiter been dropped since the queue was empty, or since the interval began? */
  #hasDropped = false

  constructor(targetMillis: number, intervalMillis: number) {
    this.#target = targetMillis
    this.#interval = intervalMillis
  }

  /**
   * A waiter is about to be served, and the first in the queue has waited so long.
   * @returns the age above which waiters are dropped
   */
  dequeue(now: number, delay: number): number {
    if (now >= this.#intervalEnds) {
      // The first of an interval is never dropped: what came of the last one may have ended meanwhile.
      this.#startInterval(now, delay, this.#least > this.#target)
      return Number.POSITIVE_INFINITY
    }
    if (delay < this.#least) this.#least = delay
    return this.isSlow ? 2 * this.#target : Number.POSITIVE_INFINITY
  }

  /** The queue is empty: there is no standing queue any more. */
  emptied(): void {
    this.isSlow = false
    this.#least = 0
    this.#hasDropped = false
    this.#intervalEnds = Number.NEGATIVE_INFINITY
  }

  /**
   * A waiter has been dropped where the youngest go first: there is still more load than can be served. The delay of
   * the oldest
   * does not say so, as it begins anew whenever those before are dropped; without this, it swings to and fro.
   */
  dropped(): void {
    this.#hasDropped = true
  }

  /**
   * No waiter has been served since the last check, an interval ago, and the first in the queue has waited so long.
   * @returns the age above which waiters are dropped
   */
  stuck(now: number, delay: number): number {
    if (now < this.#intervalEnds) return Number.POSITIVE_INFINITY
    this.#startInterval(now, delay, this.#least > this.#target)
    return this.isSlow ? 2 * this.#target : Number.POSITIVE_INFINITY
  }

  #startInterval(now: number, delay: number, isSlow: boolean): void {
    this.isSlow = isSlow || this.#hasDropped
    this.#hasDropped = false
    this.#least = delay
    this.#intervalEnds = now + this.#interval
  }
}
