import { type Clock, oncePerClock } from '../runtime/time/clock.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import type { Knot, Lease, PoolNode, Wait, WaitEdge } from './host.ts'
import { CROWD, CROWD_GRACES, claimsOf, PLAIN_GRACES, PlainLeases, takingOf } from './plain-leases.ts'
import { allPools, leaseOfUse } from './process-wide.ts'
import { deadlocked, knots } from './wait-for-graph.ts'

/** Waiters asked in one turn of the event loop. One waiter costs 4 to 10 µs, with plain leases about 30 µs. */
const PORTION = 100
/**
 * A search may run for `SEARCH_MILLIS` at a stretch, and in the long run for one part in `SEARCH_SHARE` of the time.
 */
const SEARCH_SHARE = 20
const SEARCH_MILLIS = 50

/** A search that looked at plain leases and found nothing was expensive: they are not looked at again for so long. */
const PLAIN_REST_MILLIS = 100

interface Asked {
  readonly wait: Wait
  readonly pool: PoolNode
}

/**
 * Looks for knots: one search at a time for all pools of the process, so that many pools that wait, as behind a slow
 * server, cost no more than one. Each step runs in its own turn of the event loop, so data that is still unread in the
 * kernel is handled before the verdict.
 *
 *     suspect ──► ask who awaits the waiters of these pools, and of the pools whose leases they hold … ──► decide
 *     decide ──► ask the waiters that make up the knots again, all at once ──► decide again at once ──► break
 */
export class DeadlockSearch {
  /** The search pauses until this time because it has used up its share, in milliseconds of the clock. */
  restsUntil = 0
  readonly #clock: Clock
  readonly #onKnot: (knot: Knot) => void
  /** The milliseconds that the search may still work. */
  readonly #credit: TokenBucket
  #isUnderWay = false
  /** The pools that have asked for a search since the last one began. */
  readonly #requested = new Set<PoolNode>()
  /** Plain leases are not looked at before this time. */
  #plainRestsUntil = 0
  /** The pools for which it searches now. */
  #suspects: readonly PoolNode[] = []
  #byNumber = new Map<number, Lease>()
  #plain = new PlainLeases()
  #poolsOf: (lease: Lease) => readonly PoolNode[] = () => []
  readonly #visited = new Set<PoolNode>()
  #toAsk: Asked[] = []
  #asked: Asked[] = []

  constructor(clock: Clock, onKnot: (knot: Knot) => void) {
    this.#clock = clock
    this.#onKnot = onKnot
    this.#credit = new TokenBucket(SEARCH_MILLIS, 1 / SEARCH_SHARE, SEARCH_MILLIS, clock.now())
  }

  /** Searches for a knot that this pool is part of: now, or when the search can begin and some pool asks for it. */
  request(pool: PoolNode): void {
    this.#requested.add(pool)
    const now = this.#clock.now()
    const isRested = now >= this.#plainRestsUntil
    const isTurnOf = (each: PoolNode): boolean => isRested || !each.hasStood(CROWD_GRACES)
    if (this.#isUnderWay || now < this.restsUntil) return
    this.#work(() => {
      const requested = [...this.#requested].filter(isTurnOf)
      for (const each of requested) this.#requested.delete(each)
      this.#suspects = requested.filter(mayBeStuck)
      if (this.#suspects.length === 0) return
      this.#isUnderWay = true
      this.#poolsOf = poolsServed()
      for (const suspect of this.#suspects) this.#visit(suspect)
      // Plain leases matter only now: a knot that contains any is not broken before `CROWD_GRACES`. Any waiter of any
      // pool could hold one of them.
      if (this.#suspects.some(suspect => suspect.hasStood(CROWD_GRACES))) {
        for (const each of allPools()) {
          for (const held of each.leases()) if (held.isPlain) this.#plain.add(held)
        }
        if (!this.#plain.isEmpty) for (const each of allPools()) this.#visit(each)
      }
      this.#ask()
    })
  }

  /** Forgets a request, when no acquire of the pool waits any more. */
  withdraw(pool: PoolNode): void {
    this.#requested.delete(pool)
  }

  /** Puts the waiters of a pool on the list of those to ask. */
  #visit(pool: PoolNode): void {
    if (this.#visited.has(pool)) return
    this.#visited.add(pool)
    for (const wait of pool.waits()) this.#toAsk.push({ wait, pool })
  }

  #ask(): void {
    const portion = this.#toAsk.splice(-PORTION)
    for (const { wait } of portion) wait.ask()
    this.#asked.push(...portion)
    this.#later(() => {
      // Continues with the pools whose leases these waiters hold, even pools that can still move.
      for (const { wait } of portion)
        for (const held of this.#inUse(wait)) for (const pool of this.#poolsOf(held)) this.#visit(pool)
      if (this.#toAsk.length > 0) this.#ask()
      else this.#decide()
    })
  }

  #decide(): void {
    const knots = this.#knots()
    if (knots.length === 0) {
      if (!this.#plain.isEmpty) this.#plainRestsUntil = this.#clock.now() + PLAIN_REST_MILLIS
      this.#end()
      return
    }
    for (const knot of knots) for (const { waiter } of coverOf(knot)) waiter.ask()
    // The waiters have answered by then, and nothing else has happened that could serve one of them.
    queueMicrotask(() => {
      this.#work(() => {
        const stuck = new Set(this.#knots().flatMap(knot => knot.map(({ pool }) => pool)))
        for (const knot of knots) if (knot.some(({ pool }) => stuck.has(pool))) this.#onKnot(knot)
        this.#end()
      })
    })
  }

  #end(): void {
    this.#isUnderWay = false
    this.#suspects = []
    this.#byNumber = new Map()
    this.#plain = new PlainLeases()
    this.#poolsOf = () => []
    this.#visited.clear()
    this.#asked = []
  }

  /**
   * The `use` leases that wait for this waiter. One lease is the same object throughout a search, because the graph
   * compares by identity.
   */
  #inUse({ awaiters }: Wait): Lease[] {
    return (awaiters?.chain?.leases ?? []).flatMap(number => {
      const held = leaseOfUse(number)
      const known = this.#byNumber.get(number)
      if (held === undefined) return []
      if (known?.loan === held.loan && known.connection === held.connection) return known
      this.#byNumber.set(number, held)
      return held
    })
  }

  /** The knots that the suspects are part of, as far as the answers so far prove any. */
  #knots(): Knot[] {
    const standing = [...this.#visited].filter(pool => !pool.canMove())
    const still = new Map(standing.map(pool => [pool, sum([pool, ...pool.rivals()].map(({ lent }) => lent))]))
    const poolsOf = poolsServed()
    const edges = this.#asked.map(({ wait, pool }) => ({ waiter: wait, pool, blocks: this.#inUse(wait) }))
    const lively = new Set(
      edges.flatMap(({ blocks }) => blocks.filter(held => !held.pool.isQuiet(held.connection, 1))),
    )
    const claims = claimsOf(this.#plain, edges)
    const suspects = new Set(this.#suspects)
    for (;;) {
      const claimed = new Map<Wait, Lease[]>()
      for (const { waits, leases } of claims) {
        for (const { waiter } of waits) claimed.set(waiter, [...(claimed.get(waiter) ?? []), ...leases])
      }
      const candidates = edges
        .filter(({ waiter, pool }) => pool.isDue(waiter))
        .map(edge => ({ ...edge, blocks: [...edge.blocks, ...(claimed.get(edge.waiter) ?? [])] }))
      const dead = deadlocked(candidates, still, poolsOf, lively)
      const stuck = new Set(dead.map(({ pool }) => pool))
      // Drops these claims: one of their waiters may still go on, and it could be the one that holds the lease.
      const doubtful = claims.filter(({ waits }) =>
        waits.some(({ waiter, pool }) => !stuck.has(pool) || !pool.isBound(waiter)),
      )
      if (doubtful.length === 0)
        return knots(dead, poolsOf).filter(knot => knot.some(({ pool }) => suspects.has(pool)))
      for (const claim of doubtful) claims.splice(claims.indexOf(claim), 1)
    }
  }

  #later(step: () => void): void {
    this.#clock.turn(() => this.#work(step))
  }

  /** Runs one step and charges its time. The search pauses once it has used up its share. */
  #work(step: () => void): void {
    const before = this.#clock.now()
    step()
    this.#credit.spend(this.#clock.now() - before, before)
    this.restsUntil = this.#credit.evenAt(this.#clock.now())
  }
}

/** The search of the pools with this clock: with the system clock, one per process. */
export const searchOn = oncePerClock(clock => new DeadlockSearch(clock, breakKnot))

/** Rejects one waiter. The others of the knot are served before those that came meanwhile, or it could form again. */
function breakKnot(knot: Knot): void {
  const victim = youngestOf(knot)
  if (victim?.pool.reject(victim.waiter, knot) !== true) return
  const pools = new Set(knot.map(({ pool }) => pool))
  for (const each of pools) {
    each.prioritise(knot.filter(({ pool }) => pool === each).map(({ waiter }) => waiter))
  }
}

/** The pools whose waiters a lease can serve when it ends: its own, and those that only its budget keeps from connecting. */
function poolsServed(): (lease: Lease) => readonly PoolNode[] {
  const served = new Map<PoolNode, readonly PoolNode[]>()
  return ({ pool }) => {
    let pools = served.get(pool)
    if (pools === undefined) {
      pools = [pool, ...pool.sharers().filter(each => each.rivals().includes(pool))]
      served.set(pool, pools)
    }
    return pools
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)

/** A cheap check, repeated while anybody waits: could every lease of this pool be held by a waiter? */
function mayBeStuck(waited: PoolNode): boolean {
  const pools = [waited, ...waited.rivals()]
  const leases = pools.flatMap(pool => pool.leases())
  const plain = leases.filter(({ isPlain }) => isPlain)
  const graces = plain.length === 0 ? 1 : plain.length < CROWD ? PLAIN_GRACES : CROWD_GRACES
  // Checks every lease, without stopping at the first lively one: traffic is measured from one check to the next.
  const lively = leases.filter(
    ({ pool, connection, isPlain }) => !pool.isQuiet(connection, isPlain ? graces : 1),
  )
  // If it is unknown who took a plain lease, no holder can be proved, so the lease counts as able to end.
  return (
    lively.length === 0 &&
    pools.every(pool => pool.hasStood(graces)) &&
    plain.every(({ connection }) => takingOf(connection) !== undefined)
  )
}

/** The fewest waiters that block every lease of the knot, plus the youngest, which will be rejected. */
function coverOf(knot: Knot): WaitEdge[] {
  const covered = new Set<Lease>()
  const youngest = youngestOf(knot)
  return knot.filter(edge => {
    const before = covered.size
    for (const held of edge.blocks) covered.add(held)
    return covered.size > before || edge === youngest
  })
}

/** The waiter that loses least: the one that has waited the shortest time. */
export function youngestOf(knot: Knot): WaitEdge | undefined {
  let youngest: WaitEdge | undefined
  for (const edge of knot)
    if (youngest === undefined || edge.waiter.since >= youngest.waiter.since) youngest = edge
  return youngest
}
