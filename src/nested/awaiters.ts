import { StackTrace } from '../runtime/stack-trace.ts'

/*
 * Each function in this file is async, and the caller awaits the promise that it returns. So whenever one of these
 * functions resumes, V8 can tell from that promise who awaits the acquire at that moment: exactly the functions that
 * are suspended on it, and no others.
 */

/** The functions that await an acquire, from inner to outer. */
export interface Awaiters {
  /** The state at the time of the last question. */
  chain: StackTrace | undefined
}

/** Makes {@link answer} take the stack again, and then wait for `next`. */
export class Question {
  readonly next: Promise<unknown>

  constructor(next: Promise<unknown>) {
    this.next = next
  }
}

/** The most async frames that are read from one stack. 200 is enough for deep recursion. */
const DEPTH = 200

/**
 * Runs between a waiting acquire and its caller from the moment somebody first asks who awaits the acquire. The
 * caller's promise is resolved with the promise of this function. The caller does not notice.
 *
 * @param served - resolves with what the acquire is served with, or with another {@link Question}
 */
export async function answer(awaiters: Awaiters, served: Promise<unknown>): Promise<unknown> {
  // The caller's promise follows this function's promise in a microtask behind the first of these. Before that, V8 does
  // not see the caller.
  await undefined
  await undefined
  for (;;) {
    awaiters.chain = new StackTrace(answer, DEPTH)
    const value = await served
    if (!(value instanceof Question)) return value
    served = value.next
  }
}

/** Passes on what a plain acquire was served with, and records the stack of those who receive it. */
export async function recordOwners<R>(served: Promise<R>, trace: StackTrace): Promise<R> {
  // An async helper that returns this promise follows it in a microtask behind this one.
  await undefined
  const lent = await served
  trace.owners = new StackTrace(recordOwners)
  return lent
}

/**
 * Rejects a waiting acquire, once the stack of those who await it has been taken. The caller's promise is resolved with
 * the promise of this function.
 */
export async function rejectTo(told: (awaiters: StackTrace) => void, error: unknown): Promise<never> {
  // See `answer`.
  await undefined
  await undefined
  told(new StackTrace(rejectTo))
  throw error
}
