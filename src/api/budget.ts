import { firstFew } from './messages/wording.ts'

/** Options of `createBudget`. */
export interface BudgetOptions {
  /** Most connections of all its pools together, including those being closed. Minimum 1. */
  max: number
  /** Appears in errors, stats and reports. Default: generated. */
  name?: string | undefined
}

/** What one pool has of a budget. */
export interface BudgetUse {
  pool: string
  /** Its connections, including those being created or closed. */
  used: number
  /** Its waiting acquires. */
  pending: number
}

/** A snapshot of a budget, as plain data. */
export interface BudgetStats {
  name: string
  max: number
  /** Connections of all pools, including those being created or closed. Never above `max`. */
  used: number
  /** Places that are kept for pools with fewer connections than their `min`. */
  reserved: number
  /** The pools that have connections or waiting acquires, those with the most connections first. */
  pools: BudgetUse[]
  /** Set where this is the option `maxTotal` of the pool of a Redis Cluster, which has the name. */
  isMaxTotal?: true
}

/** A limit for the connections of several pools together. Created with `createBudget`. */
export interface Budget {
  readonly name: string
  readonly max: number
  stats(): BudgetStats
  /** The same for a person: which pool has how many connections, and which pools wait. */
  report(): string
}

/** What the checks of a pool's options ask a budget. */
export interface CheckedBudget extends Budget {
  /**
   * What is wrong with this `min` of a pool, next to those of the others.
   * @param pool - as the budget knows it, if it does already
   */
  minIssue(min: number, pool?: object): string | undefined
}

/** Marks a budget. Copies of this package in one process can use each other's, so the key names their interface. */
export const BUDGET = Symbol.for('lifeguard-pool.budget.v1')

export const isBudget = (value: unknown): value is CheckedBudget =>
  typeof value === 'object' && value !== null && BUDGET in value

/** At most this many pools are named in an error. */
const MOST_POOLS = 5

/** " by pools a (12), b (8)" */
export function usersOf({ pools }: BudgetStats): string {
  const users = pools.filter(({ used }) => used > 0)
  if (users.length === 0) return ''
  const list = users.map(({ pool, used }) => `${pool} (${used})`)
  return ` by ${users.length === 1 ? 'pool' : 'pools'} ${firstFew(list, MOST_POOLS, ', ')}`
}

/** Is it the budget that keeps the pool with these stats from creating a connection? */
export const isUsedUp = (budget: BudgetStats, size: number, max: number): boolean =>
  size < max && budget.used + budget.reserved >= budget.max

/** "the budget 'x' of 20 is used up by pools a (12), b (8)", or "maxTotal (20) of pool 'x' is …" */
export function usedUp(budget: BudgetStats): string {
  const { name, max, reserved, isMaxTotal } = budget
  const kept = reserved > 0 ? `, with ${reserved} kept for pools below their min` : ''
  const limit = isMaxTotal ? `maxTotal (${max}) of pool '${name}'` : `the budget '${name}' of ${max}`
  return `${limit} is used up${usersOf(budget)}${kept}`
}

/** What to raise, if more connections are wanted. */
export const raiseLimit = ({ isMaxTotal }: BudgetStats): string =>
  isMaxTotal ? 'raise maxTotal' : 'raise the max of the budget'
