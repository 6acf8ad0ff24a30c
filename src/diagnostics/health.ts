import type { PoolStats } from '../api/stats.ts'
import { observablePools } from './metrics/observed-pools.ts'

/** Whether a pool can serve, and what says so. */
interface PoolHealth
  extends Pick<
    PoolStats,
    'state' | 'breaker' | 'max' | 'idle' | 'borrowed' | 'pending' | 'oldestWaitMillis'
  > {
  readonly pool: string
  readonly ok: boolean
}

/** Closed pools are nobody's concern any more and are left out. */
export function healthOf(maxWaitMillis: number): { ok: boolean; pools: PoolHealth[] } {
  const pools = observablePools().flatMap((pool): PoolHealth[] => {
    const { state, breaker, max, idle, borrowed, pending, oldestWaitMillis } = pool.stats()
    if (state === 'closed') return []
    const ok = state === 'open' && breaker === 'closed' && oldestWaitMillis < maxWaitMillis
    return [{ pool: pool.name, ok, state, breaker, max, idle, borrowed, pending, oldestWaitMillis }]
  })
  return { ok: pools.every(({ ok }) => ok), pools }
}
