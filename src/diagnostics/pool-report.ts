import type { PoolStats, SlotState } from '../api/stats.ts'
import type { TcpSocket } from '../sockets/tcp-table.ts'

/** The state of a pool at one moment, as plain data. Times are in milliseconds. Unknown values are left out. */
export interface PoolReport {
  stats: PoolStats
  /** What seems to be wrong, in words, the most important first. */
  findings: string[]
  /** Every lease, oldest first. */
  leases: LeaseReport[]
  /** Every waiting acquire, in the order in which they will be served. */
  waiters: WaiterReport[]
  /** Every connection, including those being created or closed. */
  connections: ConnectionReport[]
  connecting: { failures: number; breaker: 'open' | 'closed'; lastError?: string; retryInMillis?: number }
  /** The latest problems, newest first; at most a few of each kind, which are never forgotten. */
  troubles: { what: string; times: number; agoMillis: number }[]
  /** The deadlocks that were broken in this pool so far, by call sites, the latest first. Not all of them, if there are many. */
  deadlocks: DeadlockReport[]
  /** The last stalls of the event loop, oldest first. */
  stalls: { agoMillis: number; millis: number }[]
}

/** Deadlocks that were broken by rejecting an acquire, all at the same call sites. */
export interface DeadlockReport {
  times: number
  /** Since the last of them. */
  agoMillis: number
  /** The pools that waited for each other. */
  pools: string[]
  /** Where the rejected acquire was made. */
  askedAt?: string
  /** Where the connections were taken that its caller held meanwhile. */
  heldAt: string[]
}

export interface LeaseReport {
  connection: number
  loan: number
  heldMillis: number
  /** Since the connection was last seen in use; see `leakThresholdMillis`. */
  unusedMillis?: number
  /** Does the connection have unanswered work? */
  busy?: boolean
  /** The command in progress, where the factory names it. */
  command?: string
  /** How long nothing has passed through the connection's socket, as far as it has been checked. */
  quietMillis?: number
  /** Has it been reported as forgotten, and not been used since? */
  suspect: boolean
  /** The pools of which the caller already held a lease when it took this one. */
  nestedUnder?: string[]
  /** The stack of the acquire call. */
  stack?: string
}

export interface WaiterReport {
  waitedMillis: number
  /** Time left until its deadline; null if it has none. */
  leftMillis: number | null
  priority: number
  nestedUnder?: string[]
  stack?: string
}

export interface ConnectionReport {
  id: number
  state: SlotState
  ageMillis: number
  idleMillis?: number
  loans: number
  fault?: string
  socket?: Partial<TcpSocket> & {
    local?: string
    remote?: string
    bytesRead: number
    bytesWritten: number
  }
}
