import { leasesOf } from './holders.ts'
import type { Case, Cohort, Knot, Member, Scope, Wait } from './scope.ts'
import { deadlocked, knots } from './verdict.ts'

/** Waiters whose stacks are read in one turn of the event loop: some 20 to 40 µs each. */
const PORTION = 50
/** So many waiters, each of which seems to hold leases that nobody else claims, are not there by chance. */
const MANY = 16

/** A suspicion to be examined: those who are deadlocked if every hint is true. */
export type Suspects = readonly Cohort[]

const isHeld = (lease: Scope): boolean => lease.state === 'held'
/** Most often all of them: nothing is made then. */
const heldOf = (leases: readonly Scope[]): readonly Scope[] =>
  leases.every(isHeld) ? leases : leases.filter(isHeld)
const poolOf = (lease: Scope): Member | undefined => lease.member

/**
 * Those who wait while they hold leases of this pool, and those who wait with leases of the pools that these wait for,
 * and so on, over all pools and copies of this package. Most often the first lease that nobody waits with ends the
 * search.
 * @returns with the number of leases of each pool, none of which can move
 */
function involved(from: Member): { cohorts: Cohort[]; still: Map<Member, number> } {
  const look = {}
  const cohorts: Cohort[] = []
  const still = new Map<Member, number>()
  const toVisit = [from]
  for (let member = toVisit.pop(); member !== undefined; member = toVisit.pop()) {
    if (still.has(member) || member.canMove() || !member.isStuck()) {
      if (member === from && !still.has(member)) break
      continue
    }
    still.set(member, member.lent)
    for (const lease of member.leases()) {
      for (const cohort of lease.cohorts ?? []) {
        if (cohort.look === look) continue
        cohort.look = look
        cohorts.push(cohort)
        if (!still.has(cohort.member)) toVisit.push(cohort.member)
      }
    }
  }
  return { cohorts, still }
}

/** The deadlocked ones among them. */
function dead(cases: readonly Case[], still: ReadonlyMap<Member, number>): Case[] {
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

/**
 * The cheap question, for every few milliseconds: could there be a knot that this pool is part of? What it costs
 * depends on the leases, not on how many wait inside each.
 */
export function suspects(member: Member): Suspects {
  const { cohorts, still } = involved(member)
  const cases: Case[] = []
  for (const cohort of cohorts) {
    const { member: pool, leases } = cohort
    if (pool.hasRipe(cohort.waits)) cases.push({ waiter: cohort, pool, blocks: heldOf(leases) })
  }
  const found = dead(cases, still)
  return found.some(({ pool }) => pool === member) ? found.map(({ waiter }) => waiter as Cohort) : []
}

/** Asks those whose context alone proves nothing who awaits them, a few in each turn of the loop. */
export class Inquest {
  /** Called when it has ended: by those who wait for that, to ask some of the same waiters. */
  readonly after = new Set<() => void>()
  readonly #suspects: Suspects
  readonly #left: Wait[] = []
  #asked: readonly Wait[] = []

  constructor(suspicion: Suspects) {
    this.#suspects = suspicion
    for (const cohort of suspicion) {
      cohort.inquest = this
      // Until it has been answered, only what needs no proof is believed.
      forgetAnswers(cohort)
      for (const wait of cohort.askable) this.#left.push(wait)
    }
  }

  /** The answers are there once the loop has turned. */
  ask(): void {
    this.#asked = this.#left.splice(-PORTION)
    for (const wait of this.#asked) {
      wait.chain = undefined
      wait.ask?.()
    }
  }

  /** @returns whether there are more to be asked */
  hear(): boolean {
    for (const wait of this.#asked) {
      const { waits, answered } = wait.cohort
      if (!waits.has(wait)) continue
      const unsure: Scope[] = []
      answered.add(wait)
      wait.proven = leasesOf(wait, 'chain', unsure)
      wait.unsure = unsure
    }
    return this.#left.length > 0
  }

  end(): void {
    for (const cohort of this.#suspects) cohort.inquest = undefined
    for (const each of this.after) each()
  }
}

/** The knot of which this pool is part, once the suspects have been asked. */
export function provenKnot(member: Member): Knot | undefined {
  const { cohorts, still } = involved(member)
  // Who has become part of it meanwhile has been asked long ago, if ever: whoever awaited it then may have gone on.
  for (const cohort of cohorts) {
    if (cohort.inquest === undefined) forgetAnswers(cohort)
  }
  const believed = beyondDoubt(cohorts)
  const cases = cohorts.flatMap(cohort => casesOf(cohort, believed))
  return knotAmong(cases, still, member)
}

/** What is left of it: whoever was proved to be in it may have left since, and a pool may have moved. */
export function leftOf(knot: Knot, member: Member): Knot | undefined {
  const pools = [...new Set(knot.map(({ pool }) => pool))].filter(pool => !pool.canMove())
  const cases = knot.filter(({ waiter }) =>
    'waits' in waiter ? waiter.waits.size > waiter.answered.size : waiter.cohort.waits.has(waiter),
  )
  return knotAmong(cases, new Map(pools.map(pool => [pool, pool.lent])), member)
}

function knotAmong(
  cases: readonly Case[],
  still: ReadonlyMap<Member, number>,
  member: Member,
): Knot | undefined {
  return knots(dead(cases, still), poolOf).find(knot => knot.some(({ pool }) => pool === member))
}

/** The waiters whose claims are believed because there are many of their kind. */
function beyondDoubt(cohorts: readonly Cohort[]): ReadonlySet<Wait> {
  const claims = new Map<Scope, number>()
  const doubted: Wait[] = []
  for (const { answered } of cohorts) {
    for (const wait of answered) {
      if (wait.unsure.length === 0) continue
      doubted.push(wait)
      for (const lease of wait.unsure) claims.set(lease, (claims.get(lease) ?? 0) + 1)
    }
  }
  const alone = doubted.filter(wait =>
    wait.unsure.every(lease => claims.get(lease) === 1 && isLeftAlone(wait, lease)),
  )
  return new Set(alone.length < MANY ? [] : alone)
}

/** Nobody awaited the run that took the lease. Is that true as well of the one that waits now? */
const isLeftAlone = ({ chain }: Wait, { owners }: Scope): boolean =>
  chain?.frames.at(-1)?.func === owners?.frames.at(-1)?.func

function forgetAnswers({ answered }: Cohort): void {
  for (const wait of answered) wait.proven = undefined
  answered.clear()
}

/** What is proved of a cohort: who has been asked stands for itself, all others are held by what needs no proof. */
function casesOf(cohort: Cohort, believed: ReadonlySet<Wait>): Case[] {
  const { member, scope, waits, answered } = cohort
  const cases: Case[] = []
  const others = answered.size === 0 ? waits : [...waits].filter(wait => !answered.has(wait))
  if (member.hasRipe(others)) {
    const blocks = leasesOf({ scope, trace: undefined, chain: undefined }, 'chain')
    cases.push({ waiter: cohort, pool: member, blocks })
  }
  for (const wait of answered) {
    if (!member.isRipe(wait)) continue
    const { proven = [], unsure } = wait
    const isBelieved = unsure.length > 0 && (believed.has(wait) || member.isOverripe(wait))
    const blocks = isBelieved ? [...proven, ...unsure] : proven
    cases.push({ waiter: wait, pool: member, blocks: heldOf(blocks) })
  }
  return cases
}
