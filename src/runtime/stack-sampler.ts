import type { ResolvedOptions } from '../api/resolve-options.ts'
import { StackTrace } from './stack-trace.ts'
import { TokenBucket } from './token-bucket.ts'

/** Loans whose stack is taken in a row, at the least: a start-up lease, and the first wave of a load. */
const LEAST_BURST = 200
/** In the long run, loans in a second: two stacks each, 8 µs in all, make less than one percent of a core. */
const LOANS_A_SECOND = 1000
/** While there are more than that, how long until some more are sampled, in milliseconds. */
const PAUSE = 5
/** In a pool that lets callers wait, and knows no scopes, the stack of one loan in so many is taken, for the report. */
const ONE_IN_WAITS = 256

/**
 * Decides whose stack is taken, as a token bucket: all of them in a service of usual size, a part in a benchmark. The
 * hot path asks `left > 0 || now >= refillAt`, and nothing else.
 */
export class StackSampler {
  /** How many of the next loans have their stack taken. */
  left: number
  /** When there may be more, in milliseconds of the pool's clock. */
  refillAt: number
  /** Whether stacks are shown to people; the pool itself looks at some even so. */
  readonly shows: boolean
  readonly #bucket: TokenBucket
  readonly #samples: boolean
  #waits = 0

  constructor({ captureStacks, nested, max }: ResolvedOptions, now: number) {
    this.shows = captureStacks !== 'off'
    const always = captureStacks === 'all' || nested === 'forbid' || nested === 'reuse'
    const never = !always && nested === 'allow'
    const burst = Math.max(LEAST_BURST, 3 * max)
    this.#bucket = new TokenBucket(burst, LOANS_A_SECOND / 1000, 0, now)
    this.left = always ? Number.POSITIVE_INFINITY : never ? 0 : burst
    this.refillAt = never || always ? Number.POSITIVE_INFINITY : 0
    this.#samples = !never
  }

  /** May a stack be taken now, beside the loans that are sampled? */
  affords(now: number): boolean {
    if (this.left <= 0 && now >= this.refillAt) this.#refill(now)
    return this.left > 0
  }

  /** @param above - our own function that the user has called */
  capture(above: (...args: never[]) => unknown, now: number): StackTrace {
    if (this.left <= 0) this.#refill(now)
    this.left -= 1
    return new StackTrace(above)
  }

  /** Somebody has to wait. */
  waiting(): void {
    if (this.#samples || !this.shows) return
    this.#waits += 1
    if (this.#waits % ONE_IN_WAITS === 0) this.left = 1
  }

  #refill(now: number): void {
    this.left = Math.max(1, Math.floor(this.#bucket.level(now)))
    this.#bucket.spend(this.left, now)
    this.refillAt = now + PAUSE
  }
}
