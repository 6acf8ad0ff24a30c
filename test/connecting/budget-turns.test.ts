import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PoolNode } from '../../src/nested/host.ts'
import { type Share, sharing, used } from './scripted-shares.ts'

describe('a place of a budget', () => {
  test('that comes free goes to the pool with the fewest connections, among equals to the oldest claim', () => {
    const { budget, time, shares } = sharing(4, 0, 0, 0)
    const [a, b, c] = shares
    a.want(3)
    b.want(1)
    b.want(1)
    time.now += 1
    c.want(1)
    assert.deepEqual(used(shares), [3, 1, 0])
    a.close()
    assert.deepEqual(used(shares), [2, 1, 1], 'c has none')
    a.close()
    assert.deepEqual(used(shares), [1, 2, 1], 'b has one')
    const equal = sharing(2, 0, 0, 0)
    equal.shares[0].want(2)
    for (const share of [equal.shares[2], equal.shares[1]]) {
      equal.time.now += 1
      share.want(1)
    }
    equal.shares[0].close()
    assert.deepEqual(used(equal.shares), [1, 0, 1])
    assert.equal(budget.stats().used, 4)
  })

  test('is not taken by who comes while others wait for one', () => {
    const { budget, shares } = sharing(2, 0, 0, 0)
    const [a, b, c] = shares
    a.want(2)
    b.want(1)
    assert.equal(budget.freeFor(c), 0)
    budget.returned(a, {})
    a.inUse -= 1
    assert.equal(budget.freeFor(c), 0, 'it is for b')
    c.want(1)
    assert.deepEqual(used(shares), [1, 1, 0], 'b was first')
  })

  test('is kept for pools below their min, but not from themselves', () => {
    const { budget, shares } = sharing(5, 0, 2)
    const [a, b] = shares
    assert.equal(budget.freeFor(a), 3)
    assert.equal(budget.freeFor(b), 5)
    a.want(9)
    assert.deepEqual([a.inUse, budget.stats().reserved], [3, 2])
    b.want(1)
    assert.deepEqual([b.inUse, budget.stats().reserved], [1, 1])
    b.want(1)
    assert.deepEqual([b.inUse, budget.stats().reserved], [2, 0])
    b.want(1)
    assert.equal(b.inUse, 2)
  })

  test('is never less than none: what others can give up counts beside it', () => {
    const { budget, shares } = sharing(3, 0, 3, 0)
    const [a, b, c] = shares
    assert.equal(budget.freeFor(a), 0)
    b.want(3)
    b.spareSince = 5
    assert.equal(budget.freeFor(a), 1)
    assert.equal(budget.freeFor(b), 0, 'not its own')
    c.spareSince = 5
    assert.equal(budget.freeFor(a), 2)
  })

  test('is left to the next by a pool that does not want it any more when its turn comes', () => {
    const { shares } = sharing(2, 0, 0, 0)
    const [a, b, c] = shares
    a.want(2)
    b.want(1)
    c.want(1)
    b.wanted = 0
    a.close()
    assert.deepEqual(used(shares), [1, 0, 1])
    const turned = sharing(4, 0, 0, 0)
    const [d, e, f] = turned.shares
    d.want(4)
    e.want(1)
    f.want(1)
    // The turn of the first has the second give up.
    e.onTurn = () => {
      f.wanted = 0
    }
    d.inUse -= 2
    turned.budget.returned(d, {})
    turned.budget.returned(d, {})
    turned.budget.changed()
    assert.deepEqual(used(turned.shares), [2, 1, 0])
    assert.equal(turned.budget.stats().used, 3)
    e.onTurn = () => {}
    e.want(1)
    assert.equal(e.inUse, 2, 'no claim is left behind that nobody has')
  })
})

describe('a connection is given up', () => {
  test('by the pool that has had one idle for longest, and only as many as are wanted', () => {
    const { shares } = sharing(4, 0, 0, 0)
    const [a, b, c] = shares
    a.want(2)
    b.want(2)
    a.spareSince = 20
    b.spareSince = 10
    c.want(1)
    assert.deepEqual([a.given.length, b.given.length], [0, 1])
    c.want(1)
    assert.deepEqual([a.given.length, b.given.length], [0, 1], 'one is on its way')
    c.want(2)
    assert.deepEqual([a.given.length, b.given.length], [1, 1])
    b.close(b.given[0])
    assert.equal(c.inUse, 1)
    a.close(a.given[0])
    assert.equal(c.inUse, 2)
  })

  test('to a pool with two fewer, not to one with one fewer, and not below its own min', () => {
    for (const [size, other, min, yields] of [
      [3, 1, 0, true],
      [3, 2, 0, false],
      [3, 1, 2, true],
      [3, 1, 3, false],
    ] as const) {
      const { budget, shares } = sharing(size + other, min, 0)
      const [a, b] = shares
      a.want(size)
      b.want(other)
      b.want(1)
      assert.equal(budget.mustYield(a, {}), yields, `${size} to ${other}, min ${min}`)
      assert.equal(budget.mustYield(b, {}), false, 'not to itself')
    }
  })

  test('to a pool that has none, if that has waited longer than the acquire that would be served', () => {
    for (const [since, yields] of [
      [1001, true],
      [1000, false],
      [999, false],
    ] as const) {
      const { budget, shares } = sharing(1, 0, 0)
      const [a, b] = shares
      a.want(1)
      b.want(1)
      a.firstWaitSince = since
      assert.equal(budget.mustYield(a, {}), yields, `${since}`)
    }
  })

  test('not to a pool that wants none any more, and once for each claim', () => {
    const { budget, shares } = sharing(6, 0, 0, 0)
    const [a, b, c] = shares
    assert.equal(budget.mustYield(a, {}), false, 'nobody has a claim')
    a.want(6)
    b.want(1)
    b.wanted = 0
    assert.equal(budget.mustYield(a, {}), false)
    b.want(1)
    const connection = {}
    assert.equal(budget.mustYield(a, connection), true)
    assert.equal(budget.mustYield(a, {}), false, 'one is leaving already')
    c.want(1)
    assert.equal(budget.mustYield(a, {}), true, 'one for each of two')
    assert.equal(budget.mustYield(a, {}), false)
    a.close(connection)
    assert.deepEqual([b.inUse, c.inUse], [1, 0])
    assert.equal(budget.mustYield(a, {}), false, 'the second is still leaving')
  })
})

test('who waits for a place waits for the pools that have more than their min; one that hides makes it unknown', () => {
  const { budget, shares } = sharing(4, 0, 1, 0)
  const [a, b, c] = shares
  const node = (name: string): PoolNode => ({ name }) as unknown as PoolNode
  for (const share of shares) share.node = node(share.name)
  assert.equal(budget.rivals(a), undefined, 'it can connect')
  b.want(1)
  c.want(3)
  assert.deepEqual(budget.rivals(a), [c.node], 'b has no more than its min')
  assert.deepEqual(budget.rivals(c), [], 'nobody else has more')
  assert.deepEqual(budget.sharers(a), [b.node, c.node])
  c.node = undefined
  assert.equal(budget.rivals(a), undefined)
  assert.deepEqual(budget.sharers(a), [b.node])
})

test('a pool that has left counts until its last connection is closed, and its claim is gone at once', () => {
  const { budget, shares } = sharing(2, 0, 0, 0)
  const [a, b, c] = shares
  a.want(2)
  b.want(1)
  c.want(1)
  b.isClosed = true
  budget.leave(b)
  a.isClosed = true
  budget.leave(a)
  assert.deepEqual(budget.stats().pools, [{ pool: 'a', used: 2, pending: 0 }])
  a.close()
  assert.deepEqual(used(shares), [1, 0, 1], 'b is passed over')
  assert.deepEqual(
    budget.stats().pools.map(({ pool }) => pool),
    ['a', 'c'],
  )
  a.close()
  assert.deepEqual(budget.stats(), {
    ...{ name: 'shared', max: 2, used: 1, reserved: 0 },
    pools: [{ pool: 'c', used: 1, pending: 0 }],
  })
})

test('a pool without a min needs no place any more once its last connection is closed', () => {
  const { budget, shares } = sharing(2, 0, 1)
  const [a] = shares
  a.want(1)
  a.isClosed = true
  budget.leave(a)
  assert.match(budget.minIssue(1) ?? '', /must leave a place/)
  a.close()
  assert.equal(budget.minIssue(1), undefined)
})

test('the statistics begin with the pool that has most, then with the one for which most wait, and leave the rest out', () => {
  const { budget, shares } = sharing(9, 0, 0, 0, 0, 0)
  const [a, b, c] = shares
  for (const [share, count, waiting] of [
    [a, 1, 1],
    [b, 2, 0],
    [c, 1, 5],
  ] as const) {
    share.want(count)
    share.waiting = waiting
  }
  ;(shares as Share[])[3]!.waiting = 2
  assert.deepEqual(
    budget.stats().pools.map(({ pool }) => pool),
    ['b', 'c', 'a', 'd'],
  )
  assert.match(
    budget.report(),
    /'shared': 4 of 9 connections in use\n {2}pool 'b': 2 connections, 0 acquires/,
  )
  assert.match(
    sharing(9, 2, 3).budget.report(),
    /'shared': 0 of 9 connections in use, 5 kept for pools below their min$/,
  )
})

test('the min of all pools fits into the budget, and leaves a place for a pool that has none', () => {
  const { budget, shares } = sharing(5, 2, 2)
  assert.equal(budget.minIssue(1), undefined, 'five of five, and each has one')
  assert.match(budget.minIssue(2) ?? '', /must not be above/)
  assert.equal(budget.minIssue(3, shares[0]), undefined, 'instead of its own')
  assert.match(budget.minIssue(4, shares[0]) ?? '', /must not be above/)
  const open = sharing(5, 2, 0).budget
  assert.match(open.minIssue(3) ?? '', /with the min of pools a \(2\), must leave a place/)
  assert.equal(open.minIssue(2), undefined)
  const only = sharing(5, 2, 0)
  assert.equal(only.budget.minIssue(3, only.shares[1]), undefined, 'it will have one itself')
  const full = sharing(4, 4).budget
  assert.match(full.minIssue(0) ?? '', /must leave a place/)
})
