import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoadShedder } from '../../src/queue/load-shedder.ts'
import { Waiter } from '../../src/queue/waiter.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock } from '../support/clock.ts'

const TARGET = 50
const INTERVAL = 2000

/** A shedder beside a queue that is only lists: the test says who stands there, and for how long already. */
function shedderOf(order: 'fifo' | 'lifo' = 'fifo') {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  stalls.start()
  const lists: Waiter<object>[][] = [[], []]
  const shed: number[] = []
  const queue = {
    lists,
    get waiting() {
      return lists.flat().length
    },
    oldest: () => lists.flat().sort((a, b) => a.since - b.since)[0],
    shed: (group: readonly Waiter<object>[]) => {
      assert.ok(group.length > 0, 'rejecting nobody would still notify')
      shed.push(...group.map(each => clock.now() - each.since))
    },
  }
  const options = { targetMillis: TARGET, intervalMillis: INTERVAL, order }
  const shedder = new LoadShedder(options, queue, clock, stalls)
  /** These stand in the queue now: one list of ages for each priority, oldest first. */
  const standing = (...ages: number[][]): void => {
    for (const [priority, list] of lists.entries()) {
      const waiters = (ages[priority] ?? []).map(age => {
        const request = { priority, timeout: 60_000, signal: undefined, detached: false }
        return new Waiter<object>(request, clock.now() - age, 'acquire', () => {})
      })
      list.splice(0, list.length, ...waiters)
    }
  }
  /** A connection is ready to be lent. @returns the ages of those who were shed */
  const dequeue = (): number[] => {
    shedder.dequeue(clock.now())
    return shed.splice(0)
  }
  return { clock, shedder, standing, dequeue, shed }
}

/** A queue whose delays were above the target for a whole interval: from now on, load is shed. */
async function overloaded(order: 'fifo' | 'lifo' = 'fifo') {
  const set = shedderOf(order)
  const { clock, shedder, standing, dequeue } = set
  shedder.queueStarted(clock.now())
  await clock.advance(2 * TARGET)
  for (const millis of [0, INTERVAL]) {
    await clock.advance(millis)
    standing([2 * TARGET])
    assert.deepEqual(dequeue(), [])
  }
  return set
}

test('whoever has waited longer than twice the target is shed, whatever the priority, and nobody else', async () => {
  const { standing, dequeue } = await overloaded()
  standing([103, 101, 100, 99], [102, 100, 0])
  assert.deepEqual(dequeue(), [103, 101, 102])
  standing([100, 1], [100])
  assert.deepEqual(dequeue(), [])
  standing()
  assert.deepEqual(dequeue(), [], 'nobody waits')
})

test('where the oldest go first, an interval with a short delay ends the shedding, though somebody was shed in it', async () => {
  for (const [order, then] of [
    ['fifo', []],
    ['lifo', [300]],
  ] as const) {
    const { clock, standing, dequeue } = await overloaded(order)
    standing([200])
    assert.deepEqual(dequeue(), [200])
    standing([10])
    dequeue()
    await clock.advance(INTERVAL)
    standing([10])
    dequeue()
    standing([300])
    assert.deepEqual(dequeue(), then, order)
  }
})

test('the youngest go first only where that was asked for, and only in a standing queue', async () => {
  for (const order of ['fifo', 'lifo'] as const) {
    assert.equal(shedderOf(order).shedder.takesYoungest, false)
    const { clock, shedder } = await overloaded(order)
    assert.equal(shedder.takesYoungest, order === 'lifo')
    shedder.queueStarted(clock.now())
    assert.equal(shedder.takesYoungest, false, 'the queue was empty')
  }
})

test('where nobody is served at all, those who wait are shed after two intervals, and not before', async () => {
  const { clock, shedder, standing, shed } = shedderOf()
  standing([0])
  shedder.queueStarted(clock.now())
  await clock.advance(2 * INTERVAL - 1)
  standing([3999, 100, 99])
  assert.deepEqual(shed, [])
  await clock.advance(1)
  assert.deepEqual(shed, [4000, 101])
})

test('the poll leaves the shedding to the hand-overs, in each interval that has one', async () => {
  const { clock, shedder, standing, dequeue, shed } = shedderOf()
  shedder.queueStarted(clock.now())
  standing([1000])
  await clock.advance(2 * INTERVAL - 100)
  assert.deepEqual(dequeue(), [])
  await clock.advance(100)
  assert.deepEqual(shed, [], 'somebody was served in this interval')
  await clock.advance(INTERVAL - 1)
  assert.deepEqual(shed, [])
  await clock.advance(1)
  assert.equal(shed.length, 1, 'nobody in the next')
})

test('the poll costs one timer in each interval, and none once nobody waits', async () => {
  const { clock, shedder, standing } = shedderOf()
  standing([0])
  shedder.queueStarted(clock.now())
  await clock.advance(1)
  shedder.queueStarted(clock.now())
  await clock.advance(10 * INTERVAL)
  assert.equal(clock.timersSet, 11)
  standing()
  await clock.advance(INTERVAL)
  assert.equal(clock.pending, 0, clock.describe())
})

test('a closed pool keeps no poll', () => {
  const { clock, shedder } = shedderOf()
  shedder.queueStarted(clock.now())
  shedder.stop()
  assert.equal(clock.pending, 0, clock.describe())
})

test('nobody is shed for the time in which the event loop was blocked', async () => {
  const { clock, standing, dequeue } = await overloaded()
  standing([0])
  await clock.stall(500)
  assert.deepEqual(dequeue(), [])
  await clock.advance(2 * TARGET + 1)
  assert.equal(dequeue().length, 1)
})
