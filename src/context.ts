import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

/** Made when the package is loaded, so that it carries nobody's request. */
const neutral = new AsyncResource('LIFEGUARD_POOL')

/**
 * Runs a function outside the `AsyncLocalStorage` context of the caller. A connection, its timers and its listeners
 * outlive the request that happened to cause them; inside its context they would carry that request's data for ever.
 */
export function outside<R>(run: () => R): R {
  return neutral.runInAsyncScope(run)
}

/** A value that async contexts carry along. */
export const newStorage = <S>(): AsyncLocalStorage<S> => new AsyncLocalStorage<S>()
