import type { PoolError } from '../../src/api/errors.ts'

/** The error with which a promise is rejected; listens at once, so that nothing is unhandled meanwhile. */
export const rejection = (promise: Promise<unknown>): Promise<PoolError> =>
  promise.then(
    value => {
      throw new Error(`expected a rejection, got ${String(value)}`)
    },
    (error: PoolError) => error,
  )
