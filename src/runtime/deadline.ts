import { Alarm } from './alarm.ts'
import { outsideContext } from './async-context.ts'
import type { Clock } from './clock.ts'
import { runHook } from './emitter.ts'
import type { Stalls } from './stalls.ts'

/** How a hook ended. It always ends: by its own answer or by its deadline. */
export type Outcome<R> =
  | { readonly ok: true; readonly value: R }
  | { readonly ok: false; readonly error: unknown; readonly timedOut: boolean }

/** What bounding a hook needs to know of the pool. */
export interface HookLimits {
  readonly clock: Clock
  readonly stalls: Stalls
}

/** So often a deadline is moved for stalls: a loop that always stands still must not make hooks immortal. */
const MOST_MOVES = 3

/**
 * Runs a hook of the user's and never fails: a throw, a rejection and the deadline are outcomes.
 * The hook runs in nobody's context, and its signal is aborted when the deadline has passed.
 *
 * @param millis - the deadline; it waits for the poll phase after a stall, see {@link Alarm}, and is then moved, a few
 *   times at the most, by as long as the loop stood still: a handshake of several round trips, or a command that was not
 *   even sent yet, had nothing of that time
 * @param onLate - owns the value of a hook that succeeds after its deadline
 */
export function attempt<R>(
  hook: (signal: AbortSignal) => R | PromiseLike<R>,
  millis: number,
  limits: HookLimits,
  onLate?: (value: R) => void,
  abort = new AbortController(),
): Promise<Outcome<R>> {
  limits.stalls.start()
  return outsideContext(
    () =>
      new Promise<Outcome<R>>(settle => {
        const running = new Promise<R>(resolve => resolve(runHook(() => hook(abort.signal))))
        const alarm = deadlineAlarm(millis, limits, () =>
          settle(abandon(running, millis, limits, abort, onLate)),
        )
        const end = (outcome: Outcome<R>): void => {
          alarm.clear()
          settle(outcome)
        }
        running.then(
          value => end({ ok: true, value }),
          (error: unknown) => end({ ok: false, error, timedOut: false }),
        )
      }),
  )
}

/** The deadline has passed: tells the hook, and hears what it has to say to that, how far it has come for instance. */
async function abandon<R>(
  running: Promise<R>,
  millis: number,
  { clock }: HookLimits,
  abort: AbortController,
  onLate: ((value: R) => void) | undefined,
): Promise<Outcome<R>> {
  let error: unknown = new DOMException(`timed out after ${millis} ms`, 'TimeoutError')
  const answered = running.then(
    value => onLate?.(value),
    reason => {
      error = reason
    },
  )
  abort.abort(error)
  await Promise.race([answered, new Promise<void>(resolve => clock.turn(resolve))])
  return { ok: false, error, timedOut: true }
}

/** Rings when the time of a hook is up, and is fair after a stall. */
function deadlineAlarm(millis: number, { clock, stalls }: HookLimits, ring: () => void): Alarm {
  const from = clock.now()
  let stalled = 0
  let moves = MOST_MOVES
  const isEarly = (now: number): boolean => {
    const known = stalls.since(from)
    if (known > stalled && moves > 0) {
      stalled = known
      moves -= 1
    }
    return now < from + millis + stalled
  }
  const alarm = new Alarm(clock, ring, stalls, isEarly)
  alarm.set(from + millis)
  return alarm
}
