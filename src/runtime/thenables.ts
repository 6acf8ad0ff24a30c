/** Is the value a promise, of any class? Does not throw. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  try {
    return typeof (value as { then?: unknown }).then === 'function'
  } catch {
    return false
  }
}

/**
 * Ignores the rejection of a promise that was returned where none was expected, because nobody awaits it and an
 * unhandled rejection would end the process.
 * @returns whether the value is a promise
 */
export function ignoreRejection(value: unknown): boolean {
  if (!isThenable(value)) return false
  Promise.resolve(value).catch(() => {})
  return true
}
