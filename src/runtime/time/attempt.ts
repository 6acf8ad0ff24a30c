import { outsideContext } from '../async-context.ts'
import { runHook } from '../emitter.ts'
import type { Clock } from './clock.ts'
import { Deadlines } from './deadlines.ts'
import type { Stalls } from './stalls.ts'

/** How a hook ended. It always ends: by its own answer or by its deadline. */
export type Outcome<R> =
  | { readonly ok: true; readonly value: R }
  | { readonly ok: false; readonly error: unknown; readonly timedOut: boolean }

/** What the deadline of a hook needs from the pool. */
export interface HookLimits {
  readonly clock: Clock
  readonly stalls: Stalls
  readonly hookDeadlines: Deadlines<HookRun>
}

/** A hook that is running. */
export class HookRun {
  hasEnded = false
  readonly since: number
  readonly deadline: number
  readonly expire: () => void

  constructor(since: number, millis: number, expire: () => void) {
    this.since = since
    this.deadline = since + millis
    this.expire = expire
  }
}

/** The deadlines of all hooks of a pool. */
export const newHookDeadlines = (clock: Clock, stalls: Stalls): Deadlines<HookRun> =>
  new Deadlines(clock, stalls, { expire: run => run.expire() })

/**
 * Runs a hook of the user's and never fails: a throw, a rejection and the deadline are outcomes.
 * The hook runs in nobody's context, and its signal is aborted when the deadline has passed.
 *
 * @param millis - the deadline; after a stall it waits for the poll phase and is put off, see {@link Stalls.grace}
 * @param onLate - owns the value of a hook that succeeds after its deadline
 */
export function attempt<R>(
  hook: (signal: AbortSignal) => R | PromiseLike<R>,
  millis: number,
  limits: HookLimits,
  onLate?: (value: R) => void,
  abort = new AbortController(),
): Promise<Outcome<R>> {
  const { clock, stalls, hookDeadlines } = limits
  stalls.start()
  return outsideContext(
    () =>
      new Promise<Outcome<R>>(settle => {
        const running = new Promise<R>(resolve => resolve(runHook(() => hook(abort.signal))))
        const end = (outcome: Outcome<R> | Promise<Outcome<R>>): void => {
          if (run.hasEnded) return
          run.hasEnded = true
          if (hookDeadlines.ended() === 0) hookDeadlines.stop()
          settle(outcome)
        }
        const run = new HookRun(clock.now(), millis, () =>
          end(abandon(running, millis, clock, abort, onLate)),
        )
        hookDeadlines.add(run)
        running.then(
          value => end({ ok: true, value }),
          (error: unknown) => end({ ok: false, error, timedOut: false }),
        )
      }),
  )
}

/**
 * The deadline has passed: aborts the hook's signal and gives it one turn to settle with an error of its own, which
 * may say how far it had come.
 */
async function abandon<R>(
  running: Promise<R>,
  millis: number,
  clock: Clock,
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
