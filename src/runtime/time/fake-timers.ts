import { performance } from 'node:perf_hooks'
import timers from 'node:timers'

/*
 * Recognises Node's own timers and their replacements in tests: sinon, Jest, Vitest, node:test, or hand-made ones.
 */

type SetTimeout = typeof setTimeout

/** Timers that are not Node's own. */
export interface ForeignTimers {
  /** Does a test decide when they fire? Then no timer is ever late. */
  readonly isFake: boolean
  /**
   * The time these timers go by, in milliseconds from a fixed moment. Where it stands still, only timers that fire show
   * that time passes.
   */
  now(): number
}

/**
 * The clock of `@sinonjs/fake-timers`, used by sinon, Jest and Vitest. Every function that it replaces refers to it.
 */
interface SinonClock {
  readonly now: number
  hrtime?(): [seconds: number, nanos: number]
  readonly _setTimeout?: typeof setTimeout
  readonly _setImmediate?: typeof setImmediate
  readonly _clearImmediate?: typeof clearImmediate
}

/** In Node, `performance` inherits `now`, so an own property is a fake. In Bun, the own property is the real one. */
const inherited = (Object.getPrototypeOf(performance) as Partial<typeof performance>).now
const nodesNow = inherited ?? performance.now

/** Milliseconds since the process started. Fakes of `performance` in tests do not affect it. */
export const realNow = (): number => nodesNow.call(performance)

/** The names that node:test gives to its timer functions. */
const BOUND = /^bound #/

function sinonClockOf(replaced: object): SinonClock | undefined {
  const { clock } = replaced as { clock?: unknown }
  return typeof clock === 'object' && clock !== null && typeof (clock as SinonClock).now === 'number'
    ? (clock as SinonClock)
    : undefined
}

/** Describes the timers in force; `undefined` if they are Node's own. */
export function foreignTimers(inForce: SetTimeout): ForeignTimers | undefined {
  const clock = sinonClockOf(inForce)
  // Uses the time since installation. The clock's `now` is the date, which tests may set to anything.
  if (clock !== undefined) return { isFake: true, now: () => sinceInstalled(clock) }
  if (BOUND.test(inForce.name)) return { isFake: true, now: () => nodesMockTime(inForce) }
  if ('_isMockFunction' in inForce) return { isFake: true, now: () => 0 }
  if (inForce === timers.setTimeout) return undefined
  // Hand-made. If `performance.now` was replaced too, they are fake. Otherwise a tool may only be wrapping
  // `setTimeout`, as tracers do.
  return {
    isFake: inherited !== undefined && Object.hasOwn(performance, 'now'),
    now: () => performance.now(),
  }
}

function sinceInstalled(clock: SinonClock): number {
  if (clock.hrtime === undefined) return clock.now
  const [seconds, nanos] = clock.hrtime()
  return seconds * 1000 + nanos / 1e6
}

/** node:test only exposes its time through the date, which may not be mocked, and through the due time of a timer. */
function nodesMockTime(inForce: SetTimeout): number {
  const timer = inForce(() => {}, 0) as { runAt?: unknown }
  clearTimeout(timer as ReturnType<SetTimeout>)
  return typeof timer.runAt === 'number' ? timer.runAt : 0
}

/** Node's own timers, even if this file is loaded while sinon, Jest or Vitest have replaced them. */
const sinon = sinonClockOf(timers.setImmediate)
const setTimer = sinon?._setTimeout ?? timers.setTimeout
const set = sinon?._setImmediate ?? timers.setImmediate
const areReal = !BOUND.test(set.name)

/** `undefined` where only the timers of node:test can be reached. */
export const setRealTimeout = areReal ? setTimer : undefined
export const setRealImmediate = areReal ? set : undefined
export const clearRealImmediate = sinon?._clearImmediate ?? timers.clearImmediate
