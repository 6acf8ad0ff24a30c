import type { Clock } from '../runtime/time/clock.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import type { Held, Knot, PoolNode, Wait, WaitEdge } from './host.ts'
import { CROWD, CROWD_GRACES, claimsOf, PLAIN_GRACES, PlainLeases, takingOf } from './plain-leases.ts'
import { allPools, heldInUse } from './process-wide.ts'
import { deadlocked, knots } from './wait-for-graph.ts'

/** Waiters that are asked in one turn of the event loop: 4 to 10 µs each, of plain leases some 30. */
const PORTION = 100
/** The share of time that searches may take in the long run, one in so many; and so many milliseconds in a row. */
const SEARCH_SHARE = 20
const SEARCH_MILLIS = 50
/** A search that has looked at plain leases for nothing costs more than others: so many of the next are left out. */
const PAUSE = 3

interface Asked {
  readonly wait: Wait
  readonly pool: PoolNode
}

const poolOf = ({ pool }: Held): PoolNode | undefined => pool

/**
 * Looks for a knot of which one pool is part, each step in a turn of the event loop of its own: whatever lies unread
 * in the kernel gets its say before the end.
 *
 *     suspect ──► ask who awaits the waiters of this pool, and of those whose leases they hold … ──► judge
 *     judge ──► ask those by whom the knot stands once more, all at once ──► judge again, at once ──► break
 */
export class DeadlockSearch {
  /** Until when it rests, as it has taken too much time; in milliseconds of the pool's clock. */
  restsUntil = 0
  readonly #pool: PoolNode
  readonly #clock: Clock
  readonly #onKnot: (knot: Knot) => void
  /** For how many milliseconds it may work. */
  readonly #credit: TokenBucket
  #isUnderWay = false
  #leftOut = 0
  #byNumber = new Map<number, Held>()
  #plain = new PlainLeases()
  readonly #visited = new Set<PoolNode>()
  #toAsk: Asked[] = []
  #asked: Asked[] = []

  constructor(pool: PoolNode, clock: Clock, onKnot: (knot: Knot) => void) {
    this.#pool = pool
    this.#clock = clock
    this.#onKnot = onKnot
    this.#credit = new TokenBucket(SEARCH_MILLIS, 1 / SEARCH_SHARE, SEARCH_MILLIS, clock.now())
  }

  begin(): void {
    if (this.#isUnderWay || this.#clock.now() < this.restsUntil) return
    this.#leftOut -= 1
    if (this.#leftOut >= 0) return
    this.#work(() => {
      if (!mayBeStuck(this.#pool)) return
      this.#isUnderWay = true
      this.#visit(this.#pool)
      // A knot with plain leases in it is not broken before; whoever waits anywhere could hold one of them.
      if (this.#pool.hasStood(CROWD_GRACES)) {
        for (const pool of allPools()) {
          for (const held of pool.leases()) if (held.isPlain) this.#plain.add(held)
        }
        if (!this.#plain.isEmpty) for (const pool of allPools()) this.#visit(pool)
      }
      this.#ask()
    })
  }

  /** Those who wait for this pool are asked. */
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
      // The pools of the leases that they hold; whether those can move or not.
      for (const { wait } of portion) for (const { pool } of this.#inUse(wait)) this.#visit(pool)
      if (this.#toAsk.length > 0) this.#ask()
      else this.#judge()
    })
  }

  #judge(): void {
    const knot = this.#knot()
    if (knot === undefined) {
      this.#leftOut = this.#plain.isEmpty ? 0 : PAUSE
      this.#end()
      return
    }
    for (const { waiter } of coverOf(knot)) waiter.ask()
    // By then they have answered, and nothing else has happened that could move them.
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
    this.#visited.clear()
    this.#asked = []
  }

  /**
   * The leases of `use` in which somebody waits: one and the same object in one search, as the graph goes by
   * identity.
   */
  #inUse({ awaiters }: Wait): Held[] {
    return (awaiters?.chain?.leases ?? []).flatMap(number => {
      const held = heldInUse(number)
      const known = this.#byNumber.get(number)
      if (held === undefined || known?.loan === held.loan) return (held && known) ?? []
      this.#byNumber.set(number, held)
      return held
    })
  }

  /** The knot of which this pool is part, if what is known of those who have been asked proves one. */
  #knot(): Knot | undefined {
    const still = new Map([...this.#visited].filter(pool => !pool.canMove()).map(pool => [pool, pool.lent]))
    const edges = this.#asked.map(({ wait, pool }) => ({ waiter: wait, pool, blocks: this.#inUse(wait) }))
    const lively = new Set(
      edges.flatMap(({ blocks }) => blocks.filter(held => !held.pool.isQuiet(held.lease, 1))),
    )
    const claims = claimsOf(this.#plain, edges)
    for (;;) {
      const claimed = new Map<Wait, Held[]>()
      for (const { waits, leases } of claims) {
        for (const { waiter } of waits) claimed.set(waiter, [...(claimed.get(waiter) ?? []), ...leases])
      }
      const judged = edges
        .filter(({ waiter, pool }) => pool.isDue(waiter))
        .map(edge => ({ ...edge, blocks: [...edge.blocks, ...(claimed.get(edge.waiter) ?? [])] }))
      const dead = deadlocked(judged, still, poolOf, lively)
      const stuck = new Set(dead.map(({ pool }) => pool))
      // Drops these claims: a waiter that may still go on could hold the lease.
      const doubtful = claims.filter(({ waits }) =>
        waits.some(({ waiter, pool }) => !stuck.has(pool) || !pool.isBound(waiter)),
      )
      if (doubtful.length === 0)
        return knots(dead, poolOf).find(knot => knot.some(({ pool }) => pool === this.#pool))
      for (const claim of doubtful) claims.splice(claims.indexOf(claim), 1)
    }
  }

  #later(step: () => void): void {
    this.#clock.turn(() => this.#work(step))
  }

  /** What it does in one go. Once it has taken too much time, it rests. */
  #work(step: () => void): void {
    const before = this.#clock.now()
    step()
    this.#credit.spend(this.#clock.now() - before, before)
    this.restsUntil = this.#credit.evenAt(this.#clock.now())
  }
}

/** The cheap question, again and again while somebody waits: could every lease of this pool be held by who waits? */
function mayBeStuck(pool: PoolNode): boolean {
  const leases = pool.leases()
  const plain = leases.filter(({ isPlain }) => isPlain)
  const graces = plain.length === 0 ? 1 : plain.length < CROWD ? PLAIN_GRACES : CROWD_GRACES
  // Each is looked at, so that traffic from here on shows.
  const lively = leases.filter(({ lease, isPlain }) => !pool.isQuiet(lease, isPlain ? graces : 1))
  // If the owners of a plain lease are unknown, no holder can be proved: it counts as free to end.
  return (
    lively.length === 0 && pool.hasStood(graces) && plain.every(({ lease }) => takingOf(lease) !== undefined)
  )
}

/** As few of its waiters as block every lease of it, and the youngest, who is to be rejected. */
function coverOf(knot: Knot): WaitEdge[] {
  const covered = new Set<Held>()
  const youngest = youngestOf(knot)
  return knot.filter(edge => {
    const before = covered.size
    for (const held of edge.blocks) covered.add(held)
    return covered.size > before || edge === youngest
  })
}

/** Whom it costs least: the one that has waited the shortest. */
export function youngestOf(knot: Knot): WaitEdge | undefined {
  let youngest: WaitEdge | undefined
  for (const edge of knot)
    if (youngest === undefined || edge.waiter.since >= youngest.waiter.since) youngest = edge
  return youngest
}
