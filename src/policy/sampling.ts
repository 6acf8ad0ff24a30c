import type { ResolvedOptions } from '../options.ts'
import { Trace } from './stacks.ts'

/** First loans of a pool whose stack is taken, at the least: a start-up lease, and the first wave of a load. */
const FIRST_LOANS = 1000
/** Loans whose stack is taken after a nested acquire has been seen, so that the next one shows both. */
const AFTER_NESTED = 1024
/** In a pool that lets callers wait, the stack of one loan in so many is taken, for the report. */
const ONE_IN_WAITS = 256

/** Decides whose stack is taken: 2 to 3 µs each, several times a loan. */
export class Sampling {
  /** How many of the next loans have theirs taken. The hot path looks at this alone. */
  left: number
  /** Whether stacks are shown to people; the pool itself looks at some even so. */
  readonly shows: boolean
  readonly #most: number
  #waits = 0

  constructor({ captureStacks, nested, max }: ResolvedOptions) {
    this.shows = captureStacks !== 'off'
    const always = captureStacks === 'all' || nested === 'forbid' || nested === 'reuse'
    this.#most = always ? Number.POSITIVE_INFINITY : nested === 'allow' && !this.shows ? 0 : AFTER_NESTED
    this.left = always ? this.#most : nested === 'allow' ? 0 : Math.max(FIRST_LOANS, 3 * max)
  }

  /** @param above - our own function that the user has called */
  take(above: (...args: never[]) => unknown): Trace {
    this.left -= 1
    return new Trace(above)
  }

  /** A nested acquire has been seen, or what looks like one. */
  nested(): void {
    if (this.left < this.#most) this.left = this.#most
  }

  /** Somebody has to wait. */
  waiting(): void {
    this.#waits += 1
    if (this.#waits % ONE_IN_WAITS === 0 && this.left < 1) this.left = Math.min(1, this.#most)
  }
}
