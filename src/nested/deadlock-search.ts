import { leasesOf } from './holders.ts'
import type { Case, Knot, PoolNode, Scope, WaitEdge, WaitGroup } from './scope.ts'
import { deadlocked, knots } from './wait-for-graph.ts'

/** Waiters whose stacks are read in one turn of the event loop: some 20 to 40 µs each. */
const PORTION = 50
/**
 * For so many graces a knot of plain loans has to stand: their owners may have handed them on, or be other runs of the
 * same function, which no stack tells for certain.
 */
const PLAIN_GRACES = 5
/** So many waiters, each of which seems to hold leases that nobody else claims, are hardly there by chance. */
const CROWD = 100
const CROWD_GRACES = 1.5

/** A suspicion to be examined: those who are deadlocked if every hint is true. */
export type Suspects = readonly WaitGroup[]

const isHeld = (lease: Scope): boolean => lease.state === 'held'
/** Most often all of them: nothing is made then. */
const heldOf = (leases: readonly Scope[]): readonly Scope[] =>
  leases.every(isHeld) ? leases : leases.filter(isHeld)
const poolOf = (lease: Scope): PoolNode | undefined => lease.member
const isBusy = ({ slot, member }: Scope): boolean => slot !== undefined && member?.isBusy(slot) === true

/**
 * Those who wait while they hold leases of this pool, and those who wait with leases of the pools that these wait for,
 * and so on, over all pools and copies of this package. Most often the first lease that nobody waits with ends the
 * search.
 * @returns with the number of leases of each pool, none of which can move
 */
function involved(from: PoolNode): { cohorts: WaitGroup[]; still: Map<PoolNode, number> } {
  const look = {}
  const cohorts: WaitGroup[] = []
  const still = new Map<PoolNode, number>()
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
function dead(cases: readonly Case[], still: ReadonlyMap<PoolNode, number>): Case[] {
  const quiet = deadlocked(cases, still, poolOf, new Set<Scope>())
  if (quiet.length === 0) return quiet
  // The factory is asked about these leases only, and only now: a lease with work under way is a sign of life.
  const blocked = new Set<Scope>()
  for (const { blocks } of quiet) for (const lease of blocks) blocked.add(lease)
  const lively = new Set<Scope>()
  for (const lease of blocked) if (isBusy(lease)) lively.add(lease)
  return lively.size === 0 ? quiet : deadlocked(cases, still, poolOf, lively)
}

/**
 * The cheap question, for every few milliseconds: could there be a knot that this pool is part of? What it costs
 * depends on the leases, not on how many wait inside each.
 */
export function suspects(member: PoolNode): Suspects {
  const { cohorts, still } = involved(member)
  const cases: Case[] = []
  for (const cohort of cohorts) {
    const { member: pool, leases } = cohort
    if (pool.hasRipe(cohort.waits)) cases.push({ waiter: cohort, pool, blocks: heldOf(leases) })
  }
  const found = dead(cases, still)
  return found.some(({ pool }) => pool === member) ? found.map(({ waiter }) => waiter as WaitGroup) : []
}

/** Asks those whose context alone proves nothing who awaits them, a few in each turn of the loop. */
export class AwaiterQuery {
  /** Called when it has ended: by those who wait for that, to ask some of the same waiters. */
  readonly after = new Set<() => void>()
  readonly #suspects: Suspects
  #left: WaitEdge[]
  #asked: readonly WaitEdge[] = []

  constructor(suspicion: Suspects) {
    this.#suspects = suspicion
    const isCrowd = suspicion.reduce((sum, { askable }) => sum + askable.size, 0) >= CROWD
    const due: WaitEdge[] = []
    for (const cohort of suspicion) {
      cohort.inquest = this
      // Until it has been answered, only what needs no proof is believed.
      forgetAnswers(cohort)
      for (const wait of cohort.askable) {
        if (wait.member.hasStood(wait, isCrowd ? CROWD_GRACES : PLAIN_GRACES)) due.push(wait)
      }
    }
    this.#left = due
  }

  /** Is there nobody to be asked yet, and nothing that needs no answer? */
  get isTooEarly(): boolean {
    return this.isLast && !this.#suspects.some(({ leases }) => leases.some(({ exact }) => exact))
  }

  /** Has the last portion been asked? */
  get isLast(): boolean {
    return this.#left.length === 0
  }

  /** Has these asked once more: meanwhile whoever awaited them may have gone on. */
  renew(waits: readonly WaitEdge[]): void {
    this.#left = [...waits]
  }

  /** The answers are there as soon as the microtasks that this queues have run. */
  ask(): void {
    this.#asked = this.#left.splice(-PORTION)
    for (const wait of this.#asked) {
      wait.chain = undefined
      wait.ask?.()
    }
  }

  hear(): void {
    for (const wait of this.#asked) {
      const { waits, answered } = wait.cohort
      if (!waits.has(wait)) continue
      const unsure: Scope[] = []
      answered.add(wait)
      wait.proven = leasesOf(wait, 'chain', unsure)
      wait.unsure = unsure
    }
  }

  end(): void {
    for (const cohort of this.#suspects) cohort.inquest = undefined
    for (const each of this.after) each()
  }
}

/** The knot of which this pool is part, once the suspects have been asked. */
export function provenKnot(member: PoolNode): Knot | undefined {
  const { cohorts, still } = involved(member)
  // Who has become part of it meanwhile has been asked long ago, if ever: whoever awaited it then may have gone on.
  for (const cohort of cohorts) {
    if (cohort.inquest === undefined) forgetAnswers(cohort)
  }
  const believed = crowdAmong(cohorts)
  const cases = cohorts.flatMap(cohort => casesOf(cohort, believed))
  return knotAmong(cases, still, member)
}

/** As few of its waiters as block every lease of it: if they cannot go on, nobody in it can. */
export function coverOf(knot: Knot): { cases: Knot; waits: WaitEdge[] } {
  const covered = new Set<Scope>()
  const waits: WaitEdge[] = []
  // A cohort need not be asked. The youngest is the one to be rejected.
  const cases = [...knot.filter(isCohort), ...knot.filter(each => !isCohort(each)).reverse()].filter(each => {
    const before = covered.size
    for (const lease of each.blocks) covered.add(lease)
    if (covered.size > before && !isCohort(each)) waits.push(each.waiter as WaitEdge)
    return covered.size > before
  })
  return { cases, waits }
}

/** Does it hold still? Some of its waiters may have left or gone on since it was proved, and a pool may have moved. */
export function stands(cases: Knot, member: PoolNode): boolean {
  const pools = [...new Set(cases.map(({ pool }) => pool))]
  const still = pools.filter(pool => !pool.canMove())
  const left = cases.filter(({ waiter, pool, blocks }) => {
    if ('waits' in waiter) return pool.hasRipe(unasked(waiter))
    return pool.isRipe(waiter) && blocks.every(lease => holds(waiter, lease))
  })
  // Most often nothing has changed.
  const isSame = still.length === pools.length && left.length === cases.length
  if (isSame && !left.some(({ blocks }) => blocks.some(isBusy))) return true
  return knotAmong(left, new Map(still.map(pool => [pool, pool.lent])), member) !== undefined
}

const isCohort = ({ waiter }: Case): boolean => 'waits' in waiter

const holds = ({ proven, unsure }: WaitEdge, lease: Scope): boolean =>
  proven?.includes(lease) === true || unsure.includes(lease)

function knotAmong(
  cases: readonly Case[],
  still: ReadonlyMap<PoolNode, number>,
  member: PoolNode,
): Knot | undefined {
  return knots(dead(cases, still), poolOf).find(knot => knot.some(({ pool }) => pool === member))
}

/** The waiters whose claims are believed because there are many of their kind. */
function crowdAmong(cohorts: readonly WaitGroup[]): ReadonlySet<WaitEdge> {
  const claims = new Map<Scope, number>()
  const claiming: WaitEdge[] = []
  for (const { answered } of cohorts) {
    for (const wait of answered) {
      if (wait.unsure.length === 0 || !wait.member.hasStood(wait, CROWD_GRACES)) continue
      claiming.push(wait)
      for (const lease of wait.unsure) claims.set(lease, (claims.get(lease) ?? 0) + 1)
    }
  }
  const alone = claiming.filter(wait =>
    wait.unsure.every(lease => claims.get(lease) === 1 && isLeftAlone(wait, lease)),
  )
  return new Set(alone.length < CROWD ? [] : alone)
}

/** Nobody awaited the run that took the lease. Is that true as well of the one that waits now? */
const isLeftAlone = ({ chain }: WaitEdge, { owners }: Scope): boolean =>
  chain?.frames.at(-1)?.func === owners?.frames.at(-1)?.func

function forgetAnswers({ answered }: WaitGroup): void {
  for (const wait of answered) wait.proven = undefined
  answered.clear()
}

/** One by one: most often the first of them is all that is asked for. */
function* unasked({ waits, answered }: WaitGroup): Generator<WaitEdge> {
  for (const wait of waits) if (!answered.has(wait)) yield wait
}

/** What is proved of a cohort: who has been asked stands for itself, all others are held by what needs no proof. */
function casesOf(cohort: WaitGroup, believed: ReadonlySet<WaitEdge>): Case[] {
  const { member, scope, answered } = cohort
  const cases: Case[] = []
  if (member.hasRipe(unasked(cohort))) {
    const blocks = leasesOf({ scope, trace: undefined, chain: undefined }, 'chain')
    cases.push({ waiter: cohort, pool: member, blocks })
  }
  for (const wait of answered) {
    if (!member.isRipe(wait)) continue
    const { proven = [], unsure } = wait
    const isBelieved = unsure.length > 0 && (believed.has(wait) || member.hasStood(wait, PLAIN_GRACES))
    const blocks = isBelieved ? [...proven, ...unsure] : proven
    cases.push({ waiter: wait, pool: member, blocks: heldOf(blocks) })
  }
  return cases
}
