import { outsideContext } from '../async-context.ts'
import { runHook } from '../emitter.ts'
import type { Clock } from './clock.ts'
import { Deadlines } from './deadlines.ts'
import type { Stalls } from './stalls.ts'

/** How a hook ended. Every hook ends, either with its own result or at its deadline. */
type Outcome<R> =
  | { readonly ok: true; readonly value: R }
  | { readonly ok: false; readonly error: unknown; readonly timedOut: boolean }

/** What the deadline of a hook needs from its pool. */
interface HookLimits {
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

/** Creates the deadlines that all hooks of a pool share. */
export const newHookDeadlines = (clock: Clock, stalls: Stalls): Deadlines<HookRun> =>
  new Deadlines(clock, stalls, { expire: run => run.expire() })

/**
 * Runs a user's hook. The returned promise never rejects: an exception, a rejection and the deadline are outcomes. The
 * hook runs outside the caller's async context, and its signal is aborted when the deadline has passed.
 *
 * @param millis - the time limit; if it passes during a stall, it is extended (see {@link Stalls.grace})
 * @param onLate - receives the value of a hook that succeeds after its deadline, and has to dispose of it
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
 * Called when the deadline has passed. Aborts the hook's signal, then gives the hook one turn of the event loop to
 * reject with its own error, which may say how far it got.
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
