import type { Clock } from '../runtime/time/clock.ts'
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

/**
 * A search that looked at plain leases and found nothing was expensive, so this many of the next searches are skipped.
 */
const PAUSE = 3

interface Asked {
  readonly wait: Wait
  readonly pool: PoolNode
}

/**
 * Looks for a knot that one pool is part of. Each step runs in its own turn of the event loop, so data that is still
 * unread in the kernel is handled before the verdict.
 *
 *     suspect ──► ask who awaits the waiters of this pool, and of the pools whose leases they hold … ──► decide
 *     decide ──► ask the waiters that make up the knot again, all at once ──► decide again at once ──► break
 */
export class DeadlockSearch {
  /** The search pauses until this time because it has used up its share, in milliseconds of the pool's clock. */
  restsUntil = 0
  readonly #pool: PoolNode
  readonly #clock: Clock
  readonly #onKnot: (knot: Knot) => void
  /** The milliseconds that the search may still work. */
  readonly #credit: TokenBucket
  #isUnderWay = false
  #leftOut = 0
  #byNumber = new Map<number, Lease>()
  #plain = new PlainLeases()
  #poolsOf: (lease: Lease) => readonly PoolNode[] = () => []
  readonly #visited = new Set<PoolNode>()
  #toAsk: Asked[] = []
  #asked: Asked[] = []

  constructor(pool: PoolNode, clock: Clock, onKnot: (knot: Knot) => void) {
    this.#pool = pool
    this.#clock = clock
    this.#onKnot = onKnot
    this.#credit = new TokenBucket(SEARCH_MILLIS, 1 / SEARCH_SHARE, SEARCH_MILLIS, clock.now())
  }

  start(): void {
    if (this.#isUnderWay || this.#clock.now() < this.restsUntil) return
    this.#leftOut -= 1
    if (this.#leftOut >= 0) return
    this.#work(() => {
      if (!mayBeStuck(this.#pool)) return
      this.#isUnderWay = true
      this.#poolsOf = poolsServed()
      this.#visit(this.#pool)
      // Plain leases matter only now: a knot that contains any is not broken before `CROWD_GRACES`. Any waiter of any
      // pool could hold one of them.
      if (this.#pool.hasStood(CROWD_GRACES)) {
        for (const pool of allPools()) {
          for (const held of pool.leases()) if (held.isPlain) this.#plain.add(held)
        }
        if (!this.#plain.isEmpty) for (const pool of allPools()) this.#visit(pool)
      }
      this.#ask()
    })
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
    const knot = this.#knot()
    if (knot === undefined) {
      this.#leftOut = this.#plain.isEmpty ? 0 : PAUSE
      this.#end()
      return
    }
    for (const { waiter } of coverOf(knot)) waiter.ask()
    // The waiters have answered by then, and nothing else has happened that could serve one of them.
    queueMicrotask(() => {
      this.#work(() => {
        if (this.#knot() !== undefined) this.#onKnot(knot)
        this.#end()
      })
    })
  }

  #end(): void {
    this.#isUnderWay = false
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

  /** The knot that this pool is part of, if the answers so far prove one. */
  #knot(): Knot | undefined {
    const standing = [...this.#visited].filter(pool => !pool.canMove())
    const still = new Map(standing.map(pool => [pool, sum([pool, ...pool.rivals()].map(({ lent }) => lent))]))
    const poolsOf = poolsServed()
    const edges = this.#asked.map(({ wait, pool }) => ({ waiter: wait, pool, blocks: this.#inUse(wait) }))
    const lively = new Set(
      edges.flatMap(({ blocks }) => blocks.filter(held => !held.pool.isQuiet(held.connection, 1))),
    )
    const claims = claimsOf(this.#plain, edges)
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
        return knots(dead, poolsOf).find(knot => knot.some(({ pool }) => pool === this.#pool))
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
