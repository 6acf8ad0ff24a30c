import type { Gate } from './gate.ts'
import type { ResolvedOptions } from './options.ts'
import type { Breaker } from './policy/breaker.ts'
import type { Roster } from './roster.ts'
import type { Troubles } from './troubles.ts'
import type { PoolStats } from './types.ts'

/** The counters of a pool that nothing else can tell; each has one place that counts it. */
export type Totals = PoolStats['totals']

export const newTotals = (): Totals => ({
  created: 0,
  createErrors: 0,
  destroyed: 0,
  destroyErrors: 0,
  acquired: 0,
  released: 0,
  timeouts: 0,
  aborted: 0,
  shed: 0,
  leaks: 0,
  nested: 0,
  deadlocks: 0,
})

/** The stalls of the event loop that the pool's timers ran into. */
export class Stalls {
  count = 0
  totalMillis = 0
  longestMillis = 0
  /** The last ones, oldest first: until when, and how long. */
  readonly recent: { until: number; millis: number }[] = []

  /** @returns false when another timer has already told of this stall */
  add(until: number, millis: number): boolean {
    const last = this.recent.at(-1)
    if (last !== undefined && until - millis < last.until) return false
    this.count += 1
    this.totalMillis += millis
    this.longestMillis = Math.max(this.longestMillis, millis)
    this.recent.push({ until, millis })
    if (this.recent.length > 16) this.recent.shift()
    return true
  }

  get last(): { readonly until: number; readonly millis: number } | undefined {
    return this.recent.at(-1)
  }

  /** How many milliseconds since then the loop stood still. */
  since(start: number): number {
    return this.recent.reduce(
      (sum, { until, millis }) => sum + Math.max(0, until - Math.max(start, until - millis)),
      0,
    )
  }
}

/** What a snapshot or a report is made from. */
export interface Insight<T> {
  readonly options: ResolvedOptions
  readonly state: PoolStats['state']
  readonly roster: Roster<T>
  readonly gate: Gate<T>
  readonly breaker: Breaker
  readonly generation: number
  readonly totals: Totals
  readonly stalls: Stalls
  readonly troubles: Troubles
  readonly halfClose: PoolStats['halfClose']
  readonly serverTimeout: PoolStats['serverTimeout']
}

export function statsOf<T>(insight: Insight<T>): PoolStats {
  const { options, roster, gate, breaker, stalls } = insight
  const { connecting, idle, validating, lent, resetting, closing } = roster.census
  return {
    name: options.name,
    state: insight.state,
    max: options.max,
    min: options.min,
    size: roster.size,
    idle,
    available: idle,
    borrowed: lent,
    pending: gate.waiting,
    connecting,
    validating,
    resetting,
    closing,
    generation: insight.generation,
    breaker: breaker.isOpen(options.max) ? 'open' : 'closed',
    createFailures: breaker.failures,
    totals: { ...insight.totals },
    halfClose: { ...insight.halfClose, found: { ...insight.halfClose.found } },
    serverTimeout: insight.serverTimeout,
    stalls: { count: stalls.count, totalMillis: stalls.totalMillis, longestMillis: stalls.longestMillis },
  }
}
