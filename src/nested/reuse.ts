import type { StackTrace } from '../runtime/stack-trace.ts'
import { isOfThisLine } from './holders.ts'
import { heldFrom, type PoolNode, Scope } from './scope.ts'

/*
 * `nested: 'reuse'`: one connection for a line of execution, however often it asks.
 *
 *     use ─────────────────────────────────────────────┐ lease
 *       └ use ── share ──────────┐                     │
 *            └ acquire ─ share ┐ │      use ── share ┐ │      one after the other: the same connection
 *                              ┘ ┘                   ┘ ┘
 *       └ Promise.all([ use, use ])   the first shares; while it does, the second gets a connection of its own
 *
 * The lease remembers who works on it (`tip`). Only what is started from there may share it. So two branches of a
 * `Promise.all` never mix their commands; but the parent still may, if it goes on without awaiting its child.
 */

/** The innermost scope of the caller's line that works on a lease of this pool, if it may go on with it. */
export function shareable(around: Scope | undefined, pool: PoolNode, asked: StackTrace): Scope | undefined {
  let scope = around
  while (scope !== undefined && scope.lease.member !== pool) scope = heldFrom(scope.parent)
  if (scope === undefined || scope.lease.state !== 'held' || scope.lease.over) return undefined
  if ((scope.lease.tip ?? scope.lease) !== scope) return undefined
  return isOfThisLine(scope, asked) ? scope : undefined
}

/** Another loan of the same lease. */
export function share(within: Scope, around: Scope, exact: boolean, asked: StackTrace): Scope {
  const { lease } = within
  const child = new Scope(lease.member as PoolNode, around, exact)
  child.lease = lease
  child.trace = asked
  child.begin(lease.slot as object)
  lease.shares += 1
  lease.tip = child
  return child
}

/** Ends such a loan. @returns whether the connection is to be given back now: its own loan had ended before */
export function unshare(child: Scope): boolean {
  const { lease } = child
  if (child.state !== 'held') return false
  child.state = 'ended'
  if (lease.state !== 'held') return false
  lease.shares -= 1
  if (lease.tip === child) {
    let below = heldFrom(child.parent)
    while (below !== undefined && below.lease !== lease) below = heldFrom(below.parent)
    lease.tip = below === lease ? undefined : below
  }
  child.end()
  return lease.shares === 0 && lease.over
}

/** May a lease's own loan end the lease? Not while others share it; then the last of them does. */
export function endsAlone(lease: Scope | undefined): boolean {
  if (lease === undefined || lease.shares === 0) return true
  lease.over = true
  return false
}
