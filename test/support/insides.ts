/*
 * The parts of a pool, for tests that assert what no public method tells: invariants, and the way into rare states.
 */

import { type Pool, partsOf } from '../../src/pool/pool.ts'

/** The parts of a pool whose state the tests of invariants read. */
export function insidesOf<T>(pool: Pool<T>) {
  const { context, connector } = partsOf(pool)
  const { slots, queue, options, stalls, nesting } = context
  const leases = () => nesting?.detector.leases() ?? []
  return { slots, queue, options, stalls, connector, leases }
}
