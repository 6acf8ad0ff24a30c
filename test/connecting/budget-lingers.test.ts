import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createBudget } from '../../src/connecting/budget.ts'
import { type Share, sharing, used } from './scripted-shares.ts'

describe('what pools do in their turn', () => {
  test('does not change whose turn it is', () => {
    const { budget, shares } = sharing(3, 0, 0, 0)
    const [a, b, c] = shares
    a.want(3)
    b.want(1)
    c.want(1)
    b.onTurn = () => budget.changed()
    a.close()
    assert.deepEqual(used(shares), [2, 1, 0], 'b was first')
  })

  test('leaves no turn to who does not take it', () => {
    const { budget, shares } = sharing(2, 0, 0, 0)
    const [a, b, c] = shares
    a.want(2)
    b.want(1)
    b.onTurn = () => {
      b.wanted = 0
    }
    a.close()
    assert.deepEqual([used(shares), budget.stats().used], [[1, 0, 0], 1])
    b.onTurn = () => {}
    // The last place is kept for c now, as by a resize.
    c.min = 1
    b.want(1)
    assert.deepEqual([used(shares), budget.stats().used], [[1, 0, 0], 1])
  })

  test('keeps the time of a claim that is made again', () => {
    const { budget, time, shares } = sharing(1, 0, 0)
    const [a, b] = shares
    a.want(1)
    b.want(1)
    time.now += 10
    b.connectMore()
    a.firstWaitSince = time.now - 5
    assert.equal(budget.mustYield(a, {}), true, 'b has waited for longer')
  })
})

describe('a connection that has just become idle', () => {
  test('stays for five milliseconds, unless it is owed, and is looked at again then', () => {
    const { time, shares } = sharing(5, 0, 0, 0)
    const [a, b, c] = shares
    const all = (): number[] => shares.flatMap(({ lookedIn }) => lookedIn.splice(0))
    a.want(2)
    b.want(2)
    c.want(1)
    c.want(1)
    assert.deepEqual([all(), a.given.length], [[], 0], 'nothing is to be spared')
    a.spareSince = time.now
    b.spareSince = time.now - 2
    c.want(1)
    assert.deepEqual([all(), a.given.length, b.given.length], [[3], 0, 0])
    c.want(1)
    assert.deepEqual(all(), [], 'one look is planned')
    time.now += 3
    a.look()
    assert.deepEqual([a.given.length, b.given.length], [0, 1])
    c.want(2)
    assert.deepEqual([all(), a.given.length], [[2], 0], 'planned anew')
    time.now += 2
    a.look()
    assert.equal(a.given.length, 1)
  })

  test('counts as free for a pool that has none or two fewer, not for one that would have as many', () => {
    const { budget, time, shares } = sharing(6, 0, 0, 0, 0)
    const [a, b, c] = shares
    const d = (shares as Share[])[3] as Share
    a.want(3)
    b.want(2)
    d.want(1)
    a.spareSince = time.now
    assert.deepEqual([budget.freeFor(b), budget.freeFor(c), budget.freeFor(d)], [0, 1, 1])
    time.now += 5
    assert.equal(budget.freeFor(b), 1)
  })
})

describe('a pool that leaves its budget', () => {
  test('is no sharer any more once it has no connection, and gives the others what was kept for it', () => {
    const { budget, shares } = sharing(3, 0, 2)
    const [a, b] = shares
    for (const share of [a, b]) share.node = { name: share.name } as never
    a.want(3)
    assert.equal(a.inUse, 1)
    b.min = 0
    budget.leave(b)
    assert.deepEqual([a.inUse, budget.sharers(a)], [3, []])
  })
})

test('a pool that has none may have the only connection of another one at once', () => {
  const { budget, time, shares } = sharing(2, 0, 0, 0)
  const [a, b, c] = shares
  a.want(1)
  b.want(1)
  a.spareSince = time.now
  assert.equal(budget.freeFor(c), 1)
})

test('a budget without a name gets one of its own', () => {
  const [first, second] = [createBudget({ max: 1 }), createBudget({ max: 1 })]
  assert.match(first.stats().name, /^budget-\d+$/)
  assert.notEqual(first.stats().name, second.stats().name)
})
