import { type Clock, eachTurn, loopMetrics, oncePerClock } from '../runtime/time/clock.ts'

/** An undelivered FIN is never older than this when a connection is lent without a look. Milliseconds. */
export const GATE_MILLIS = 2
/**
 * A stretch without a call of the pool or a turn of the loop that is longer than this is taken for a block: whoever
 * waits for something outside (`Atomics.wait`, `execSync`) cannot be back sooner. Measured on Linux: 0.02 ms.
 */
const GAP_MILLIS = 0.015
/** Looks that a millisecond pays for, 3 µs each: no more than 2 % of a core, however fast connections are lent. */
const LOOKS_PER_MILLI = 6
/** Looks that can be saved up: a millisecond's worth. */
const MOST_LOOKS = 300

/** A pool that owns sockets. */
export interface SocketOwner {
  /** Another turn of the event loop is about to poll. */
  onTurn(): void
}

/**
 * What the event loop has delivered by now, for all pools of a clock.
 *
 * A FIN lies in the kernel until the poll phase has run. An immediate marks each turn: when the latest one but one
 * ran, a whole poll phase was still to come before the latest, so whatever lay in the kernel by then is known.
 *
 *     check c1 ── timers ── poll ── check c0 ── timers ── poll: some callback, here and now
 *              delivered by c0 ◄──┘                        └──► may hold what came since c1
 */
export class PollPhase {
  readonly #clock: Clock
  /** Times of the last two marks. */
  #latest = Number.NEGATIVE_INFINITY
  #delivered = Number.NEGATIVE_INFINITY
  #markedIn: number | undefined
  #events: number | undefined
  /** The last sign of life of this thread, and the end of the last stretch without one. */
  #seenAt = Number.NEGATIVE_INFINITY
  #gapAt = Number.NEGATIVE_INFINITY
  #looks = MOST_LOOKS
  #paidUntil = Number.NEGATIVE_INFINITY
  readonly #members = new Set<SocketOwner>()
  #stop: (() => void) | undefined
  /** Who waits for the next turn, the one after it, and so on. */
  readonly #waiting: (() => void)[][] = []
  #turning = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A pool has sockets to watch. The marks cost half a microsecond a turn, and stop with the last socket. */
  join(member: SocketOwner): void {
    this.#members.add(member)
    this.#stop ??= eachTurn(() => this.#mark())
  }

  leave(member: SocketOwner): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#stop?.()
    this.#stop = undefined
    this.#latest = Number.NEGATIVE_INFINITY
    this.#delivered = Number.NEGATIVE_INFINITY
  }

  /** The thread is here: call it whenever a connection is lent or comes back. */
  observe(now: number): void {
    if (now - this.#seenAt > GAP_MILLIS) this.#gapAt = now
    this.#seenAt = now
  }

  /**
   * Need a connection not be looked at? Not if it was found good, by the loop or by a look, after the thread was last
   * away. When looks have used up their share of the time, `GATE_MILLIS` is all that is promised.
   *
   * @param lookedAt - when a look last found it good
   */
  trusts(lookedAt: number, now: number): boolean {
    const goodAt = Math.max(lookedAt, this.#delivered)
    if (now - goodAt >= GATE_MILLIS) return false
    return goodAt >= this.#gapAt || !this.#affordsLook(now)
  }

  get turn(): number | undefined {
    return loopMetrics()?.loopCount
  }

  /**
   * Runs the function when everything that lies in the kernel now has been delivered: after one turn or two.
   *
   * @param mayHide - data that is no fault may lie in front of a FIN, which then takes a poll phase of its own: libuv
   *   stops reading when the kernel has had less than it asked for
   */
  barrier(run: () => void, mayHide: boolean): void {
    // Immediates that are set in the poll phase run before the next poll, all others after it.
    const { turn } = this
    const sinceMark = turn !== undefined && turn === this.#markedIn
    const turns = (sinceMark ? 1 : 2) + (mayHide ? 1 : 0)
    while (this.#waiting.length < turns) this.#waiting.push([])
    this.#waiting[turns - 1]?.push(run)
    this.#turn()
  }

  #turn(): void {
    if (this.#turning) return
    this.#turning = true
    this.#clock.turn(() => {
      this.#turning = false
      const due = this.#waiting.shift() ?? []
      if (this.#waiting.length > 0) this.#turn()
      for (const run of due) run()
    })
  }

  #mark(): void {
    const now = this.#clock.now()
    this.observe(now)
    const metrics = loopMetrics()
    // A poll phase that found nothing to do: nothing lay in the kernel by now.
    const wasQuiet = metrics !== undefined && metrics.events === this.#events
    this.#delivered = wasQuiet ? now : this.#latest
    this.#latest = now
    this.#markedIn = metrics?.loopCount
    this.#events = metrics?.events
    for (const member of this.#members) member.onTurn()
  }

  #affordsLook(now: number): boolean {
    this.#looks = Math.min(this.#looks + (now - this.#paidUntil) * LOOKS_PER_MILLI, MOST_LOOKS)
    this.#paidUntil = now
    if (this.#looks < 1) return false
    this.#looks -= 1
    return true
  }
}

/** The one for this clock; with the system's clock, the one of the process. */
export const pollPhaseOf = oncePerClock(clock => new PollPhase(clock))
