import { type Pool, partsOf } from '../../src/pool/pool.ts'

/** The parts of a pool whose state the tests of invariants read. */
export function insidesOf<T>(pool: Pool<T>) {
  const { context, connector } = partsOf(pool)
  const { slots, queue, options, stalls } = context
  return { slots, queue, options, stalls, connector }
}
