import type { AcquirePhase } from '../api/errors.ts'
import type { Breaker } from './breaker.ts'
import type { PoolContext } from './pool-context.ts'

/** What keeps the first in the queue waiting. */
export function phaseOf<T>({ slots }: PoolContext<T>, breaker: Breaker): AcquirePhase {
  const { validating, connecting } = slots.counts
  if (validating > 0) return 'validate'
  return connecting > 0 || breaker.failures > 0 ? 'connect' : 'queue'
}
