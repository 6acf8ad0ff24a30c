/** First pause after a failed create, and the longest: "one probe a second". Milliseconds. */
const FIRST_PAUSE = 5
const LONGEST_PAUSE = 1000

type BreakerListener = (state: 'open' | 'closed', failures: number, error: unknown) => void

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
  /** A connection has died before anybody could use it: until a later one is of use, a create that went well means little. */
  unproven = false
  isOpen = false
  /** How often it has opened so far: tells who came while it was open, and who had been waiting by then. */
  openings = 0
  #rounds = 0
  #pausedSince = Number.NEGATIVE_INFINITY
  readonly #random: () => number
  readonly #listener: BreakerListener

  /** @param tell - hears when it opens, and when it closes, with the failures and the last error of that time */
  constructor(random: () => number, tell: BreakerListener) {
    this.#random = random
    this.#listener = tell
  }

  /** How many creates may be in flight at this moment. */
  allowedConnects(now: number): number {
    if (this.failures === 0) return Number.POSITIVE_INFINITY
    return now >= this.retryAt ? 1 : 0
  }

  /**
   * @param startedAt - when the failed create began: those of one wave count as one round of the backoff
   * @param stillborn - the create went well, but the connection died at once
   * @returns whether it was a probe of an open breaker
   */
  failed(error: unknown, startedAt: number, now: number, stillborn: boolean, max: number): boolean {
    if (stillborn) this.unproven = true
    this.failures += 1
    this.lastError = error
    if (startedAt >= this.#pausedSince) this.#pause(now)
    if (this.isOpen) return true
    if (this.failures >= max) {
      this.isOpen = true
      this.openings += 1
      this.#listener('open', this.failures, error)
    }
    return false
  }

  /**
   * A create has gone well, or a connection has been of use: it has answered, or a loan of it has ended well.
   * @param startedAt - when its create began: one from before the trouble does not speak for new ones
   */
  succeeded(startedAt: number, isOfUse: boolean): void {
    if (this.unproven && !(isOfUse && startedAt >= this.#pausedSince)) return
    const { isOpen, failures, lastError } = this
    this.unproven = false
    this.isOpen = false
    this.failures = 0
    this.lastError = undefined
    this.retryAt = 0
    this.#rounds = 0
    if (isOpen) this.#listener('closed', failures, lastError)
  }

  #pause(now: number): void {
    const pause = Math.min(FIRST_PAUSE * 2 ** this.#rounds, LONGEST_PAUSE)
    this.#rounds += 1
    this.#pausedSince = now
    // Half of it fixed, half random: processes that lost the same server do not come back in step.
    this.retryAt = now + pause / 2 + (pause / 2) * this.#random()
  }
}
