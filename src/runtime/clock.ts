import { performance } from 'node:perf_hooks'
import { LONGEST_MILLIS } from '../api/option-rules.ts'
import { outsideContext } from './async-context.ts'

/** A timer that has been set and not yet run. */
export interface Timer {
  cancel(): void
  /** Whether the timer keeps the process alive. */
  hold(held: boolean): void
}

/** Time, as the pool sees it. Tests put a clock of their own in its place. */
export interface Clock {
  /** Milliseconds on a clock that never jumps back. */
  now(): number
  /** Runs once after so many milliseconds, in nobody's context. A new timer does not keep the process alive. */
  after(millis: number, run: () => void): Timer
  /** Runs after the poll phase has had its turn: what lies in the kernel by then has been delivered. */
  turn(run: () => void): void
  /**
   * For how many milliseconds the event loop has been at work since some time, and not waiting for events; undefined
   * where that is not known.
   */
  active(): number | undefined
}

export const systemClock: Clock = {
  // By way of `globalThis`, a getter of Node's, each of the two reads of a loan takes 10 ns more. Not bound: fake timers
  // replace this together with `setTimeout`.
  now: () => performance.now(),
  after(millis, run) {
    const timer = outsideContext(() => setTimeout(run, millis).unref())
    return {
      cancel: () => clearTimeout(timer),
      hold(held) {
        if (held) timer.ref()
        else timer.unref()
      },
    }
  },
  // From a timer callback the loop goes on to poll and then to check, where immediates run: one is enough.
  turn(run) {
    outsideContext(() => setImmediate(run))
  },
  active() {
    const { duration, idleTime } = performance.nodeTiming
    // A loop that has never waited is one that does not tell: not Node's, or driven by somebody else (Electron).
    return idleTime > 0 ? duration - idleTime : undefined
  },
}

/** Makes a thing once for each clock; with the system's clock, once in the process. */
export function oncePerClock<R extends object>(make: (clock: Clock) => R): (clock: Clock) => R {
  const made = new WeakMap<Clock, R>()
  return clock => {
    const thing = made.get(clock) ?? make(clock)
    made.set(clock, thing)
    return thing
  }
}

/** The time of day, for people; nothing is measured with it. */
export const timestamp = (): string => new Date().toISOString()

const eachTurnRuns = new Set<() => void>()
let nextTurn: NodeJS.Immediate | undefined

function turned(): void {
  nextTurn = setImmediate(turned).unref()
  for (const run of eachTurnRuns) run()
}

/**
 * Runs once in every turn of the event loop, in the check phase, in nobody's context. One unref'd immediate for all: it
 * neither wakes the loop nor keeps the process alive, so an idle process pays nothing for it.
 *
 * @returns ends it
 */
export function eachTurn(run: () => void): () => void {
  eachTurnRuns.add(run)
  nextTurn ??= outsideContext(() => setImmediate(turned).unref())
  return () => {
    if (!eachTurnRuns.delete(run) || eachTurnRuns.size > 0) return
    clearImmediate(nextTurn)
    nextTurn = undefined
  }
}

/** How many turns the event loop has begun, and how many events it has handled; undefined where Node does not tell. */
export function loopMetrics(): { readonly loopCount: number; readonly events: number } | undefined {
  const timing = performance.nodeTiming as { uvMetricsInfo?: { loopCount: number; events: number } }
  return timing.uvMetricsInfo
}

/**
 * A turn of the loop that takes so long, or a timer that is so late, did not lose the odd millisecond: the loop stood
 * still. Well above the scheduling noise of a loaded machine, well below any deadline worth setting.
 */
export const STALL_MILLIS = 25

/**
 * Told how late a timer fires, in milliseconds.
 * @returns whether the loop has stood still just now, so that what came meanwhile still lies unread in the kernel
 */
export type StallListener = (millis: number) => boolean

/** So many turns in a row, each of them a stall, are waited for: a loop that is always late must judge all the same. */
const MOST_YIELDS = 3
/** How long a moment of mercy is. */
const DEFER_MILLIS = 5
const none = (): boolean => false

/**
 * One timer that can be set earlier again and again, and that does not judge in haste: when the loop has stood still,
 * it lets the poll phase run first. Node runs due timers before it polls, so at that moment the answers that came in
 * time still lie unread in the kernel.
 */
export class Alarm {
  readonly #clock: Clock
  readonly #ring: () => void
  readonly #onLate: StallListener
  readonly #defers: (now: number) => boolean
  #timer: Timer | undefined
  #held = false
  #at = Number.POSITIVE_INFINITY
  #firesAt = 0
  #yielding = false

  /** @param mercy - asked before it rings: is it too early to judge, for a moment more? */
  constructor(clock: Clock, ring: () => void, onLate: StallListener, mercy: (now: number) => boolean = none) {
    this.#clock = clock
    this.#ring = ring
    this.#onLate = onLate
    this.#defers = mercy
  }

  get isSet(): boolean {
    return this.#timer !== undefined || this.#yielding
  }

  /** Rings at that time, or earlier if it already was to. An infinite time holds the process and never rings. */
  set(at: number): void {
    if (this.isSet && at >= this.#at) return
    this.#at = at
    if (!this.#yielding) this.#arm()
  }

  /** Whether waiting for it keeps the process alive. */
  hold(held: boolean): void {
    if (held === this.#held) return
    this.#held = held
    this.#timer?.hold(held)
  }

  clear(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#at = Number.POSITIVE_INFINITY
    this.#yielding = false
  }

  #arm(now = this.#clock.now(), at = this.#at): void {
    this.#timer?.cancel()
    const delay = Math.min(Math.max(Math.ceil(at - now), 1), LONGEST_MILLIS)
    this.#firesAt = now + delay
    this.#timer = this.#clock.after(delay, () => this.#fire())
    if (this.#held) this.#timer.hold(true)
  }

  #fire(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    if (this.#onLate(now - this.#firesAt)) {
      this.#yielding = true
      this.#yield(now, MOST_YIELDS)
    } else this.#judge()
  }

  #yield(since: number, left: number): void {
    this.#clock.turn(() => {
      if (!this.#yielding) return
      const now = this.#clock.now()
      // What was delivered in this very turn may have stopped the loop again.
      if (this.#onLate(now - since) && left > 1) {
        this.#yield(now, left - 1)
        return
      }
      this.#yielding = false
      this.#judge()
    })
  }

  #judge(): void {
    // Not yet: the delay was capped, a timer may fire a fraction early, or the alarm was cleared and set anew.
    const now = this.#clock.now()
    if (now < this.#at) this.#arm(now)
    else if (this.#defers(now)) this.#arm(now, now + DEFER_MILLIS)
    else this.#end()
  }

  #end(): void {
    this.#at = Number.POSITIVE_INFINITY
    this.#ring()
  }
}
