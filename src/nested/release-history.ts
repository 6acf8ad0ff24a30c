import { StackTrace } from '../runtime/stack-trace.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import { noteRelease, takingOf } from './plain-leases.ts'

/** Releases that are looked at in a row, and then in a second: some 15 µs each. */
const MOST_LOOKS = 200
const LOOKS_A_SECOND = 50

/** Notes where plain loans come back, as far as that is sampled: see `noteRelease`. */
export class ReleaseHistory {
  readonly #looks: TokenBucket

  constructor(now: number) {
    this.#looks = new TokenBucket(MOST_LOOKS, LOOKS_A_SECOND / 1000, MOST_LOOKS, now)
  }

  /** A loan is being ended by whoever has called. @param trace - the stack with which it was taken */
  note(trace: StackTrace, now: number): void {
    if (this.#looks.level(now) < 1) return
    this.#looks.spend(1, now)
    const taking = takingOf({ trace })
    const { frames } = new StackTrace(this.note)
    // Ended by the pool itself.
    if (taking === undefined || frames.length === 0) return
    noteRelease(taking.taker, frames.find(({ func }) => func === taking.taker.func)?.position)
  }
}
