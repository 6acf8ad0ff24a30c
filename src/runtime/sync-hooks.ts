import type { Factory } from '../api/factory.ts'
import { isNews, warn } from '../api/messages/warnings.ts'
import { runHook } from './emitter.ts'
import { ignoreRejection } from './thenables.ts'

/**
 * Asks a user's hook that has to answer at once. An `async` one gives a promise, which answers nothing: a process warning
 * says so, and its rejection ends no process.
 */
export function askHook<R>(name: string, ask: () => R): R {
  const answer = runHook(ask)
  if (ignoreRejection(answer) && isNews(`async ${name}`)) {
    warn(
      'HOOK',
      `factory.${name} gave a promise, which is not awaited. Make it a function that is not async and returns its result at once`,
    )
  }
  return answer
}

/**
 * Has the connection work without an answer, by `factory.busy`? That may answer with the name of a command. If it throws,
 * nothing proves that the connection is at rest, so it counts as busy.
 */
export function isBusy<T>(factory: Factory<T>, resource: T): boolean {
  try {
    return Boolean(askHook('busy', () => factory.busy?.(resource)))
  } catch {
    return true
  }
}
