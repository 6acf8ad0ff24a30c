import { performance } from 'node:perf_hooks'
import timers from 'node:timers'

/* Node's own timers, and what tests put in their place: sinon, Jest and Vitest, node:test, or something made by hand. */

type SetTimeout = typeof setTimeout

/** Timers that are not Node's own. */
export interface ForeignTimers {
  /** Do they fire when a test says so? Then nothing is ever late. */
  readonly isFake: boolean
  /** The time that they go by, in milliseconds since some moment. One that stands still is told by what fires alone. */
  now(): number
}

/** The clock of `@sinonjs/fake-timers`, which sinon, Jest and Vitest use; each function that it replaces has it. */
interface SinonClock {
  readonly now: number
  hrtime?(): [seconds: number, nanos: number]
  readonly _setTimeout?: typeof setTimeout
  readonly _setImmediate?: typeof setImmediate
  readonly _clearImmediate?: typeof clearImmediate
}

/** Node's is inherited, so that an own one is a fake; Bun's is its own. */
const inherited = (Object.getPrototypeOf(performance) as Partial<typeof performance>).now
const nodesNow = inherited ?? performance.now

/** Milliseconds since the process started, whatever tests do to `performance`. */
export const realNow = (): number => nodesNow.call(performance)

/** How node:test names the functions that it puts in place of timers. */
const BOUND = /^bound #/

function sinonClockOf(replaced: object): SinonClock | undefined {
  const { clock } = replaced as { clock?: unknown }
  return typeof clock === 'object' && clock !== null && typeof (clock as SinonClock).now === 'number'
    ? (clock as SinonClock)
    : undefined
}

/** What the timers in force are; undefined: Node's own. */
export function foreignTimers(inForce: SetTimeout): ForeignTimers | undefined {
  const clock = sinonClockOf(inForce)
  // The time since it was installed: its `now` is the date, which tests set as they like.
  if (clock !== undefined) return { isFake: true, now: () => sinceInstalled(clock) }
  if (BOUND.test(inForce.name)) return { isFake: true, now: () => nodesMockTime(inForce) }
  if ('_isMockFunction' in inForce) return { isFake: true, now: () => 0 }
  if (inForce === timers.setTimeout) return undefined
  // Made by hand: a fake if the time has been replaced as well, or else perhaps a tool that looks on, as tracers do.
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

/** node:test tells its time by the date, which may not be fake, and by when a timer would fire. */
function nodesMockTime(inForce: SetTimeout): number {
  const timer = inForce(() => {}, 0) as { runAt?: unknown }
  clearTimeout(timer as ReturnType<SetTimeout>)
  return typeof timer.runAt === 'number' ? timer.runAt : 0
}

/** Node's own timers, also if this file is loaded while those of sinon, Jest or Vitest are in force. */
const sinon = sinonClockOf(timers.setImmediate)
const setTimer = sinon?._setTimeout ?? timers.setTimeout
const set = sinon?._setImmediate ?? timers.setImmediate
const areReal = !BOUND.test(set.name)

/** Undefined where the timers of node:test are all there is. */
export const setRealTimeout = areReal ? setTimer : undefined
export const setRealImmediate = areReal ? set : undefined
export const clearRealImmediate = sinon?._clearImmediate ?? timers.clearImmediate
