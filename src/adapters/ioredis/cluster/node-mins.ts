import { isBudget } from '../../../api/budget.ts'
import { isPoolError } from '../../../api/errors.ts'

/** What is needed of the pool of a node. */
export interface MinPool {
  readonly min: number
  resize(bounds: { min: number }): void
}

/*
 * The `min` of the pools of nodes that share a budget. How many nodes there are shows only while the pool is used, and a
 * budget refuses a pool whose `min` does not fit beside those of the others. So all keep fewer where there are more nodes:
 * one that keeps none would have to wait beside idle connections of the others.
 */

/**
 * Makes room for one more pool.
 *
 * @param wanted - the `min` of each pool, if there is room
 * @returns the `min` of the new one; no other has more
 */
export function roomFor(wanted: number, budget: unknown, others: readonly MinPool[]): number {
  let min = wanted
  if (!isBudget(budget)) return min
  for (; min > 0 && budget.minIssue(min) !== undefined; min -= 1) lowerMin(min - 1, others)
  return min
}

/** Raises the `min` of all pools as far as there is room again, as a node has left. */
export function raiseMin(wanted: number, pools: readonly MinPool[]): void {
  let min = Math.min(wanted, ...pools.map(pool => pool.min))
  try {
    for (; min < wanted; min += 1)
      for (const pool of pools) if (pool.min <= min) pool.resize({ min: min + 1 })
  } catch (error) {
    lowerMin(min, pools)
    if (!isPoolError(error, 'POOL_BAD_OPTIONS')) throw error
  }
}

function lowerMin(min: number, pools: readonly MinPool[]): void {
  for (const pool of pools) if (pool.min > min) pool.resize({ min })
}
