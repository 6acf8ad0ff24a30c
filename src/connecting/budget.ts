import {
  BUDGET,
  type Budget,
  type BudgetOptions,
  type BudgetStats,
  type CheckedBudget,
} from '../api/budget.ts'
import { forCaller } from '../api/errors.ts'
import { breaches, text, whole } from '../api/options/option-table.ts'
import { isRecord, readRecord, show } from '../api/options/read-input.ts'
import { badOptions } from '../api/options/resolve-options.ts'
import type { PoolNode } from '../nested/host.ts'
import type { Timer } from '../runtime/time/clock.ts'
import { type BudgetShare, isUneven, lingersFor } from './budget-share.ts'

let budgetsMade = 0

/**
 * Limits the connections of several pools together.
 *
 * A pool that may not create a connection has a *claim* until it gets its turn. When a place is free, the claim of the
 * pool with the fewest connections goes first, and among equals the oldest. Meanwhile, for each claim one connection is
 * given up: idle ones first, those that have been idle longest, of any pool that has more than its `min` and no waiting
 * acquire of its own. If there are none, a pool gives up a connection that comes back to it, although its own acquires
 * wait, if it has at least two more than the claiming pool, or if that has none and has waited longer than the acquire
 * that would be served. For any other claim, a pool keeps an idle connection for a few
 * milliseconds (`LINGER_MILLIS`). So connections move until the shares are even, and not on and on between even shares;
 * and where more pools wait than there are places, they take turns.
 *
 * `min` is kept: places below it are reserved for the pool, so that all pools always get theirs. They must leave a place
 * if there is a pool without a `min`.
 *
 * Invariant: the connections of all pools, including those being created or closed, never exceed `max`, but for a create
 * that has passed its deadline, as in each pool.
 */
export class SharedBudget implements CheckedBudget {
  readonly [BUDGET] = true
  readonly name: string
  readonly max: number
  #used = 0
  readonly #shares = new Set<BudgetShare>()
  /** When each pool with a claim has made it, oldest first. */
  readonly #claims = new Map<BudgetShare, number>()
  /** Connections that were given up for a claim, and are not closed yet. */
  readonly #leaving = new Set<object>()
  /** Looks again when a connection has been idle for long enough. */
  #timer: Timer | undefined
  /** The pool whose turn it is. */
  #chosen: BudgetShare | undefined
  #isServing = false

  /** Is it the option `maxTotal` of the pool of a cluster, which has the name? */
  readonly #isMaxTotal: boolean

  constructor(name: string, max: number, isMaxTotal = false) {
    this.name = name
    this.max = max
    this.#isMaxTotal = isMaxTotal
  }

  /** Why a pool gives up a connection. */
  get whoNeedsIt(): string {
    return this.#isMaxTotal
      ? `another node needs its place, within maxTotal of pool '${this.name}'`
      : `another pool of the budget '${this.name}' needs its place`
  }

  stats(): BudgetStats {
    const pools = [...this.#shares]
      .map(({ name, inUse, waiting }) => ({ pool: name, used: inUse, pending: waiting }))
      .filter(({ used, pending }) => used > 0 || pending > 0)
      .sort((a, b) => b.used - a.used || b.pending - a.pending)
    return {
      name: this.name,
      max: this.max,
      used: this.#used,
      reserved: this.#reserved,
      pools,
      ...(this.#isMaxTotal && { isMaxTotal: true as const }),
    }
  }

  report(): string {
    const { name, max, used, reserved, pools } = this.stats()
    const kept = reserved === 0 ? '' : `, ${reserved} kept for pools below their min`
    const lines = [`budget '${name}': ${used} of ${max} connections in use${kept}`]
    for (const { pool, used, pending } of pools)
      lines.push(`  pool '${pool}': ${used} connections, ${pending} acquires waiting`)
    return lines.join('\n')
  }

  minIssue(min: number, pool?: object): string | undefined {
    const others = [...this.#shares].filter(share => share !== pool && share.min > 0)
    const sum = others.reduce((total, share) => total + share.min, min)
    const hasNone = min === 0 || [...this.#shares].some(share => share !== pool && share.min === 0)
    if (sum < this.max || (sum === this.max && !hasNone)) return undefined
    const list = others.map(share => `${share.name} (${share.min})`).join(', ')
    const beside = others.length === 0 ? '' : `, with the min of pools ${list},`
    const rule = sum > this.max ? 'must not be above' : 'must leave a place, for pools without a min, of'
    const limit = this.#isMaxTotal ? 'maxTotal' : `the max of the budget '${this.name}'`
    return `min (${min})${beside} ${rule} ${limit} (${this.max})`
  }

  join(share: BudgetShare): void {
    this.#shares.add(share)
  }

  /** Called when a pool is closed. Its last connections count until they are closed. */
  leave(share: BudgetShare): void {
    this.#claims.delete(share)
    if (share.inUse === 0) this.#shares.delete(share)
    this.changed()
  }

  /** How many connections this pool could create now, if every other pool gave up an idle one for it. */
  freeFor(share: BudgetShare): number {
    const places = this.#claims.size === 0 ? Math.max(this.#placesFor(share, this.#reserved), 0) : 0
    const gives = (other: BudgetShare): boolean =>
      other !== share && (share.inUse === 0 || isUneven(share, other) ? 0 : lingersFor(other)) <= 0
    return places + [...this.#shares].filter(other => other.spareSince !== undefined && gives(other)).length
  }

  /** May this pool create one connection more? If not, it is called when it is its turn. */
  request(share: BudgetShare): boolean {
    if (this.#chosen !== share && (this.#claims.size > 0 || this.#placesFor(share, this.#reserved) <= 0)) {
      if (!this.#claims.has(share)) this.#claims.set(share, share.now())
      this.changed()
      return false
    }
    this.#chosen = undefined
    this.#used += 1
    return true
  }

  /** Called when a connection is closed, or could not be made. `connectMore` and `changed` follow. */
  returned(share: BudgetShare, connection: object): void {
    this.#used -= 1
    this.#leaving.delete(connection)
    if (share.isClosed && share.inUse === 0) this.#shares.delete(share)
  }

  /** Called when anything has changed in a pool: gives free places to claims, and has idle connections given up. */
  changed(): void {
    // What follows may call back in here.
    if (this.#claims.size === 0 || this.#isServing) return
    this.#isServing = true
    try {
      for (const share of this.#claims.keys()) if (share.wanted <= 0) this.#claims.delete(share)
      this.#serve()
      this.#reclaim()
    } finally {
      this.#isServing = false
    }
  }

  /** Must this pool give up a connection that it could lend to an acquire of its own? If so, it is ended at once. */
  mustYield(share: BudgetShare, connection: object): boolean {
    if (this.#claims.size === 0 || share.size <= share.min) return false
    if (!this.#isOwed(share)) return false
    this.#leaving.add(connection)
    return true
  }

  /** Is there a claim to a connection of this pool, although it may need it: of one that has fewer, or none and waits longer? */
  #isOwed(share: BudgetShare): boolean {
    let left = this.#leaving.size
    for (const [other, claimedAt] of this.#claims) {
      const isEntitled =
        other !== share && (isUneven(other, share) || (other.inUse === 0 && claimedAt < share.firstWaitSince))
      if (!isEntitled || other.wanted <= 0) continue
      if (left === 0) return true
      left -= 1
    }
    return false
  }

  /**
   * The other pools that use up the budget, so that this pool cannot connect before one of their leases ends. Not those
   * with no more than their `min`, whose places it does not get.
   * @returns undefined if it can connect, or if one of them takes no part in the deadlock search
   */
  rivals(share: BudgetShare): PoolNode[] | undefined {
    if (this.#placesFor(share, this.#reserved) > 0) return undefined
    const users = [...this.#shares].filter(other => other !== share && other.inUse > other.min)
    const nodes = users.flatMap(({ node }) => node ?? [])
    return nodes.length === users.length ? nodes : undefined
  }

  sharers(share: BudgetShare): PoolNode[] {
    return [...this.#shares].flatMap(other => (other === share ? [] : (other.node ?? [])))
  }

  get #reserved(): number {
    let reserved = 0
    for (const { min, inUse } of this.#shares) reserved += Math.max(min - inUse, 0)
    return reserved
  }

  /** How many connections this pool may create, as nothing is reserved from it that is reserved for it. */
  #placesFor({ inUse, min }: BudgetShare, reserved: number): number {
    return this.max - this.#used - Math.max(reserved - Math.max(min - inUse, 0), 0)
  }

  #serve(): void {
    while (this.#used < this.max) {
      const next = this.#next()
      if (next === undefined) return
      // It makes a new claim, behind the others, if it needs yet another.
      this.#claims.delete(next)
      this.#chosen = next
      next.connectMore()
      this.#chosen = undefined
    }
  }

  /** Whose turn it is. */
  #next(): BudgetShare | undefined {
    const reserved = this.#reserved
    let next: BudgetShare | undefined
    for (const share of this.#claims.keys()) {
      if (share.wanted <= 0) this.#claims.delete(share)
      else if (this.#placesFor(share, reserved) > 0 && (next === undefined || share.inUse < next.inUse))
        next = share
    }
    return next
  }

  #reclaim(): void {
    while (this.#isShort) {
      let lender: BudgetShare | undefined
      let since = Number.POSITIVE_INFINITY
      let soonest = Number.POSITIVE_INFINITY
      for (const share of this.#shares) {
        const { spareSince = since } = share
        if (spareSince >= since) continue
        const lingers = this.#isOwed(share) ? 0 : lingersFor(share)
        if (lingers > 0) soonest = Math.min(soonest, lingers)
        else [lender, since] = [share, spareSince]
      }
      if (lender === undefined) {
        this.#lookAgainIn(soonest)
        return
      }
      this.#leaving.add(lender.giveUp())
    }
  }

  #lookAgainIn(millis: number): void {
    if (millis === Number.POSITIVE_INFINITY || this.#timer !== undefined) return
    this.#timer = [...this.#shares][0]?.after(millis, () => {
      this.#timer = undefined
      this.changed()
    })
  }

  /** Do the pools with claims want more connections than are being closed for them? */
  get #isShort(): boolean {
    let wanted = -this.#leaving.size
    for (const share of this.#claims.keys()) {
      wanted += share.wanted
      if (wanted > 0) return true
    }
    return false
  }
}

/**
 * Creates a budget: a limit for the connections of several pools together, which get it as their option `budget`. Pools
 * of tenants, or of the nodes of a cluster, for example, each with a `max` of its own.
 *
 * @throws PoolError `POOL_BAD_OPTIONS`
 */
export function createBudget(options: BudgetOptions): Budget {
  return forCaller(createBudget, () => {
    if (!isRecord(options)) throw badOptions([`createBudget needs { max }, got ${show(options)}`])
    const issues: string[] = []
    const { max, name, ...others } = readRecord(options, undefined, issues)
    issues.push(...breaches(whole(1), 'max', max))
    if (name !== undefined) issues.push(...breaches(text, 'name', name))
    for (const other of Object.keys(others))
      issues.push(`${other} is not an option of a budget: it takes max and name`)
    if (issues.length > 0) throw badOptions(issues)
    budgetsMade += 1
    return new SharedBudget((name as string | undefined) ?? `budget-${budgetsMade}`, max as number)
  })
}

/** The limit that the option `maxTotal` of the pool of a cluster is for the pools of its nodes. */
export const createMaxTotal = (pool: string, max: number): Budget => new SharedBudget(pool, max, true)
