import { inMicrotask } from '../runtime/async-context.ts'
import type { Clock } from '../runtime/clock.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import { AwaiterQuery, coverOf, provenKnot, stands, suspects } from './deadlock-search.ts'
import type { Knot, PoolNode } from './scope.ts'

/** The share of time that the verdict may take in the long run, one in so many; and so many milliseconds in a row. */
const VERDICT_SHARE = 20
const VERDICT_MILLIS = 50

/** What an {@link DetectionRun} asks of the pool for which it is made. */
export interface DetectionHost {
  hasWaiters(): boolean
  /** An examination by another pool has ended. */
  lookAgain(): void
  break(knot: Knot): void
}

/**
 * From a suspicion to its end, each step in a turn of the event loop of its own:
 *
 *     look ──► ask ──► ask … ──► prove ──► ask once more ──► break
 *      └── nobody is suspected      └── no knot                └── it does not stand any more
 */
export class DetectionRun {
  /** Until when it rests, as it has taken too much time; in milliseconds of the pool's clock. */
  restsUntil = 0
  readonly #member: PoolNode
  readonly #clock: Clock
  readonly #court: DetectionHost
  #isUnderWay = false
  /** For how many milliseconds it may work. */
  readonly #credit: TokenBucket

  constructor(member: PoolNode, clock: Clock, court: DetectionHost) {
    this.#member = member
    this.#clock = clock
    this.#court = court
    this.#credit = new TokenBucket(VERDICT_MILLIS, 1 / VERDICT_SHARE, VERDICT_MILLIS, clock.now())
  }

  /** Looks for a knot, unless that is being done, or it rests. */
  begin(): void {
    if (!this.#isUnderWay && this.#clock.now() >= this.restsUntil) this.#work(() => this.#look())
  }

  /** What the verdict does in one go. Once it has taken too much time, it rests. */
  #work(part: () => void): void {
    const before = this.#clock.now()
    part()
    this.#charge(before)
  }

  #charge(since: number): void {
    const now = this.#clock.now()
    this.#credit.spend(now - since, since)
    this.restsUntil = this.#credit.evenAt(now)
  }

  /** Of pools that are part of one knot one asks at a time: whoever is asked anew has no answer until then. */
  #look(): void {
    const suspicion = suspects(this.#member)
    if (suspicion.length === 0) return
    const other = suspicion.find(({ inquest }) => inquest !== undefined)?.inquest
    if (other !== undefined) {
      other.after.add(this.#court.lookAgain)
      return
    }
    const inquest = new AwaiterQuery(suspicion)
    if (inquest.isTooEarly) this.#end(inquest)
    else this.#examine(inquest)
  }

  /** In portions, with the loop turning in between: whatever lies unread in the kernel gets its say before the end. */
  #examine(inquest: AwaiterQuery): void {
    this.#isUnderWay = true
    const before = this.#clock.now()
    inquest.ask()
    // By then those who were asked have looked around.
    inMicrotask(() => this.#charge(before))
    this.#later(() => {
      inquest.hear()
      if (!inquest.isLast) return this.#examine(inquest)
      const knot = this.#court.hasWaiters() ? provenKnot(this.#member) : undefined
      if (knot === undefined) return this.#end(inquest)
      const { cases, waits } = coverOf(knot)
      inquest.renew(waits)
      this.#later(() => this.#confirm(inquest, knot, cases))
    })
  }

  /** Asks once more those by whom the knot stands or falls, and breaks it in the turn in which the last have answered. */
  #confirm(inquest: AwaiterQuery, knot: Knot, cases: Knot): void {
    inquest.ask()
    if (!inquest.isLast) {
      this.#later(() => {
        inquest.hear()
        this.#confirm(inquest, knot, cases)
      })
      return
    }
    inMicrotask(() => {
      this.#work(() => {
        inquest.hear()
        if (stands(cases, this.#member)) this.#court.break(knot)
        this.#end(inquest)
      })
    })
  }

  #end(inquest: AwaiterQuery): void {
    this.#isUnderWay = false
    inquest.end()
  }

  #later(part: () => void): void {
    this.#clock.turn(() => this.#work(part))
  }
}
