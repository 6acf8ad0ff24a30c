import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import { StackTrace } from './stack-trace.ts'
import { TokenBucket } from './token-bucket.ts'

/** The least number of loans whose stacks are taken in a row: covers start-up leases and the first wave of load. */
const LEAST_BURST = 200
/**
 * Loans per second whose stacks are taken in the long run. Two stacks each cost 8 µs, so this is below 1% of a core.
 */
const LOANS_A_SECOND = 1000
/**
 * When more loans than that arrive, the next stacks are taken after this many milliseconds: those that have become
 * affordable, or a single one where no plain loan had its stack taken since the last time. For a `use`, stacks are only
 * shown to people, while the holder of a plain loan is known by them.
 */
const PAUSE = 5
/**
 * Under `nested: 'allow'`, stacks are only needed for the report. Once callers have to wait, one loan in this many has
 * its stack taken.
 */
const ONE_IN_WAITS = 256

/**
 * Decides which stacks are taken. It is a token bucket: all of them in a service of usual size, some of them in a
 * benchmark. The hot path only checks `left > 0 || now >= refillAt`.
 */
export class StackSampler {
  /** How many of the next loans have their stacks taken. */
  left: number
  /** When there may be more, in milliseconds of the pool's clock. */
  refillAt: number
  /** Whether stacks are shown to people. The pool itself needs some even if they are not. */
  readonly shows: boolean
  readonly #bucket: TokenBucket
  readonly #samples: boolean
  /** Was a stack of a plain loan taken since the last refill? */
  #sawPlain = false
  #waits = 0

  constructor(
    { captureStacks, nested, max }: Pick<ResolvedOptions, 'captureStacks' | 'nested' | 'max'>,
    now: number,
  ) {
    this.shows = captureStacks !== 'off'
    const always = captureStacks === 'all' || nested === 'forbid' || nested === 'reuse'
    const never = !always && nested === 'allow'
    const burst = Math.max(LEAST_BURST, 3 * max)
    this.#bucket = new TokenBucket(burst, LOANS_A_SECOND / 1000, 0, now)
    this.left = always ? Number.POSITIVE_INFINITY : never ? 0 : burst
    this.refillAt = never || always ? Number.POSITIVE_INFINITY : 0
    this.#samples = !never
  }

  /** May another stack be taken now, beside those of the sampled loans? */
  affords(now: number): boolean {
    if (this.left <= 0 && now >= this.refillAt) this.#refill(now)
    return this.left > 0
  }

  /**
   * @param above - the pool method that the user called; the stack starts at its caller
   * @param isPlain - whether the loan is not one of a `use`
   */
  capture(above: (...args: never[]) => unknown, now: number, isPlain: boolean): StackTrace {
    if (this.left <= 0) this.#refill(now)
    this.left -= 1
    if (isPlain) this.#sawPlain = true
    return new StackTrace(above)
  }

  /** Called when an acquire has to wait. */
  waiting(): void {
    if (this.#samples || !this.shows) return
    this.#waits += 1
    if (this.#waits % ONE_IN_WAITS === 0) this.left = 1
  }

  #refill(now: number): void {
    this.left = this.#sawPlain ? Math.max(1, Math.floor(this.#bucket.level(now))) : 1
    this.#sawPlain = false
    this.#bucket.spend(this.left, now)
    this.refillAt = now + PAUSE
  }
}
