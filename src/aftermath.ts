import type { Stalls } from './diagnostics.ts'
import { insideHook } from './events.ts'
import type { House } from './supply.ts'

/** @internal Most that a wait is prolonged after a stall. How long that was is known only from below. Milliseconds. */
export const MOST_MILLIS = 100
/** Something that was lent this short a time ago shows that things move. Milliseconds. */
const LATELY_MILLIS = 25

/**
 * After the event loop has stood still, one turn delivers what lies in the kernel. That is enough where a reply was all
 * that was missing, and too little where the next step is a command that could not be sent: a handshake of several
 * round trips, the PING that proves a connection, the last query of a holder. Measured with blocks of 300 ms against a
 * local Redis and deadlines of 200 ms: with the turn alone, every block cost the waiters of that moment.
 *
 * So those whose time ran out meanwhile wait on, for a short while, as long as connections are on their way, holders
 * are at work, or others are being served. Where nothing moves, the turn is all they get.
 */
export class Aftermath<T> {
  readonly #house: House<T>
  readonly #stalls: Stalls
  #acquired = 0
  #movedAt = Number.NEGATIVE_INFINITY

  constructor(house: House<T>, stalls: Stalls) {
    this.#house = house
    this.#stalls = stalls
  }

  /** The event loop runs again, and nothing has been delivered yet. */
  begin(): void {
    this.#acquired = this.#house.totals.acquired
    this.#movedAt = Number.NEGATIVE_INFINITY
  }

  /** Is it too early to judge those whose time is up, the first of whom has waited since then? */
  lasts(since: number, now: number): boolean {
    const stall = this.#stalls.last
    if (stall === undefined || since > stall.until || now >= stall.until + MOST_MILLIS) return false
    const { acquired } = this.#house.totals
    if (acquired !== this.#acquired) this.#movedAt = now
    this.#acquired = acquired
    const { connecting, validating, resetting } = this.#house.roster.census
    const isComing = connecting + validating + resetting > 0
    return isComing || now - this.#movedAt < LATELY_MILLIS || this.#isAtWork()
  }

  /** Has any holder a command under way? */
  #isAtWork(): boolean {
    const { factory, roster } = this.#house
    if (factory.busy === undefined) return false
    try {
      return insideHook(() =>
        [...roster.slots].some(slot => slot.state === 'lent' && factory.busy?.(slot.resource as T)),
      )
    } catch {
      return false
    }
  }
}
