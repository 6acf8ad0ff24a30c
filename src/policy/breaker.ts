/** First pause after a failed create, and the longest: "one probe a second". Milliseconds. */
const FIRST_PAUSE = 5
const LONGEST_PAUSE = 1000

/**
 * What failed creates mean for the next ones: a pause that doubles, with jitter, up to a second, one create at a time
 * while it lasts, and after as many failures in a row as the pool has connections an open breaker: new acquires are
 * then told at once instead of joining a queue that nobody serves (go-redis does the same). Each create of an open
 * breaker is a probe. Their pause goes on doubling: a server that was away for a moment is found again in a moment.
 */
export class Breaker {
  /** Failed creates since the last good one. */
  failures = 0
  lastError: unknown
  /** No create before this time, in milliseconds of the pool's clock. */
  retryAt = 0
  /** A connection has died before anybody could use it: until a loan ends well, success means little. */
  unproven = false
  /** How often it has opened so far: tells who came while it was open, and who had been waiting by then. */
  openings = 0
  #rounds = 0
  #pausedSince = Number.NEGATIVE_INFINITY
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  isOpen(max: number): boolean {
    return this.failures >= max
  }

  /** How many creates may be in flight at this moment. */
  allowance(now: number): number {
    if (this.failures === 0) return Number.POSITIVE_INFINITY
    return now >= this.retryAt ? 1 : 0
  }

  /**
   * @param startedAt - when the failed create began: those of one wave count as one round of the backoff
   * @param stillborn - the create went well, but the connection died at once
   * @returns what that was: a failed probe, the failure that opens the breaker, or one of those before
   */
  failed(
    error: unknown,
    startedAt: number,
    now: number,
    stillborn: boolean,
    max: number,
  ): 'probe' | 'opening' | 'early' {
    const wasOpen = this.isOpen(max)
    if (stillborn) this.unproven = true
    this.failures += 1
    this.lastError = error
    if (startedAt >= this.#pausedSince) this.#pause(now)
    if (wasOpen) return 'probe'
    if (!this.isOpen(max)) return 'early'
    this.openings += 1
    return 'opening'
  }

  succeeded(): void {
    this.failures = 0
    this.lastError = undefined
    this.retryAt = 0
    if (!this.unproven) this.#rounds = 0
  }

  /** A loan has ended well. */
  proven(): void {
    this.unproven = false
    this.#rounds = 0
  }

  #pause(now: number): void {
    const pause = Math.min(FIRST_PAUSE * 2 ** this.#rounds, LONGEST_PAUSE)
    this.#rounds += 1
    this.#pausedSince = now
    // Half of it fixed, half random: processes that lost the same server do not come back in step.
    this.retryAt = now + pause / 2 + (pause / 2) * this.#random()
  }
}
