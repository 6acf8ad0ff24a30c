import { messageOf, PoolError } from '../errors.ts'
import type { PoolStats } from '../stats.ts'

/*
 * How the cause of an error is quoted in its message.
 */

/** Longer texts of others are cut in a message: `error.cause` has them in full. */
const MOST_CHARACTERS = 240

/** What the error says, cut if it is long. */
export function brief(cause: unknown, most = MOST_CHARACTERS): string {
  const text = messageOf(cause).trimEnd()
  return text.length > most ? `${text.slice(0, most)}…` : text
}

/** How the error about a connect begins that has not ended yet. */
export const IN_PROGRESS = 'a connect has been in progress'

/** What the error says. One of this pool repeats neither its name nor its numbers, which stand beside it. */
export function ownText(cause: unknown, pool: string): string {
  const text = messageOf(cause).trimEnd()
  if (!(cause instanceof PoolError) || cause.pool !== pool) return text
  return text.replace(`pool '${pool}': `, '').replace(/ \(total=[^)]*\)/, '')
}

/** The last error while connecting. One of the pool's own repeats neither its name nor its numbers. */
export function lastError(cause: unknown, { name }: PoolStats): string {
  if (cause === undefined) return ''
  const isOwn = cause instanceof PoolError && cause.pool === name
  const own = ownText(cause, name)
  // Nothing has failed yet.
  if (isOwn && own.startsWith(IN_PROGRESS)) return ` A${own.slice(1)}.`
  return ` Last error while connecting: ${isOwn ? own : brief(cause)}.`
}

/** How far connecting had got when it failed, in words, where an adapter knows. */
const progress = new WeakMap<Error, string>()

export function noteProgress<E extends Error>(error: E, words: string): E {
  progress.set(error, words)
  return error
}

/** The same, to follow a number of milliseconds. */
export function progressOf(error: unknown): string {
  const words = progress.get(error as Error)
  return words === undefined ? '' : `, given up ${words}`
}
