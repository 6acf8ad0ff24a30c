import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { deadlocked, type Edge, knots } from '../../src/nested/wait-for-graph.ts'
import { Chance, seedFrom } from '../support/random.ts'

/** A lease is named after its pool: `A1` is one of A. */
type Wait = Edge<string, string, string>

type PoolsOf = (lease: string) => readonly string[]

const poolsOf: PoolsOf = lease => (lease.startsWith('?') ? [] : [lease.slice(0, 1)])
const waits = (waiter: string, pool: string, ...blocks: string[]): Wait => ({ waiter, pool, blocks })
const namesOf = (waiters: readonly Wait[]): string[] => waiters.map(({ waiter }) => waiter).sort()

/** @param lent - how many leases each pool that stands still has lent */
function dead(
  judged: readonly Wait[],
  lent: Readonly<Record<string, number>>,
  lively: readonly string[] = [],
  ofLease = poolsOf,
): string[] {
  return namesOf(deadlocked(judged, new Map(Object.entries(lent)), ofLease, new Set(lively)))
}

/** As `poolsOf`, where the leases of some pools also keep others from connecting, by a budget that they share. */
const sharing =
  (rivals: Readonly<Record<string, string>>): PoolsOf =>
  lease => [
    lease.slice(0, 1),
    ...Object.keys(rivals).filter(pool => rivals[pool]?.includes(lease.slice(0, 1))),
  ]

describe('which waiters are deadlocked', () => {
  test('one that holds the only connection of the pool that it waits for', () => {
    assert.deepEqual(dead([waits('a', 'A', 'A1')], { A: 1 }), ['a'])
  })

  test('two pools whose holders wait for each other, and whoever stands behind them', () => {
    const crossed = [waits('a', 'B', 'A1'), waits('b', 'A', 'B1'), waits('behind', 'A')]
    assert.deepEqual(dead(crossed, { A: 1, B: 1 }), ['a', 'b', 'behind'])
  })

  test('nobody, while one lease of the pool belongs to a line of execution that does not wait', () => {
    assert.deepEqual(dead([waits('a', 'A', 'A1')], { A: 2 }), [])
  })

  test('nobody, while the holder of one lease shows signs of life', () => {
    assert.deepEqual(dead([waits('a', 'B', 'A1'), waits('b', 'A', 'B1')], { A: 1, B: 1 }, ['B1']), [])
  })

  test('nobody, where the pool at the end of the chain can still move', () => {
    assert.deepEqual(dead([waits('a', 'B', 'A1'), waits('b', 'C', 'B1')], { A: 1, B: 1 }), [])
  })

  test('a lease that several waiters block is held until all of them are served', () => {
    const branches = [waits('fine', 'C', 'A1'), waits('stuck', 'A', 'A1')]
    assert.deepEqual(dead(branches, { A: 1 }), ['stuck'])
    assert.deepEqual(dead([waits('fine', 'C', 'A1')], { A: 1 }), [])
  })

  test('who gets a connection that comes free does not wait any more, so the next is served as well', () => {
    const behind = [waits('a', 'A', 'B1'), waits('b', 'A', 'A1'), waits('c', 'B', 'A2')]
    assert.deepEqual(dead(behind, { A: 3, B: 1 }), [])
  })

  test('a lease of a pool that nobody knows any more holds nothing up', () => {
    assert.deepEqual(dead([waits('a', 'A', '?1')], { A: 1 }), [])
  })

  test('the same as the largest set of which nobody can be served first, in random graphs', t => {
    const seed = seedFrom('LIFEGUARD_SEED')
    t.diagnostic(`LIFEGUARD_SEED=${seed}`)
    const chance = new Chance(seed)
    let knotted = 0
    for (let round = 0; round < 3000; round += 1) {
      const graph = randomGraph(chance)
      const { judged, lent, lively, poolsOf } = graph
      const found = namesOf(deadlocked(judged, lent, poolsOf, lively))
      assert.deepEqual(
        found,
        largestStuckSet(judged, lent, lively, graph),
        JSON.stringify({ judged, lent: [...lent], lively: [...lively] }),
      )
      if (found.length > 0) knotted += 1
    }
    assert.ok(knotted > 300 && knotted < 2700, `${knotted} of 3000 have a deadlock`)
  })
})

describe('pools that share a budget', () => {
  const used = sharing({ B: 'A' })

  test('one that waits for a pool without connections, as it holds what uses up the budget', () => {
    const nested = [waits('a', 'B', 'A1'), waits('b', 'B', 'A2')]
    assert.deepEqual(dead(nested, { A: 2, B: 2 }, [], used), ['a', 'b'])
    assert.deepEqual(knots(nested, used).map(namesOf), [['a', 'b']])
  })

  test('nobody, while one lease of the budget, of whichever pool, can end', () => {
    const nested = [waits('a', 'B', 'A1')]
    assert.deepEqual(dead(nested, { A: 2, B: 2 }, [], used), [])
    assert.deepEqual(dead(nested, { A: 1, B: 1 }, ['A1'], used), [])
    assert.deepEqual(dead([...nested, waits('b', 'B', 'B1')], { A: 1, B: 3 }, [], used), [])
  })

  test('where it is not the budget that a pool waits for, leases of the others do not count', () => {
    assert.deepEqual(dead([waits('a', 'A', 'A1'), waits('b', 'B', 'B1')], { A: 1, B: 3 }, [], used), ['a'])
  })
})

describe('the knots among them', () => {
  test('who merely stands behind a knot is in none: to reject him would free nobody', () => {
    const waiting = [
      waits('a', 'B', 'A1'),
      waits('b', 'A', 'B1'),
      waits('behind', 'A', 'C1'),
      waits('outside', 'A'),
    ]
    assert.deepEqual(knots(waiting, poolsOf).map(namesOf), [['a', 'b']])
  })

  test('two knots are two, each of which needs a victim of its own', () => {
    const two = [waits('a', 'A', 'A1'), waits('b', 'B', 'B1')]
    assert.deepEqual(knots(two, poolsOf).map(namesOf).sort(), [['a'], ['b']])
  })

  test('a knot that depends on another is none until that is broken', () => {
    const chained = [waits('a', 'A', 'A1'), waits('b', 'B', 'B1'), waits('b2', 'A', 'B2')]
    assert.deepEqual(knots(chained, poolsOf).map(namesOf), [['a']])
  })

  test('a waiter at the end of a chain that leads nowhere is in no knot', () => {
    assert.deepEqual(knots([waits('a', 'B', 'A1')], poolsOf), [])
  })

  test('a knot through three pools is one', () => {
    const ring = [waits('a', 'B', 'A1'), waits('b', 'C', 'B1'), waits('c', 'A', 'C1')]
    assert.deepEqual(knots(ring, poolsOf).map(namesOf), [['a', 'b', 'c']])
  })

  test('the same as by asking of every two pools whether they reach each other, in random graphs', t => {
    const seed = seedFrom('LIFEGUARD_SEED')
    t.diagnostic(`LIFEGUARD_SEED=${seed}`)
    const chance = new Chance(seed)
    for (let round = 0; round < 3000; round += 1) {
      const { judged, lent, lively, poolsOf } = randomGraph(chance)
      const stuck = deadlocked(judged, lent, poolsOf, lively)
      const found = knots(stuck, poolsOf).map(namesOf).sort(byFirst)
      assert.deepEqual(found, knotsByReach(stuck, poolsOf), JSON.stringify(stuck))
      // Somewhere each deadlock begins.
      assert.equal(found.length > 0, stuck.length > 0)
    }
  })

  test('one victim of a knot after the other frees everybody else', t => {
    const seed = seedFrom('LIFEGUARD_SEED')
    t.diagnostic(`LIFEGUARD_SEED=${seed}`)
    const chance = new Chance(seed)
    for (let round = 0; round < 1000; round += 1) {
      const graph = randomGraph(chance)
      let { judged } = graph
      for (;;) {
        const stuck = deadlocked(judged, graph.lent, graph.poolsOf, graph.lively)
        if (stuck.length === 0) break
        const [knot] = knots(stuck, graph.poolsOf)
        assert.ok(knot !== undefined && knot.length > 0)
        const victim = chance.pick(knot)
        judged = judged.filter(each => each !== victim)
      }
    }
  })
})

interface Graph {
  readonly judged: readonly Wait[]
  readonly lent: ReadonlyMap<string, number>
  readonly lively: ReadonlySet<string>
  readonly leases: readonly string[]
  readonly poolsOf: PoolsOf
}

function randomGraph(chance: Chance): Graph {
  const pools = ['A', 'B', 'C', 'D'].slice(0, 1 + chance.below(4))
  const leases: string[] = []
  // Now and then some share a budget, which is what one of them waits for. That one may have no connection.
  const [poor = 'A', ...rich] = pools
  const rivals = chance.oneIn(3) ? { [poor]: rich.filter(() => chance.oneIn(2)).join('') } : {}
  const poolsOf = sharing(rivals)
  const sizes = new Map(pools.map(pool => [pool, 1 + chance.below(3)]))
  if (rivals[poor]) sizes.set(poor, chance.below(3))
  for (const [pool, size] of sizes)
    for (let lease = 1; lease <= size; lease += 1) leases.push(`${pool}${lease}`)
  const lent = new Map<string, number>()
  for (const pool of pools) {
    // Otherwise it can move.
    if (!chance.oneIn(5)) lent.set(pool, leases.filter(lease => poolsOf(lease).includes(pool)).length)
  }
  const judged = Array.from({ length: 1 + chance.below(8) }, (_, index) => {
    const blocks = leases.filter(() => chance.oneIn(Math.max(2, Math.ceil(leases.length / 2))))
    return waits(`w${index}`, chance.pick(pools), ...blocks)
  })
  return { judged, lent, lively: new Set(leases.filter(() => chance.oneIn(12))), leases, poolsOf }
}

/**
 * By the meaning of the word, over every set of waiters: in a set that is stuck, each waits for a pool that stands still
 * and of which each lease is blocked by somebody of the set. The union of stuck sets is stuck.
 */
function largestStuckSet(
  judged: readonly Wait[],
  lent: ReadonlyMap<string, number>,
  lively: ReadonlySet<string>,
  { leases: all, poolsOf }: Graph,
): string[] {
  const stuck = new Set<string>()
  for (let mask = 1; mask < 1 << judged.length; mask += 1) {
    const set = judged.filter((_, index) => (mask >> index) & 1)
    const isStuck = set.every(({ pool }) => {
      const leases = all.filter(lease => poolsOf(lease).includes(pool))
      return (
        lent.has(pool) &&
        leases.every(lease => !lively.has(lease) && set.some(({ blocks }) => blocks.includes(lease)))
      )
    })
    if (isStuck) for (const { waiter } of set) stuck.add(waiter)
  }
  return [...stuck].sort()
}

const byFirst = ([a = '']: readonly string[], [b = '']: readonly string[]): number => (a < b ? -1 : 1)

/** Pools that all reach each other and nothing else, and the waiters that tie them together. */
function knotsByReach(stuck: readonly Wait[], poolsOf: PoolsOf): string[][] {
  const pools = ['A', 'B', 'C', 'D']
  const reach = new Set(
    stuck.flatMap(({ pool, blocks }) => blocks.flatMap(poolsOf).map(owner => owner + pool)),
  )
  for (const by of pools)
    for (const from of pools)
      for (const to of pools) if (reach.has(from + by) && reach.has(by + to)) reach.add(from + to)
  const rings = pools
    .map(pool => pools.filter(to => reach.has(pool + to)))
    .filter(
      ring =>
        ring.length > 0 && ring.every(from => pools.every(to => reach.has(from + to) === ring.includes(to))),
    )
    .map(ring => ring.join(''))
  return [...new Set(rings)]
    .map(ring =>
      namesOf(
        stuck.filter(
          ({ pool, blocks }) =>
            ring.includes(pool) && blocks.flatMap(poolsOf).some(owner => ring.includes(owner)),
        ),
      ),
    )
    .sort(byFirst)
}
