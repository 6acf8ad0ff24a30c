/**
 * Controlled delay (CoDel; Nichols and Jacobson, "Controlling Queue Delay", 2012, RFC 8289), in the form that Elixir's
 * DBConnection uses for pools: it looks at the smallest queue delay of each interval. After a burst, that falls back to
 * zero. It stays above the target only in a standing queue, when demand exceeds what can be served. From then on,
 * waiters older than twice the target are dropped when a connection is free, until an interval has seen a delay within
 * the target.
 *
 * Three differences: An empty queue counts as a delay of 0 as soon as a waiter joins it. The caller does not count time
 * in which the event loop was blocked. Where the youngest waiter goes first, dropping a waiter keeps the queue in the
 * dropping state, see {@link Codel.dropped}.
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
   * Called when a waiter is about to be served.
   * @param delay - how long the first waiter in the queue has waited, in milliseconds
   * @returns the age above which waiters are dropped
   */
  dequeue(now: number, delay: number): number {
    if (now >= this.#intervalEnds) {
      // The first waiter of an interval is never dropped, because the cause of the last interval's delay may be gone.
      this.#startInterval(now, delay, this.#least > this.#target)
      return Number.POSITIVE_INFINITY
    }
    if (delay < this.#least) this.#least = delay
    return this.isSlow ? 2 * this.#target : Number.POSITIVE_INFINITY
  }

  /** Called when the queue is empty: there is no standing queue any more. */
  emptied(): void {
    this.isSlow = false
    this.#least = 0
    this.#hasDropped = false
    this.#intervalEnds = Number.NEGATIVE_INFINITY
  }

  /**
   * Called when a waiter was dropped while the youngest go first: demand still exceeds what can be served. The delay of
   * the oldest waiter does not show this, because it starts again whenever older ones are dropped. Without this call,
   * the queue would switch between dropping and not dropping.
   */
  dropped(): void {
    this.#hasDropped = true
  }

  /**
   * Called if no waiter has been served since the last check, one interval ago.
   * @param delay - how long the first waiter in the queue has waited, in milliseconds
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
