import { STALL_MILLIS } from './alarm.ts'
import { type Clock, oncePerClock } from './clock.ts'
import { eachTurn } from './event-loop.ts'

/** Is called when the event loop has been blocked. */
interface StallObserver {
  /** Is called with a stall: its end, and its length. A part of it may have been reported before. */
  add(until: number, millis: number): void
}

/** Listeners that have been garbage-collected are removed once in this many turns. */
const SWEEP_TURNS = 4096

/**
 * Measures how long the event loop is blocked, for all pools of a clock, without a timer. In the check phase of each
 * turn, it reads how long the loop has been working, not waiting for events, since the turn before. More than
 * `STALL_MILLIS` is a stall. Its length is exact, whatever caused it and whether or not a timer was due.
 *
 *     check ── timers ── poll: waits for events, then handles them ── check
 *          └── work ──┘        └── not counted ──┘  └── work ──┘
 *
 * It also measures whenever a timer of a pool fires, because timers run before the check phase of a long turn, and
 * whenever the pool is about to decide something that depends on stalls.
 *
 * It does not see a process that was stopped or starved of CPU while the loop waited for events, because the kernel
 * counts that as waiting. The lateness of timers then gives a lower bound.
 *
 * The cost is a quarter of a microsecond per turn, see `bench/studies/turns.ts`. An idle process has no turns.
 */
export class StallMonitor {
  readonly #clock: Clock
  /** Weak references: the monitor must not keep a pool alive that nothing else refers to. */
  readonly #listeners = new Set<WeakRef<StallObserver>>()
  /** The value of `clock.active` at the beginning of this turn, or at the end of the last stall. */
  #active: number | undefined
  /** True from the end of a stall until the next poll phase. */
  #isFresh = false
  #turns = 0
  #stop: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns a function that removes the listener */
  join(listener: StallObserver): () => void {
    const ref = new WeakRef(listener)
    this.#listeners.add(ref)
    if (this.#stop === undefined) {
      this.#active = this.#clock.active()
      this.#stop = eachTurn(this.#clock, () => this.#turn())
    }
    return () => this.#forget(ref)
  }

  /** Reports a stall if the current turn has already lasted long enough to be one. */
  update(): void {
    this.#report(this.#clock.active(), 0)
  }

  /** Called when a timer fires late, see {@link StallListener}. */
  late(millis: number): boolean {
    if (this.#clock.isFake?.()) return false
    this.#report(this.#clock.active(), millis)
    return this.#isFresh
  }

  #turn(): void {
    const active = this.#clock.active()
    this.#isFresh = false
    this.#report(active, 0)
    this.#active = active
    this.#turns += 1
    if (this.#turns % SWEEP_TURNS === 0) {
      for (const ref of this.#listeners) if (ref.deref() === undefined) this.#forget(ref)
    }
  }

  #report(active: number | undefined, late: number): void {
    const worked = active === undefined || this.#active === undefined ? 0 : active - this.#active
    const millis = Math.max(worked, late)
    if (millis < STALL_MILLIS) return
    this.#active = active
    this.#isFresh = true
    const now = this.#clock.now()
    for (const ref of this.#listeners) ref.deref()?.add(now, millis)
  }

  #forget(ref: WeakRef<StallObserver>): void {
    this.#listeners.delete(ref)
    if (this.#listeners.size > 0) return
    this.#stop?.()
    this.#stop = undefined
    this.#active = undefined
    this.#isFresh = false
  }
}

/** Returns the monitor of this clock. The system clock has one for the whole process. */
export const stallMonitorOf = oncePerClock(clock => new StallMonitor(clock))
