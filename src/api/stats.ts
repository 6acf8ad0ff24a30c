import type { BudgetStats } from './budget.ts'

/**
 * The state of a connection.
 *
 *     connecting ──► idle ◄──► lent ──► resetting ──► idle
 *         │           ▲│                    │
 *         │           ││                    ▼
 *         ├──► validating ──────────────► closing ──► closed
 *         └───────────────────────────────────────────▲
 *
 * A connection that goes directly from one borrower to the next stays in the state lent.
 */
export type SlotState = 'connecting' | 'idle' | 'validating' | 'lent' | 'resetting' | 'closing' | 'closed'

/** Why a connection was destroyed. */
export type DestroyReason =
  | 'idle'
  | 'lifetime'
  | 'uses'
  | 'server-timeout'
  | 'half-closed'
  | 'invalid'
  | 'invalidated'
  | 'dirty'
  | 'generation'
  | 'broken'
  | 'user'
  | 'drain'
  | 'surplus'
  | 'leaked'
  | 'stuck'

/** A histogram of times. */
export interface TimesOf {
  count: number
  sumMillis: number
  /** The longest time; inexact only if all times are in the lowest bucket. */
  maxMillis: number
  /** Upper bounds of the buckets in milliseconds, ascending. The last bucket has no bound and is not listed. */
  bounds: readonly number[]
  /** How many times fell into each bucket (not cumulative). There is one more entry than bounds. */
  counts: number[]
}

/** A snapshot of a pool, as plain data. Counters run from the creation of the pool. */
export interface PoolStats {
  name: string
  state: 'open' | 'draining' | 'closed'
  max: number
  min: number
  /** Connections that the pool owns or is creating, not counting those being closed. */
  size: number
  idle: number
  /** The same as `idle`, under generic-pool's name. */
  available: number
  borrowed: number
  /** Waiting acquires. */
  pending: number
  /** How long the acquire that has waited longest has waited; 0 if none waits. */
  oldestWaitMillis: number
  connecting: number
  validating: number
  resetting: number
  closing: number
  generation: number
  breaker: 'closed' | 'open'
  /** Failed creates in a row. */
  createFailures: number
  totals: {
    created: number
    createErrors: number
    destroyed: number
    destroyErrors: number
    acquired: number
    released: number
    timeouts: number
    aborted: number
    /** Acquires refused by `shedding` or `earlyRefusal`. */
    shed: number
    /** Leases reported because of `leakThresholdMillis`. */
    leaks: number
    /** Acquires found to be made while their caller held a connection of any pool. */
    nested: number
    /** Deadlocks broken by rejecting an acquire of this pool. */
    deadlocks: number
  }
  /**
   * How many connections the pool has ended, by reason, counted when their close began. Reasons that have not occurred
   * are left out.
   */
  destroyedBy: Partial<Record<DestroyReason, number>>
  /** How many were destroyed as `dirty`, by what was left on them: `MULTI`, `unanswered`, `unsent`, … */
  dirtyBy: Record<string, number>
  /** Failed creates, by the code of the error, or its name: `ECONNREFUSED`, `POOL_CONNECT_FAILED`, … */
  createErrorsBy: Record<string, number>
  /**
   * How long acquires waited, loans lasted and creates took. Counts all acquires, even those served at once, but only
   * successful creates.
   */
  times: { wait: TimesOf; use: TimesOf; create: TimesOf }
  /** Most connections lent, and most acquires waiting, at any one time so far. */
  peaks: { borrowed: number; pending: number }
  /** Detection of half-closed connections. */
  halfClose: {
    /** Whether the kernel can be asked, or only the event loop; `'off'` where the sockets are unknown. */
    kernel: 'on' | 'unavailable' | 'off'
    /** Checks in the kernel, waits for a poll phase, and loans that needed neither. */
    looks: number
    barriers: number
    gateSkips: number
    /** How often a dead connection caused the other idle ones to be checked. */
    suspicions: number
    /**
     * Where dead connections were found: by events of their sockets, before being lent, by the sweep, and while lent.
     */
    found: { events: number; borrow: number; sweep: number; lent: number }
  }
  /** The server's idle limit, as far as it is known, and the idle age at which connections therefore retire. */
  serverTimeout: {
    limitMillis: number | undefined
    retireAfterMillis: number | undefined
    source: 'given' | 'asked' | 'learned' | 'unknown'
    /** Idle connections that the server has closed. */
    closesSeen: number
  }
  /** How often a turn of the event loop took 25 ms or more during the pool's life, and for how long. */
  stalls: { count: number; totalMillis: number; longestMillis: number }
  /** The budget that the pool shares with others; left out if it has none. */
  budget?: BudgetStats
  /** Lines of the library's own output, from `DEBUG` and report signals, for the whole process. */
  log: { written: number; dropped: number; waiting: number }
}

/** The counters that cannot be derived from anything else. Each is counted in exactly one place. */
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
