import type { PoolContext } from '../connecting/pool-context.ts'
import type { Waiter } from '../queue/waiter.ts'
import { runHook } from '../runtime/emitter.ts'
import type { Stalls } from '../runtime/stalls.ts'

/** @internal So much of the end of a wait is made up for, as far as the event loop stood still in it. Milliseconds. */
export const MAX_GRACE_MILLIS = 100
/** Something that was lent this short a time ago shows that things move. Milliseconds. */
const RECENT_MILLIS = 25
/** So many stalls that end after a deadline are waited for: a loop that always stands still must judge all the same. */
const MAX_STALLS = 4

/**
 * After the event loop has stood still, one turn delivers what lies in the kernel. That is enough where a reply was all
 * that was missing, and too little where the next step is a command that could not be sent: a handshake of several
 * round trips, the PING that proves a connection, the last query of a holder.
 *
 * So those whose time ran out meanwhile wait on, as long as connections are on their way, holders are at work, or
 * others are being served: until the loop has run for as much of the last 100 ms before the deadline as it stood
 * still. Where nothing moves, the turn is all they get.
 */
export class StallGrace<T> {
  readonly #context: PoolContext<T>
  readonly #stalls: Stalls
  #acquired = 0
  #movedAt = Number.NEGATIVE_INFINITY
  /** When it was last asked whether things move, and the answer. */
  #askedAt = Number.NEGATIVE_INFINITY
  #moves = false

  constructor(context: PoolContext<T>) {
    this.#context = context
    this.#stalls = context.stalls
  }

  /** The event loop runs again. */
  start(): void {
    this.#acquired = this.#context.totals.acquired
    this.#movedAt = Number.NEGATIVE_INFINITY
    this.#askedAt = Number.NEGATIVE_INFINITY
  }

  /** Is it too early to judge one whose time is up? */
  defers(waiter: Waiter<T>, now: number): boolean {
    const deadline = waiter.deadline
    const from = Math.max(waiter.since, deadline - MAX_GRACE_MILLIS)
    const { last, recent } = this.#stalls
    if (last === undefined || last.until <= from) return false
    if (now - from - this.#stalls.since(from) >= deadline - from) return false
    if ((recent.at(-MAX_STALLS - 1)?.until ?? Number.NEGATIVE_INFINITY) > deadline) return false
    if (now !== this.#askedAt) {
      this.#askedAt = now
      this.#moves = this.#isMoving(now)
    }
    return this.#moves
  }

  #isMoving(now: number): boolean {
    const { acquired } = this.#context.totals
    if (acquired !== this.#acquired) this.#movedAt = now
    this.#acquired = acquired
    const { connecting, validating, resetting } = this.#context.slots.counts
    const isComing = connecting + validating + resetting > 0
    return isComing || now - this.#movedAt < RECENT_MILLIS || this.#isAtWork()
  }

  /** Has any holder a command under way? */
  #isAtWork(): boolean {
    const { factory, slots } = this.#context
    if (factory.busy === undefined) return false
    try {
      return runHook(() =>
        [...slots.all].some(slot => slot.state === 'lent' && Boolean(factory.busy?.(slot.resource as T))),
      )
    } catch {
      return false
    }
  }
}
