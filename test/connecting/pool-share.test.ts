/* What a budget sees of a pool, and does to it, with a pool of records. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SharedBudget } from '../../src/connecting/budget.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import { PoolShare } from '../../src/connecting/pool-share.ts'
import { Slots } from '../../src/connections/slots.ts'
import { FakeClock } from '../support/clock.ts'

function shareOf(nesting?: object) {
  const clock = new FakeClock()
  const slots = new Slots<object>()
  const queue = { waiting: 0, first: undefined as { since: number } | undefined, peek: () => queue.first }
  const context = { clock, slots, queue, nesting, options: { name: 'one', min: 1 } }
  const discarded: unknown[][] = []
  const host = {
    ...{ wanted: 3, isStopped: false, connects: 0 },
    connectMore() {
      host.connects += 1
    },
    discard: (...given: unknown[]) => void discarded.push(given),
  }
  const budget = new SharedBudget('shared', 2)
  const share = new PoolShare(budget, context as unknown as PoolContext<object>, host)
  const add = (idleSince: number) => {
    const slot = slots.add(0, 0)
    slots.register(slot, {})
    slot.idleSince = idleSince
    slots.move(slot, 'idle')
    return slot
  }
  return { clock, slots, queue, host, budget, share, add, discarded }
}

test('a pool is seen with its numbers, and without its min once it has stopped', () => {
  const { slots, queue, host, share, add } = shareOf()
  assert.deepEqual([share.name, share.min, share.wanted, share.isClosed], ['one', 1, 3, false])
  assert.equal(share.firstWaitSince, Number.POSITIVE_INFINITY)
  const slot = add(5)
  slots.move(slot, 'closing')
  add(6)
  queue.waiting = 4
  queue.first = { since: 7 }
  assert.deepEqual([share.inUse, share.size, share.waiting, share.firstWaitSince], [2, 1, 4, 7])
  host.isStopped = true
  assert.deepEqual([share.min, share.isClosed], [0, true])
})

test('the longest idle connection is to spare while nobody waits and there are more than min', () => {
  const { queue, share, add, discarded } = shareOf()
  assert.equal(share.spareSince, undefined)
  const first = add(5)
  assert.equal(share.spareSince, undefined, 'min keeps it')
  add(6)
  assert.equal(share.spareSince, 5)
  queue.waiting = 1
  assert.equal(share.spareSince, undefined)
  assert.equal(share.giveUp(), first)
  assert.deepEqual(discarded, [[first, 'surplus', "another pool of the budget 'shared' needs its place"]])
})

test('a pool asks for a place, gives it back, and is called when it is its turn', async () => {
  const { clock, share, host, budget, add } = shareOf()
  assert.deepEqual([share.free, share.request(), share.request(), share.request()], [2, true, true, false])
  assert.equal(budget.stats().used, 2)
  const slot = add(5)
  share.returned(slot)
  assert.equal(budget.stats().used, 1)
  share.changed()
  assert.equal(host.connects, 1)
  assert.equal(share.now(), clock.now())
  let rang = 0
  share.after(30, () => {
    rang += 1
  })
  await clock.advance(29)
  assert.equal(rang, 0)
  await clock.advance(1)
  assert.equal(rang, 1)
})

test('a pool that is closed keeps no places of the budget for its min', () => {
  const { budget, share } = shareOf()
  assert.match(budget.minIssue(2) ?? '', /must not be above/)
  share.leave()
  assert.equal(budget.minIssue(2), undefined)
})

test('a connection is surplus where the budget owes it to another pool, and not otherwise', () => {
  const { share, add } = shareOf()
  assert.equal(share.surplus(add(5)), undefined)
})

test('a pool takes part in the search for deadlocks where it tracks nested acquires', () => {
  const detector = {}
  assert.equal(shareOf({ detector }).share.node, detector)
  const { share } = shareOf()
  assert.equal(share.node, undefined)
  assert.deepEqual([share.rivals(), share.sharers()], [undefined, []])
  assert.match(share.minIssue(9) ?? '', /must not be above/)
})
