/** A token bucket: so much in a row, then so much a millisecond. What it is overdrawn by has to come in first. */
export class TokenBucket {
  #level: number
  #asOf: number
  readonly #size: number
  readonly #rate: number

  /** @param rate - tokens a millisecond of the caller's clock */
  constructor(size: number, rate: number, level: number, now: number) {
    this.#size = size
    this.#rate = rate
    this.#level = level
    this.#asOf = now
  }

  /** How many there are now; negative while it is overdrawn. */
  level(now: number): number {
    this.#level = Math.min(this.#size, this.#level + Math.max(now - this.#asOf, 0) * this.#rate)
    this.#asOf = now
    return this.#level
  }

  /** Takes some, whether they are there or not. */
  spend(tokens: number, now: number): void {
    this.#level = this.level(now) - tokens
  }

  /** When it is overdrawn no more. */
  evenAt(now: number): number {
    return now + Math.max(-this.level(now), 0) / this.#rate
  }
}
