import type { PoolStats } from '../../api/stats.ts'
import { observablePools } from '../metrics/observed-pools.ts'

/** Whether a pool can serve acquires, and the numbers behind the answer. */
interface PoolHealth
  extends Pick<
    PoolStats,
    'state' | 'breaker' | 'max' | 'idle' | 'borrowed' | 'pending' | 'oldestWaitMillis'
  > {
  readonly pool: string
  readonly ok: boolean
}

/** Checks all pools. Closed pools are left out, because nobody uses them any more. */
export function healthOf(maxWaitMillis: number): { ok: boolean; pools: PoolHealth[] } {
  const pools = observablePools().flatMap((pool): PoolHealth[] => {
    const { state, breaker, max, idle, borrowed, pending, oldestWaitMillis } = pool.stats()
    if (state === 'closed') return []
    const ok = state === 'open' && breaker === 'closed' && oldestWaitMillis < maxWaitMillis
    return [{ pool: pool.name, ok, state, breaker, max, idle, borrowed, pending, oldestWaitMillis }]
  })
  return { ok: pools.every(({ ok }) => ok), pools }
}
