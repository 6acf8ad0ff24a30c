import type { PoolNode } from '../nested/host.ts'
import type { Timer } from '../runtime/time/clock.ts'

/** A connection idle for less stays, unless it is owed: a task that is back at once would connect each time. Milliseconds. */
const LINGER_MILLIS = 5

/** A pool, as its budget sees it. */
export interface BudgetShare {
  readonly name: string
  readonly min: number
  /** Its connections, including those being created or closed. */
  readonly inUse: number
  /** The same without those being closed. */
  readonly size: number
  /** Its waiting acquires. */
  readonly waiting: number
  /** Since when the acquire that it serves next has waited. */
  readonly firstWaitSince: number
  /** How many more connections it would create now. */
  readonly wanted: number
  /** Since when the longest idle of those that it can do without is idle; undefined if it needs all it has. */
  readonly spareSince: number | undefined
  readonly isClosed: boolean
  /** For the deadlock search; undefined under `nested: 'allow'`. */
  readonly node: PoolNode | undefined
  now(): number
  /** Calls back after so many milliseconds. */
  after(millis: number, run: () => void): Timer
  /** Ends that connection. */
  giveUp(): object
  /** Creates connections, as far as it needs them and `request` allows. */
  connectMore(): void
}

/** Would the first pool have no more than the second if it got a connection of that one? */
export const isUneven = (poor: BudgetShare, rich: BudgetShare): boolean => poor.inUse + 2 <= rich.size

/** How much longer a pool may keep the connection that it could spare. */
export const lingersFor = (share: BudgetShare): number =>
  (share.spareSince ?? 0) + LINGER_MILLIS - share.now()
