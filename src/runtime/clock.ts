import { performance } from 'node:perf_hooks'
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
