import { StackTrace } from '../runtime/stack-trace.ts'

/*
 * The functions of this file are async, and the promise that they return is the one that the caller awaits. So whenever
 * they are resumed, V8 can tell from it who awaits the acquire at that moment: the functions that are really suspended on
 * it, all others left out.
 */

/** Who awaits an acquire, from inner to outer. */
export interface Awaiters {
  /** As they were when they were last asked for. */
  chain: StackTrace | undefined
}

/** Wakes {@link answer}, to look again; then it waits for this. */
export class Question {
  readonly next: Promise<unknown>

  constructor(next: Promise<unknown>) {
    this.next = next
  }
}

/** The async frames that are looked at: enough for deep recursion. */
const DEPTH = 200

/**
 * Stands between an acquire that waits and its caller from the time when it is first asked who awaits it: the promise
 * that the caller has is resolved with the one of this function, which nobody notices.
 *
 * @param served - fulfilled with what the acquire is served with, or with another {@link Question}
 */
export async function answer(awaiters: Awaiters, served: Promise<unknown>): Promise<unknown> {
  // So many turns of the queue it takes until the caller's promise follows this one.
  await undefined
  await undefined
  await undefined
  for (;;) {
    awaiters.chain = new StackTrace(answer, DEPTH)
    const value = await served
    if (!(value instanceof Question)) return value
    served = value.next
  }
}

/** Hands over what a plain acquire has been served with, and notes who gets it. */
export async function noteOwners<R>(served: Promise<R>, trace: StackTrace): Promise<R> {
  // So long it takes until an async helper that returns this promise follows it.
  await undefined
  await undefined
  const lent = await served
  trace.owners = new StackTrace(noteOwners)
  return lent
}
