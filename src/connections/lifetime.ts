import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { DestroyReason } from '../api/stats.ts'
import type { Slot } from './slot.ts'

/** Why a connection that is returned, or about to be lent, must be destroyed; undefined if it may still be used. */
export function expired<T>(
  slot: Slot<T>,
  now: number,
  generation: number,
  retireAfter: number,
  maxUses: number,
): DestroyReason | undefined {
  if (slot.fault !== undefined) return slot.fault.reason
  if (slot.generation !== generation) return 'generation'
  if (now >= slot.retireAt) return 'lifetime'
  if (slot.loan >= maxUses) return 'uses'
  return now - slot.traffic.quietSince >= retireAfter ? 'server-timeout' : undefined
}

/** At most this much stall is discounted: in a longer one, the machine may have slept while connections aged. Milliseconds. */
const MAX_DISCOUNTED_STALL = 10_000

/** Must an idle connection be validated before it is lent? */
export function mustValidate<T>(
  slot: Slot<T>,
  now: number,
  options: ResolvedOptions,
  stalls: { since(start: number): number },
): boolean {
  if (options.testOnBorrow) return true
  const since = Math.max(slot.idleSince, slot.provenAt)
  const limit = options.validateAfterIdleMillis
  // Without the discount, all connections would look stale after a stall and would be validated at once.
  return now - since >= limit && now - since - Math.min(stalls.since(since), MAX_DISCOUNTED_STALL) >= limit
}

/**
 * When a new connection retires: after `maxLifetimeMillis`, minus a random share of up to `lifetimeJitter`, so that
 * connections created together do not end together. (HikariCP varies lifetimes for the same reason.)
 */
export function retireTime(now: number, options: ResolvedOptions, random: () => number): number {
  return now + options.maxLifetimeMillis * (1 - options.lifetimeJitter * random())
}

/** A connection retires this much of its time before it expires, and at most this many milliseconds. */
const EXPIRY_SHARE = 0.1
const MAX_EXPIRY_LEAD_MILLIS = 60_000

/**
 * When a new connection that expires is to be retired: before its end, and up to as much earlier again, so that
 * connections made together do not end together.
 *
 * @param left - for how many milliseconds it can be used
 */
export function retireBeforeExpiry(now: number, left: number, random: () => number): number {
  return now + left - Math.min(left * EXPIRY_SHARE, MAX_EXPIRY_LEAD_MILLIS) * (1 + random())
}
