import { leasesOf, type Trust } from './holders.ts'
import type { Member, Scope, Wait } from './scope.ts'
import { deadlocked, type Judged, knots } from './verdict.ts'

/** Stacks read in one turn of the event loop: some 10 µs each. */
const PORTION = 200

/** A suspicion to be examined: the waiters that are deadlocked if every hint is true. */
export type Suspects = readonly Wait[]

const NOBODY = { frames: [] }

type Case = Judged<Wait, Scope, Member>

const isHeld = (lease: Scope): boolean => lease.state === 'held'
/** Most often all of them: nothing is made then, for there may be ten thousand waiters. */
const heldOf = (leases: readonly Scope[]): readonly Scope[] =>
  leases.every(isHeld) ? leases : leases.filter(isHeld)
const poolOf = (lease: Scope): Member | undefined => lease.member

/**
 * The deadlocked waiters on whom this pool's waiters depend, over all pools and copies of this package: from its leases
 * to whoever waits while holding them, to the pools that those wait for, and so on. Most often the first lease that
 * nobody waits with ends the search.
 */
function dead(from: Member, trust: Trust): Case[] {
  const look = {}
  const cases: Case[] = []
  const still = new Map<Member, number>()
  const toVisit = [from]
  for (let member = toVisit.pop(); member !== undefined; member = toVisit.pop()) {
    if (still.has(member) || member.canMove() || !member.isStuck()) {
      if (member === from && !still.has(member)) return []
      continue
    }
    still.set(member, member.lent)
    for (const lease of member.leases()) {
      for (const wait of lease.waits ?? []) {
        if (wait.look === look) continue
        wait.look = look
        if (!wait.member.isRipe(wait)) continue
        const blocks = trust === 'hints' ? heldOf(wait.leases) : leasesOf(wait, trust)
        cases.push({ waiter: wait, pool: wait.member, blocks })
        if (!still.has(wait.member)) toVisit.push(wait.member)
      }
    }
  }
  const quiet = deadlocked(cases, still, poolOf, new Set<Scope>())
  if (quiet.length === 0) return quiet
  // The factory is asked about these leases only, and only now: a lease with work under way is a sign of life.
  const blocked = new Set<Scope>()
  for (const { blocks } of quiet) for (const lease of blocks) blocked.add(lease)
  const lively = new Set<Scope>()
  for (const lease of blocked) {
    if (lease.slot !== undefined && lease.member?.isBusy(lease.slot)) lively.add(lease)
  }
  return lively.size === 0 ? quiet : deadlocked(cases, still, poolOf, lively)
}

/** The cheap question, for every few milliseconds: could there be a knot that this pool is part of? */
export function suspects(member: Member): Suspects {
  const found = dead(member, 'hints')
  return found.some(({ pool }) => pool === member) ? found.map(({ waiter }) => waiter) : []
}

/**
 * Has the stacks of the next few suspects read, and asks who awaits them.
 * @returns those that are left for the next turn
 */
export function prepare(waits: Suspects): Suspects {
  for (const wait of waits.slice(0, PORTION)) {
    wait.trace?.frames
    // Until it has been answered, nobody is known to await it.
    wait.chain = NOBODY
    wait.ask?.()
  }
  return waits.slice(PORTION)
}

/** The knots of which this pool is part, once the suspects are prepared; each with its waiters. */
export function provenKnots(member: Member): Wait[][] {
  return knots(dead(member, 'chain'), poolOf)
    .filter(knot => knot.some(({ pool }) => pool === member))
    .map(knot => knot.map(({ waiter }) => waiter))
}

/** Whom it costs least: the one that has waited the shortest. */
export const youngest = (knot: readonly Wait[]): Wait | undefined =>
  knot.reduce<Wait | undefined>(
    (last, wait) => (last === undefined || wait.order > last.order ? wait : last),
    undefined,
  )
