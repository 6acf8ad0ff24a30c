/**
 * Calls the listener when the signal is aborted, or at once if it already is.
 *
 * @returns a function that removes the listener; it must be called, because a signal may live much longer than its
 * listener
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal?.aborted) listener()
  else signal?.addEventListener('abort', listener)
  return () => signal?.removeEventListener('abort', listener)
}

/**
 * Resolves with the value of the promise, or with undefined as soon as the signal is aborted. The work behind the
 * promise continues.
 */
export function unlessAborted<R>(signal: AbortSignal, promise: Promise<R>): Promise<R | undefined> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signal, () => resolve(undefined))
    promise.finally(stop).then(resolve, reject)
  })
}
