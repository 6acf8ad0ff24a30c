import { StackTrace } from '../runtime/stack-trace.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import { noteRelease, takingOf } from './plain-leases.ts'

/** A burst of `MOST_LOOKS` releases is recorded, then `LOOKS_A_SECOND`. Each costs about 15 µs. */
const MOST_LOOKS = 20
const LOOKS_A_SECOND = 50

/** Records where plain loans come back, for a sample of the releases: see `noteRelease`. */
export class ReleaseHistory {
  readonly #looks: TokenBucket

  constructor(now: number) {
    this.#looks = new TokenBucket(MOST_LOOKS, LOOKS_A_SECOND / 1000, MOST_LOOKS, now)
  }

  /**
   * Called while a loan is being ended, on the stack of the code that ends it.
   * @param trace - the stack with which the loan was taken
   */
  note(trace: StackTrace, now: number): void {
    if (!this.#looks.take(now)) return
    const taking = takingOf({ trace })
    const { frames } = new StackTrace(this.note)
    // No user frame: the pool itself ends the loan.
    if (taking === undefined || frames.length === 0) return
    noteRelease(taking.taker, frames.find(({ func }) => func === taking.taker.func)?.position)
  }
}
