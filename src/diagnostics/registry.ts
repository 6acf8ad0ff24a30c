import type { AcquireMessage, PoolIdentity } from '../api/channels.ts'
import type { PoolStats } from '../api/stats.ts'
import type { WaitObserver } from '../queue/traced-acquire.ts'
import { createdChannel } from '../runtime/channels.ts'
import type { WatchTimes } from '../runtime/time/times.ts'
import type { PoolReport } from './pool-report.ts'

/** What any pool of the process can be asked. */
export interface Reporting {
  readonly name: string
  report(): string
  /** Optional, as are the next five: older copies of this package in the process do not have them. */
  stats?(): PoolStats
  identity?(): PoolIdentity
  watchTimes?(watch: WatchTimes): () => void
  reportWith?(mostWaiters: number): PoolReport
  observeWaiting?(observerFor: (waitedMillis: number, stack: string | undefined) => WaitObserver): void
  entryOf?(call: AcquireMessage['call']): (...args: never[]) => unknown
  reportJson(): PoolReport
}

/** All copies of this package in the process share one list. */
const KEY = Symbol.for('lifeguard-pool:pools')
const holder = globalThis as { [KEY]?: Set<WeakRef<Reporting>> }

/** The references are weak: the list does not keep a pool alive that nobody uses. */
function pools(): Set<WeakRef<Reporting>> {
  holder[KEY] ??= new Set()
  return holder[KEY]
}

/**
 * When the list grows beyond this size, pools that are gone are removed. The limit is twice the number that remains.
 */
let sweepAbove = 64

export function register(pool: Reporting): void {
  const list = pools()
  if (list.size >= sweepAbove) sweepAbove = Math.max(64, 2 * livePools().length)
  list.add(new WeakRef(pool))
  if (createdChannel.hasSubscribers) createdChannel.publish(pool.identity?.())
}

/** All pools of the process, oldest first. Closed pools are included while somebody still refers to them. */
export function livePools(): Reporting[] {
  const list = pools()
  const live: Reporting[] = []
  for (const ref of list) {
    const pool = ref.deref()
    if (pool === undefined) list.delete(ref)
    else live.push(pool)
  }
  return live
}
