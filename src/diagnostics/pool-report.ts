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
  /** The last stalls of the event loop, oldest first. */
  stalls: { agoMillis: number; millis: number }[]
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
  /** Has it been reported as forgotten? */
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
