import type { PoolIdentity } from '../api/channels.ts'
import type { PoolStats } from '../api/stats.ts'
import { createdChannel } from '../runtime/channels.ts'
import type { WatchTimes } from '../runtime/time/times.ts'
import type { PoolReport } from './pool-report.ts'

/** What can be asked of any pool of the process. */
export interface Reporting {
  readonly name: string
  report(): string
  /** Not there in pools of copies of this package that are older than these. */
  stats?(): PoolStats
  identity?(): PoolIdentity
  watchTimes?(watch: WatchTimes): () => void
  reportJson(): PoolReport
}

/** One list for all copies of this package in the process. */
const KEY = Symbol.for('lifeguard-pool:pools')
const holder = globalThis as { [KEY]?: Set<WeakRef<Reporting>> }

/** Kept weakly: a pool that nobody else holds is not kept alive by being listed. */
function pools(): Set<WeakRef<Reporting>> {
  holder[KEY] ??= new Set()
  return holder[KEY]
}

/** Above this number the list is swept of pools that are gone; it doubles with those that are not. */
let sweepAbove = 64

export function register(pool: Reporting): void {
  const list = pools()
  if (list.size >= sweepAbove) sweepAbove = Math.max(64, 2 * livePools().length)
  list.add(new WeakRef(pool))
  if (createdChannel.hasSubscribers) createdChannel.publish(pool.identity?.())
}

/** All pools of the process, oldest first; closed ones as long as somebody holds them. */
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
