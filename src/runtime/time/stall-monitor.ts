import { STALL_MILLIS } from './alarm.ts'
import { type Clock, eachTurn, oncePerClock } from './clock.ts'

/** Is told of stalls. */
export interface StallObserver {
  /** The loop stood still until this time, for so many milliseconds; some of them may have been told before. */
  add(until: number, millis: number): void
}

/** After so many turns, listeners that have been collected are removed. */
const SWEEP_TURNS = 4096

/**
 * Measures for how long the event loop stands still, for all pools of a clock, without a timer: in the check phase of
 * each turn it looks for how long the loop has been at work, and not waiting for events, since the turn before. More
 * than `STALL_MILLIS` is a stall, and its length is exact, whoever caused it and whether or not a timer was due.
 *
 *     check ── timers ── poll: waits for events, then handles them ── check
 *          └── work ──┘        └── not counted ──┘  └── work ──┘
 *
 * In between looks every timer of a pool, as timers run before the check phase of a turn that was long, and whoever
 * judges by what is known of stalls.
 *
 * What is not seen: a process that was stopped or starved of CPU while the loop waited for events, which the kernel
 * counts as waiting. There the lateness of the timers tells, from below.
 *
 * A turn costs a quarter of a microsecond more for it; see `bench/studies/turns.ts`. An idle process has no turns.
 */
export class StallMonitor {
  readonly #clock: Clock
  /** Weak: the monitor must not keep a pool alive that nothing else holds. */
  readonly #listeners = new Set<WeakRef<StallObserver>>()
  /** What `clock.active` said at the beginning of this turn, or at the end of the last stall. */
  #active: number | undefined
  /** Has there been no poll phase yet since the last stall? */
  #isFresh = false
  #turns = 0
  #stop: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns ends it */
  join(listener: StallObserver): () => void {
    const ref = new WeakRef(listener)
    this.#listeners.add(ref)
    if (this.#stop === undefined) {
      this.#active = this.#clock.active()
      this.#stop = eachTurn(() => this.#turn())
    }
    return () => this.#forget(ref)
  }

  /** Reports a stall if the stretch since this turn began is one already. */
  update(): void {
    this.#report(this.#clock.active(), 0)
  }

  /** Told how late a timer fires, see {@link StallListener}. */
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

/** The one for this clock; with the system's clock, the one of the process. */
export const stallMonitorOf = oncePerClock(clock => new StallMonitor(clock))
