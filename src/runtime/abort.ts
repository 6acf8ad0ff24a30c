/**
 * Calls back when the signal is aborted: at once if it already is.
 *
 * @returns ends the listening: signals live long, so whoever listens has to end it
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal?.aborted) listener()
  else signal?.addEventListener('abort', listener)
  return () => signal?.removeEventListener('abort', listener)
}

/** What the promise gives, or undefined as soon as the signal is aborted. What the promise stands for goes on. */
export function unlessAborted<R>(signal: AbortSignal, promise: Promise<R>): Promise<R | undefined> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signal, () => resolve(undefined))
    promise.finally(stop).then(resolve, reject)
  })
}
