import type { PoolStats } from '../../api/stats.ts'

/*
 * What the live page gets with every answer: as much as it shows, however many wait and however many connections there
 * are. The page is compiled against these types.
 */

export interface LiveData {
  readonly process: { readonly pid: number; readonly upSeconds: number; readonly node: string }
  /** How long it took to read all of this. The page asks less often when that is long. Milliseconds. */
  readonly tookMillis: number
  readonly pools: readonly LivePool[]
}

export interface LivePool {
  /** Unique in the process. */
  readonly name: string
  /** The name as `/report?pool=` takes it. */
  readonly reportName: string
  readonly stats: PoolStats
  readonly findings: readonly string[]
  /** How many of the waiters the findings are made from, if not all. */
  readonly waitersRead: number | undefined
  readonly connections: readonly LiveConnection[]
  readonly holders: LiveGroups
  readonly waiters: LiveGroups
  /** The first in the queue. */
  readonly next: readonly LiveWaiter[]
  readonly connecting: { readonly failures: number; readonly lastError?: string }
  readonly lately: readonly { readonly what: string; readonly times: number; readonly agoMillis: number }[]
}

/** The states of a connection, as the page gets them: by index. */
export const LIVE_STATES = ['connecting', 'idle', 'validating', 'lent', 'resetting', 'closing'] as const

/** What else is known of a connection: a sum of these. */
export const LIVE_FLAGS = { forgotten: 1, gone: 2, atWork: 4 } as const

/** Thousands of these go with each answer, so they have no names. */
export type LiveConnection = readonly [
  id: number,
  /** An index of `LIVE_STATES`. */
  state: number,
  /** How long it has been lent or idle; in other states how old it is. */
  millis: number,
  flags: number,
  /** An index of `holders.groups`, or -1. */
  group: number,
]

/** Leases or waiters by the call site of their acquire. */
export interface LiveGroups {
  /** Those with most members first. */
  readonly groups: readonly LiveGroup[]
  /** Members of groups that were left out. */
  readonly more: number
}

export interface LiveGroup {
  /** Undefined for acquires whose stack was not recorded. */
  readonly site: string | undefined
  readonly count: number
  readonly longestMillis: number
  readonly atWork: number
  readonly forgotten: number
  readonly nested: number
  readonly command: string | undefined
}

export interface LiveWaiter {
  readonly waitedMillis: number
  readonly leftMillis: number | null
  readonly priority: number
  readonly site: string | undefined
  readonly nestedUnder: readonly string[] | undefined
}
