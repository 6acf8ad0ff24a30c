import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { PoolStats, Totals } from '../api/stats.ts'
import type { Breaker } from '../connecting/breaker.ts'
import type { PoolKinds } from '../connecting/pool-context.ts'
import type { Slots } from '../connections/slots.ts'
import type { WaitQueue } from '../queue/wait-queue.ts'
import { sink } from '../runtime/log/log.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import type { Times } from '../runtime/time/times.ts'
import type { RecentProblems } from './recent-problems.ts'

/** What the stats and the report are made from. */
export interface PoolView<T> {
  readonly options: ResolvedOptions
  readonly state: PoolStats['state']
  readonly slots: Slots<T>
  readonly queue: WaitQueue<T>
  readonly breaker: Breaker<T>
  readonly generation: number
  readonly totals: Totals
  readonly times: Times
  readonly kinds: PoolKinds
  readonly stalls: Stalls
  readonly problems: RecentProblems
  readonly halfClose: PoolStats['halfClose']
  readonly serverTimeout: PoolStats['serverTimeout']
}

export function statsOf<T>(view: PoolView<T>, now: number): PoolStats {
  const { options, slots, queue, breaker, stalls } = view
  const { connecting, idle, validating, lent, resetting, closing } = slots.counts
  return {
    name: options.name,
    state: view.state,
    max: options.max,
    min: options.min,
    size: slots.size,
    idle,
    available: idle,
    borrowed: lent,
    pending: queue.waiting,
    oldestWaitMillis: Math.max(now - (queue.oldest()?.since ?? now), 0),
    connecting,
    validating,
    resetting,
    closing,
    generation: view.generation,
    breaker: breaker.isOpen ? 'open' : 'closed',
    createFailures: breaker.failures,
    totals: { ...view.totals },
    destroyedBy: view.kinds.destroyed.read(),
    dirtyBy: view.kinds.dirty.read(),
    createErrorsBy: view.kinds.createErrors.read(),
    ...view.times.read(view.totals),
    halfClose: { ...view.halfClose, found: { ...view.halfClose.found } },
    serverTimeout: view.serverTimeout,
    stalls: { count: stalls.count, totalMillis: stalls.totalMillis, longestMillis: stalls.longestMillis },
    ...(options.budget === undefined ? {} : { budget: options.budget.stats() }),
    log: { written: sink.written, dropped: sink.dropped, waiting: sink.waiting },
  }
}
