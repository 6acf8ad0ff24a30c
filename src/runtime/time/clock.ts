import { performance } from 'node:perf_hooks'
import { MessageChannel } from 'node:worker_threads'
import { LONGEST_MILLIS } from '../../api/option-table.ts'
import { outsideContext } from '../async-context.ts'
import {
  clearRealImmediate,
  type ForeignTimers,
  foreignTimers,
  realNow,
  setRealImmediate,
  setRealTimeout,
} from './fake-timers.ts'

/** A timer that has been set and not yet run. */
export interface Timer {
  cancel(): void
  /** Whether the timer keeps the process alive. */
  hold(held: boolean): void
}

/** Time, as the pool sees it. Tests of the pool put a clock of their own in its place. */
export interface Clock {
  /** Milliseconds on a clock that never jumps back. */
  now(): number
  /**
   * The same, or what it was at an earlier call in this flood of microtasks: never older than the last time that the
   * event loop could wait. For what is only told to people. Left out: as {@link now}.
   */
  recent?(): number
  /** Runs once after so many milliseconds, in nobody's context. A new timer does not keep the process alive. */
  after(millis: number, run: () => void): Timer
  /** Runs after the poll phase has had its turn: what lies in the kernel by then has been delivered. */
  turn(run: () => void): void
  /**
   * For how many milliseconds the event loop has been at work since some time, and not waiting for events; undefined
   * where that is not known.
   */
  active(): number | undefined
  /** Do timers fire when a test says so? Then none is late, and no stall can be told. Left out: no. */
  isFake?(): boolean
}

/*
 * The system's clock follows the timers in force. While tests have fake ones, time is what these show, and it goes on
 * from where it was, into the fake time and out of it again. Timers that are pending move along, so that none is lost
 * when a test ends.
 */

/** How soon the end of fake timers is seen. Milliseconds. */
const WATCH_MILLIS = 20

/** The `setTimeout` that was looked at last. */
let inForce: typeof setTimeout | undefined
/** What it is, unless it is Node's own. */
let foreign: ForeignTimers | undefined
/** Between the pool's time and that of the timers in force. */
let shift = 0
/** Under foreign timers: as late as it is at least, by what was read and what has fired. */
let latest = 0
/** The callback of a fake timer runs: it is as late as the timer was due. */
let isFiring = false
let isWatching = false
const pending = new Set<SystemTimer>()

function now(): number {
  if (setTimeout !== inForce) follow()
  return foreign === undefined ? realNow() + shift : foreignNow(foreign)
}

/** So many calls of `recent` share one reading of the clock. */
const RECENT_CALLS = 64
const { nextTick } = process
let recentNow = 0
let recentLeft = 0
let isResetPlanned = false

/** Runs when the microtasks are through, before the event loop goes on. */
function forgetRecent(): void {
  recentLeft = 0
  isResetPlanned = false
}

function readRecent(): number {
  recentNow = now()
  if (foreign !== undefined) return recentNow
  recentLeft = RECENT_CALLS
  if (!isResetPlanned) {
    isResetPlanned = true
    nextTick(forgetRecent)
  }
  return recentNow
}

function recent(): number {
  if (recentLeft === 0) return readRecent()
  recentLeft -= 1
  return recentNow
}

function foreignNow(timers: ForeignTimers): number {
  if (!isFiring) latest = Math.max(latest, timers.now() + shift)
  return latest
}

/** The timers in force have changed. */
function follow(): void {
  // The old ones may not tell the time any more.
  const before = foreign === undefined ? realNow() + shift : latest
  inForce = setTimeout
  recentLeft = 0
  foreign = foreignTimers(setTimeout)
  // A whole number, so that a deadline of 5000 ms passes when a test has let 5000 pass.
  latest = foreign?.isFake ? Math.ceil(before) : before
  shift = latest - (foreign?.now() ?? realNow())
  isFiring = false
  for (const timer of pending) timer.set()
  if (foreign?.isFake) watch()
}

/** Sees that fake timers have gone, also where nothing happens any more. */
function watch(): void {
  if (isWatching || setRealTimeout === undefined) return
  isWatching = true
  setRealTimeout(() => {
    isWatching = false
    if (setTimeout !== inForce) follow()
    else if (foreign?.isFake) watch()
  }, WATCH_MILLIS).unref()
}

/** A timer that moves along when the timers in force change. */
class SystemTimer implements Timer {
  readonly #run: () => void
  #due: number
  #isHeld = false
  #clear: () => void = () => {}
  #hold: (held: boolean) => void = () => {}

  constructor(millis: number, run: () => void) {
    this.#run = run
    this.#due = now() + millis
    this.set()
    pending.add(this)
  }

  /** Sets it among the timers in force. */
  set(): void {
    this.#clear()
    const millis = Math.min(
      foreign?.isFake ? this.#fakeDelay(foreign) : Math.max(Math.ceil(this.#due - now()), 1),
      LONGEST_MILLIS,
    )
    const timer = outsideContext(() => setTimeout(() => this.#fire(), millis))
    const clear = clearTimeout
    this.#clear = () => clear(timer)
    // In a browser's environment a timer is a number.
    this.#hold = held => (held ? timer.ref?.() : timer.unref?.())
    this.#hold(this.#isHeld)
  }

  /** Fake time goes by whole milliseconds, and may have jumped past several timers at once: each fires as it was due. */
  #fakeDelay(timers: ForeignTimers): number {
    this.#due = Math.ceil(this.#due)
    return Math.max(this.#due - (timers.now() + shift), 0)
  }

  hold(held: boolean): void {
    this.#isHeld = held
    this.#hold(held)
  }

  cancel(): void {
    pending.delete(this)
    this.#clear()
  }

  #fire(): void {
    if (setTimeout !== inForce) follow()
    else if (foreign === undefined) this.#ring()
    else {
      latest = Math.max(latest, this.#due)
      isFiring = foreign.isFake
      try {
        this.#ring()
      } finally {
        isFiring = false
      }
    }
  }

  #ring(): void {
    // Of a delay longer than Node's timers know, a part has passed.
    if (this.#due - now() > 1) this.set()
    else {
      pending.delete(this)
      this.#run()
    }
  }
}

export const systemClock: Clock = {
  now,
  recent,
  after: (millis, run) => new SystemTimer(millis, run),
  // From a timer callback the loop goes on to poll and then to check, where immediates run: one is enough.
  turn(run) {
    outsideContext(() => (setRealImmediate === undefined ? byMessage(run) : setRealImmediate(run)))
  },
  active() {
    if (foreign?.isFake) return undefined
    const { duration, idleTime } = performance.nodeTiming
    // A loop that has never waited is one that does not tell: not Node's, or driven by somebody else (Electron).
    return idleTime > 0 ? duration - idleTime : undefined
  },
  isFake() {
    if (setTimeout !== inForce) follow()
    return foreign?.isFake === true
  },
}

/** A turn of the loop where all immediates are fake. */
function byMessage(run: () => void): void {
  const { port1, port2 } = new MessageChannel()
  port1.once('message', () => {
    port1.close()
    run()
  })
  port2.postMessage(0)
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

/** The time of day in milliseconds since 1970, with fractions, for telemetry; nothing is measured with it. */
export const epochMillis = (): number => performance.timeOrigin + performance.now()

/** The time of day, for people; nothing is measured with it. */
export const timestamp = (): string => new Date().toISOString()

const eachTurnRuns = new Set<() => void>()
let nextTurn: NodeJS.Immediate | undefined

function turned(): void {
  nextTurn = setRealImmediate?.(turned).unref()
  if (setTimeout !== inForce) follow()
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
  nextTurn ??= outsideContext(() => setRealImmediate?.(turned).unref())
  return () => {
    if (!eachTurnRuns.delete(run) || eachTurnRuns.size > 0) return
    clearRealImmediate(nextTurn)
    nextTurn = undefined
  }
}

/** How many turns the event loop has begun, and how many events it has handled; undefined where Node does not tell. */
export function loopMetrics(): { readonly loopCount: number; readonly events: number } | undefined {
  const timing = performance.nodeTiming as { uvMetricsInfo?: { loopCount: number; events: number } }
  return timing.uvMetricsInfo
}
