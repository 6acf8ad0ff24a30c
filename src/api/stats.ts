/**
 * Where a connection is in its life.
 *
 *     connecting ──► idle ◄──► lent ──► resetting ──► idle
 *         │           ▲│                    │
 *         │           ││                    ▼
 *         ├──► validating ──────────────► closing ──► closed
 *         └───────────────────────────────────────────▲
 *
 * It stays lent where it goes from one borrower straight to the next.
 */
export type SlotState = 'connecting' | 'idle' | 'validating' | 'lent' | 'resetting' | 'closing' | 'closed'

/** Why a connection was destroyed. */
export type DestroyReason =
  | 'idle'
  | 'lifetime'
  | 'server-timeout'
  | 'half-closed'
  | 'invalid'
  | 'dirty'
  | 'generation'
  | 'broken'
  | 'user'
  | 'drain'
  | 'surplus'
  | 'leaked'
  | 'stuck'

/** How times are spread: a histogram. */
export interface TimesOf {
  count: number
  sumMillis: number
  /** To within the lowest bucket. */
  maxMillis: number
  /** Upper bounds of the buckets in milliseconds, ascending; the last bucket, which has none, is not in here. */
  bounds: readonly number[]
  /** How many fell into each bucket, those of lower buckets not counted: one more than there are bounds. */
  counts: number[]
}

/** A plain snapshot of a pool. Counters run since the pool was made. */
export interface PoolStats {
  name: string
  state: 'open' | 'draining' | 'closed'
  max: number
  min: number
  /** Connections that the pool owns or makes; those closing are not counted. */
  size: number
  idle: number
  /** As `idle`, under generic-pool's name. */
  available: number
  borrowed: number
  /** Acquires that wait. */
  pending: number
  /** How long whoever has waited longest has waited; 0 if nobody waits. */
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
    /** Leases reported by `leakThresholdMillis`. */
    leaks: number
    /** Acquires seen to be made while their context held a connection of any pool. */
    nested: number
    /** Deadlocks broken by rejecting an acquire of this pool. */
    deadlocks: number
  }
  /** Connections that the pool has ended, by reason, from when their close began; reasons that have not occurred are left out. */
  destroyedBy: Partial<Record<DestroyReason, number>>
  /** Those destroyed as `dirty`, by what was left on them: `MULTI`, `unanswered`, `unsent`, … */
  dirtyBy: Record<string, number>
  /** Failed creates, by the code of the error, or its name: `ECONNREFUSED`, `POOL_CONNECT_FAILED`, … */
  createErrorsBy: Record<string, number>
  /** How long acquires waited, loans lasted and creates took: all acquires, also those served at once; creates that went well. */
  times: { wait: TimesOf; use: TimesOf; create: TimesOf }
  /** Most connections lent, and most acquires waiting, at any one time so far. */
  peaks: { borrowed: number; pending: number }
  /** Detection of half-closed connections. */
  halfClose: {
    /** Whether the kernel can be asked, or only the event loop; `'off'` where no sockets are known. */
    kernel: 'on' | 'unavailable' | 'off'
    /** Looks at the kernel, waits for the event loop, and loans for which neither was needed. */
    looks: number
    barriers: number
    gateSkips: number
    /** Times that one dead connection made the other idle ones prove themselves. */
    suspicions: number
    /** Dead connections: told by their sockets, found when about to be lent, by the sweep, and while lent. */
    found: { events: number; borrow: number; sweep: number; lent: number }
  }
  /** The server's idle limit as far as it is known, and the idle age at which connections retire because of it. */
  serverTimeout: {
    limitMillis: number | undefined
    retireAfterMillis: number | undefined
    source: 'given' | 'asked' | 'learned' | 'unknown'
    /** Idle connections that the server has closed. */
    closesSeen: number
  }
  /** Times that a turn of the event loop took 25 ms or more, while the pool was there. */
  stalls: { count: number; totalMillis: number; longestMillis: number }
  /** Lines of the library's own output, by `DEBUG` and report signals, of the whole process. */
  log: { written: number; dropped: number; waiting: number }
}

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
