/**
 * A token bucket: allows a burst of `size`, then `rate` per millisecond. It may be overdrawn, and the debt has to be
 * refilled first.
 */
export class TokenBucket {
  #level: number
  #asOf: number
  readonly #size: number
  readonly #rate: number

  /** @param rate - tokens per millisecond of the caller's clock */
  constructor(size: number, rate: number, level: number, now: number) {
    this.#size = size
    this.#rate = rate
    this.#level = level
    this.#asOf = now
  }

  /** The tokens available now; negative while the bucket is overdrawn. */
  level(now: number): number {
    this.#level = Math.min(this.#size, this.#level + Math.max(now - this.#asOf, 0) * this.#rate)
    this.#asOf = now
    return this.#level
  }

  /** Takes one token. @returns false if there is none */
  take(now: number): boolean {
    if (this.level(now) < 1) return false
    this.#level -= 1
    return true
  }

  /** Takes tokens, even if that overdraws the bucket. */
  spend(tokens: number, now: number): void {
    this.#level = this.level(now) - tokens
  }

  /** When the bucket stops being overdrawn. */
  evenAt(now: number): number {
    return now + Math.max(-this.level(now), 0) / this.#rate
  }
}
