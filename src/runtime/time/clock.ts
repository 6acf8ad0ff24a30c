import { performance } from 'node:perf_hooks'
import { MessageChannel } from 'node:worker_threads'
import { LONGEST_MILLIS } from '../../api/options/option-table.ts'
import { outsideContext } from '../async-context.ts'
import {
  type ForeignTimers,
  foreignTimers,
  realNow,
  setRealImmediate,
  setRealTimeout,
} from './fake-timers.ts'

/** A timer that is set and has not run yet. */
export interface Timer {
  cancel(): void
  /** Sets whether the timer keeps the process alive. */
  hold(held: boolean): void
}

/** The time source of a pool. Tests of the pool replace it with a clock of their own. */
export interface Clock {
  /** Milliseconds, monotonic: never goes backwards. */
  now(): number
  /**
   * Like {@link now}, but may return an earlier reading, taken since the event loop last ran its microtasks to the end.
   * Cheaper; for times that are only reported. Optional: without it, callers use {@link now}.
   */
  recent?(): number
  /**
   * Runs a function when the event loop has run its microtasks to the end: readings of {@link recent} from before are
   * old then. Optional, as {@link recent} is.
   */
  afterMicrotasks?(run: () => void): void
  /**
   * Runs a function once after this many milliseconds, outside the caller's async context. A new timer does not keep
   * the process alive.
   */
  after(millis: number, run: () => void): Timer
  /** Runs a function after the next poll phase, when the data that is now in the kernel has been delivered. */
  turn(run: () => void): void
  /**
   * For how many milliseconds the event loop has been working instead of waiting for events, counted from a fixed
   * moment; `undefined` where this is unknown.
   */
  active(): number | undefined
  /**
   * Are the timers fake, so that a test decides when they fire? Then no timer is late and no stall can be measured.
   * Optional: without it, they are real.
   */
  isFake?(): boolean
  /** The event loop to which the clock belongs. Optional: without it, Node's own. */
  readonly loop?: EventLoop
}

/** What is known of an event loop: see `event-loop.ts`. */
export interface EventLoop {
  eachTurn(run: () => void): () => void
  metrics(): { readonly loopCount: number; readonly events: number } | undefined
}

/*
 * The system clock follows the timers in force, that is, the current global `setTimeout`. While a test has replaced
 * them with fake ones, the clock shows their time. It continues without a jump when fake timers are installed and when
 * they are removed. Pending timers move along, so that none is lost when a test ends.
 */

/** How soon the clock notices that fake timers have been removed. Milliseconds. */
const WATCH_MILLIS = 20

/** The `setTimeout` that was found at the last check. */
let inForce: typeof setTimeout | undefined
/** Describes the timers in force; `undefined` if they are Node's own. */
let foreign: ForeignTimers | undefined
/** The pool's time minus the time of the timers in force, in milliseconds. */
let shift = 0
/** Under foreign timers: the latest time known so far, from readings and from timers that fired. */
let latest = 0
/** True while the callback of a fake timer runs. The time is then the moment at which that timer was due. */
let isFiring = false
let isWatching = false
const pending = new Set<SystemTimer>()

function now(): number {
  if (setTimeout !== inForce) follow()
  return foreign === undefined ? realNow() + shift : foreignNow(foreign)
}

/** At most this many calls of `recent` share one reading of the clock. */
const RECENT_CALLS = 64
const { nextTick } = process
let recentNow = 0
let recentLeft = 0
let isResetPlanned = false

/** Runs when all microtasks are done, before the event loop continues. */
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

/** Called when the timers in force have changed. */
function follow(): void {
  // The old timers may not report the time any more.
  const before = foreign === undefined ? realNow() + shift : latest
  inForce = setTimeout
  recentLeft = 0
  foreign = foreignTimers(setTimeout)
  // Rounded up to a whole number, so that a 5000 ms deadline passes exactly when a test advances time by 5000.
  latest = foreign?.isFake ? Math.ceil(before) : before
  shift = latest - (foreign?.now() ?? realNow())
  isFiring = false
  for (const timer of pending) timer.set()
  if (foreign?.isFake) watch()
}

/** Checks regularly whether fake timers have been removed, because nothing else may call the clock again. */
function watch(): void {
  if (isWatching || setRealTimeout === undefined) return
  isWatching = true
  setRealTimeout(() => {
    isWatching = false
    if (setTimeout !== inForce) follow()
    else if (foreign?.isFake) watch()
  }, WATCH_MILLIS).unref()
}

/** A timer that is set again when the timers in force change. */
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

  /** Sets the timer among the timers in force. */
  set(): void {
    this.#clear()
    const millis = Math.min(
      foreign?.isFake ? this.#fakeDelay(foreign) : Math.max(Math.ceil(this.#due - now()), 1),
      LONGEST_MILLIS,
    )
    const timer = outsideContext(() => setTimeout(() => this.#fire(), millis))
    const clear = clearTimeout
    this.#clear = () => clear(timer)
    // In a browser-like environment (jsdom), a timer is a number and has neither method.
    this.#hold = held => (held ? timer.ref?.() : timer.unref?.())
    this.#hold(this.#isHeld)
  }

  /**
   * Fake time moves in whole milliseconds and may jump past several timers at once. Each one fires at the time it was
   * due.
   */
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
    // Not due yet: the delay was longer than Node's timers allow, so only a part of it has passed.
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
  afterMicrotasks: run => nextTick(run),
  after: (millis, run) => new SystemTimer(millis, run),
  // After a timer callback, the loop goes on to the poll phase and then to the check phase, where immediates run. So
  // one immediate is enough.
  turn(run) {
    outsideContext(() => (setRealImmediate === undefined ? byMessage(run) : setRealImmediate(run)))
  },
  active() {
    if (foreign?.isFake) return undefined
    const { duration, idleTime } = performance.nodeTiming
    // A loop that has never been idle does not measure idle time: it is not Node's, or something else drives it
    // (Electron).
    return idleTime > 0 ? duration - idleTime : undefined
  },
  isFake() {
    if (setTimeout !== inForce) follow()
    return foreign?.isFake === true
  },
}

/** A turn of the event loop where every immediate is fake. */
function byMessage(run: () => void): void {
  const { port1, port2 } = new MessageChannel()
  port1.once('message', () => {
    port1.close()
    run()
  })
  port2.postMessage(0)
}

/** Creates one object per clock. With the system clock, that is one per process. */
export function oncePerClock<R extends object>(make: (clock: Clock) => R): (clock: Clock) => R {
  const made = new WeakMap<Clock, R>()
  return clock => {
    const thing = made.get(clock) ?? make(clock)
    made.set(clock, thing)
    return thing
  }
}

/** Milliseconds since 1970 with fractions, for telemetry. Durations are never measured with it. */
export const epochMillis = (): number => performance.timeOrigin + performance.now()

/** The time of day as text, for people. Durations are never measured with it. */
export const timestamp = (): string => new Date().toISOString()

/** Called where the timers in force may have changed. */
export function followTimers(): void {
  if (setTimeout !== inForce) follow()
}

/** The time of day in milliseconds since 1970, as users mean it: the system may set it forward or back. */
export const timeOfDay = (): number => Date.now()
