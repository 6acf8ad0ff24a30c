import { type Clock, oncePerClock } from '../runtime/time/clock.ts'
import { eachTurn, loopMetrics } from '../runtime/time/event-loop.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'

/** When a connection is lent without a check, an undelivered FIN is never older than this. Milliseconds. */
export const GATE_MILLIS = 2
/**
 * If the thread showed no activity (a call of the pool, or a turn of the loop) for longer than this, it may have been
 * blocked: a wait for something outside (`Atomics.wait`, `execSync`) always takes longer. Measured on Linux: 0.02 ms.
 * Milliseconds.
 */
const GAP_MILLIS = 0.015
/**
 * How many checks each millisecond allows. A check takes 3 µs (10 on Node 20), so they use at most 2% of a core (6%),
 * however fast connections are lent.
 */
const CHECKS_PER_MILLI = 6
/**
 * The same for connections that have just answered. Beyond it they wait for the next poll phase, which is cheaper under
 * load: connections that are returned in one turn wait for it together.
 */
const ANSWERED_CHECKS_PER_MILLI = 0.25
/** How many checks can be saved up. */
const MOST_CHECKS = 300

/** What has to happen before a connection may be lent: nothing, a check in the kernel, or another poll phase. */
export type Needed = 'nothing' | 'check' | 'poll'

/** A pool that owns sockets. */
interface SocketOwner {
  /** Called when a turn of the event loop is about to poll. */
  onTurn(): void
}

/**
 * Knows what the event loop has delivered so far, for all pools of a clock.
 *
 * A FIN stays in the kernel until the poll phase has run. An immediate marks each turn. Between the last two marks
 * there was a whole poll phase, so everything that was in the kernel at the earlier mark has been delivered by the
 * later one.
 *
 *     check c1 ── timers ── poll ── check c0 ── timers ── poll: a callback runs now
 *              delivered by c0 ◄──┘                        └──► data that came since c1 may be undelivered
 */
export class PollPhase {
  readonly #clock: Clock
  /** The times of the last mark, and by when data must have arrived to be known as delivered. */
  #latest = Number.NEGATIVE_INFINITY
  #delivered = Number.NEGATIVE_INFINITY
  #markedIn: number | undefined
  #marks = 0
  #events: number | undefined
  /** The last activity of this thread, and the end of the last stretch without any. */
  #seenAt = Number.NEGATIVE_INFINITY
  #gapAt = Number.NEGATIVE_INFINITY
  readonly #checks = new TokenBucket(MOST_CHECKS, CHECKS_PER_MILLI, MOST_CHECKS, 0)
  readonly #answeredChecks = new TokenBucket(MOST_CHECKS, ANSWERED_CHECKS_PER_MILLI, MOST_CHECKS, 0)
  readonly #members = new Set<SocketOwner>()
  #stop: (() => void) | undefined
  /** The functions to run in the next turn, in the one after it, and so on. */
  readonly #waiting: (() => void)[][] = []
  #turning = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Called when a pool has sockets to watch. The marks cost half a microsecond per turn, and stop with the last socket.
   */
  join(member: SocketOwner): void {
    this.#members.add(member)
    this.#stop ??= eachTurn(this.#clock, () => this.#mark())
  }

  leave(member: SocketOwner): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#stop?.()
    this.#stop = undefined
    this.#latest = Number.NEGATIVE_INFINITY
    this.#delivered = Number.NEGATIVE_INFINITY
  }

  /** Records that the thread is active. Call it whenever a connection is lent or returned. */
  observe(now: number): void {
    if (now - this.#seenAt > GAP_MILLIS) this.#gapAt = now
    this.#seenAt = now
  }

  /** Records that the thread was busy with a check until now, so that this time does not count as blocked. */
  checked(now: number): void {
    this.#seenAt = now
  }

  /**
   * A connection may be lent at once if it was found alive, by the loop or by a check, after the thread may have been
   * blocked. When the checks have used up their share of time, only `GATE_MILLIS` is guaranteed. If it has answered since
   * it was found alive, the server may have closed it right behind that answer, so nothing is taken on trust.
   *
   * @param lookedAt - when a check last found it alive
   * @param heardAt - when data last arrived on it
   */
  needed(lookedAt: number, heardAt: number, now: number): Needed {
    const goodAt = Math.max(lookedAt, this.#delivered)
    if (heardAt > goodAt) return this.#answeredChecks.take(now) ? 'check' : 'poll'
    if (now - goodAt >= GATE_MILLIS) return 'check'
    return goodAt >= this.#gapAt || !this.#checks.take(now) ? 'nothing' : 'check'
  }

  /** The number of marks so far. */
  get marks(): number {
    return this.#marks
  }

  /**
   * Runs a function once all data that is now in the kernel has been delivered: after one or two turns.
   *
   * @param mayHide - data that is no fault may lie before a FIN. The FIN then needs another poll phase, because libuv
   * stops reading when a read returns less than it asked for
   * @returns as long as {@link marks} is this number, data that reaches the kernel will have been delivered by then too
   */
  barrier(run: () => void, mayHide: boolean): number | undefined {
    // Immediates set in the poll phase run before the next poll phase, all others after it.
    const turn = loopMetrics(this.#clock)?.loopCount
    const sinceMark = turn !== undefined && turn === this.#markedIn
    const turns = (sinceMark ? 1 : 2) + (mayHide ? 1 : 0)
    while (this.#waiting.length < turns) this.#waiting.push([])
    this.#waiting[turns - 1]?.push(run)
    this.#turn()
    return sinceMark ? undefined : this.#marks
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
    this.#marks += 1
    const now = this.#clock.now()
    this.observe(now)
    const metrics = loopMetrics(this.#clock)
    // The poll phase had nothing to do, so there was nothing in the kernel until now.
    const wasQuiet = metrics !== undefined && metrics.events === this.#events
    this.#delivered = wasQuiet ? now : this.#latest
    this.#latest = now
    this.#markedIn = metrics?.loopCount
    this.#events = metrics?.events
    for (const member of this.#members) member.onTurn()
  }
}

/** Returns the instance of this clock. The system clock has one for the whole process. */
export const pollPhaseOf = oncePerClock(clock => new PollPhase(clock))
