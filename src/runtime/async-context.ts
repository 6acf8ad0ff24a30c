import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

/** Made when the package is loaded, so that it carries nobody's request. */
const neutral = new AsyncResource('LIFEGUARD_POOL')

/**
 * Runs a function outside the `AsyncLocalStorage` context of the caller. A connection, its timers and its listeners
 * outlive the request that happened to cause them; inside its context they would carry that request's data for ever.
 *
 * Each run gets a resource of its own: what the function enters with `enterWith` stays on it, and does not become the
 * context of everything that runs outside from then on.
 */
export function outsideContext<R>(run: () => R): R {
  return neutral.runInAsyncScope(() => new AsyncResource('LIFEGUARD_POOL').runInAsyncScope(run))
}

const MANUAL = { requireManualDestroy: true }

/** The present context, kept: runs functions in it later. As `AsyncLocalStorage.snapshot`, at a third of its cost. */
export function runInCapturedContext(): (run: () => void) => void {
  const captured = new AsyncResource('LIFEGUARD_POOL', MANUAL)
  return run => captured.runInAsyncScope(run)
}

/** A value that async contexts carry along. */
export const newStorage = <S>(): AsyncLocalStorage<S> => new AsyncLocalStorage<S>()

const DONE = Promise.resolve()

/** Runs in a microtask of its own. Not `queueMicrotask`, which fake timers replace. */
export function inMicrotask(run: () => void): void {
  DONE.then(run)
}
