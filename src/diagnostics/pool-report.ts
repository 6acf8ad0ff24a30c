import type { PoolStats, SlotState } from '../api/stats.ts'
import type { TcpSocket } from '../sockets/tcp-table.ts'

/** The state of a pool at one moment, as plain data. Times are in milliseconds; what is not known is left out. */
export interface PoolReport {
  stats: PoolStats
  /** What it looks like, in words, the most telling first. */
  findings: string[]
  /** Every lease, oldest first. */
  leases: LeaseReport[]
  /** Everybody who waits, in the order in which they will be served. */
  waiters: WaiterReport[]
  /** Every connection, those being made and closed included. */
  connections: ConnectionReport[]
  connecting: { failures: number; breaker: 'open' | 'closed'; lastError?: string; retryInMillis?: number }
  /** What went wrong last, newest first; kept for good, a few of each kind. */
  troubles: { what: string; times: number; agoMillis: number }[]
  /** The last stalls of the event loop, oldest first. */
  stalls: { agoMillis: number; millis: number }[]
}

export interface LeaseReport {
  connection: number
  loan: number
  heldMillis: number
  /** Since it was last seen in use; see `leakThresholdMillis`. */
  unusedMillis?: number
  /** Has it unanswered work? */
  busy?: boolean
  /** What is under way, where the factory names it. */
  command?: string
  /** For how long nothing has gone through its socket, as far as somebody has looked. */
  quietMillis?: number
  /** Has it been reported as forgotten? */
  suspect: boolean
  /** Pools of which this context held a lease already as it took this one. */
  nestedUnder?: string[]
  /** Where it was taken. */
  stack?: string
}

export interface WaiterReport {
  waitedMillis: number
  /** Until its deadline; null: it has none. */
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
