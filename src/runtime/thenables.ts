/** Is this a promise, of whatever class? Does not throw. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  try {
    return typeof (value as { then?: unknown }).then === 'function'
  } catch {
    return false
  }
}

/**
 * A promise came from where none was expected, and nobody awaits it: its rejection must not end the process.
 * @returns whether it is one
 */
export function ignoreRejection(value: unknown): boolean {
  if (!isThenable(value)) return false
  Promise.resolve(value).catch(() => {})
  return true
}
