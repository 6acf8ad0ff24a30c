/* The deadlines that the order of the queue keeps, and the times that are corrected after the microtasks: without a pool. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DefaultWaits } from '../../src/queue/default-waits.ts'
import { PriorityList } from '../../src/queue/priority-list.ts'
import { Waiter } from '../../src/queue/waiter.ts'
import { FakeClock } from '../support/clock.ts'

const DEFAULT = 1000

/** Waits without a pool. The test says when a run of microtasks is over. */
function waitsOf(hasExactTimes = false) {
  const planned: (() => void)[] = []
  const clock = Object.assign(new FakeClock(), {
    afterMicrotasks: (run: () => void) => void planned.push(run),
    isFake: (): boolean => false,
  })
  const waits = new DefaultWaits<object>(DEFAULT, clock, hasExactTimes)
  const list = new PriorityList<object>()
  let time = clock.now()
  const make = (timeout = DEFAULT, priority = 0): Waiter<object> => {
    const request = { priority, timeout, signal: undefined, detached: false }
    return new Waiter(request, time, 'acquire', () => {})
  }
  /** Joins the end of the queue, with the time of the last reading. @returns the waiter, and whether it is the first */
  const join = (timeout?: number): { waiter: Waiter<object>; isFirst: boolean } => {
    const waiter = make(timeout)
    list.push(waiter)
    waiter.isInOrder = waits.keeps(waiter)
    return { waiter, isFirst: waiter.isInOrder && waits.add(waiter) }
  }
  const leave = (waiter: Waiter<object>): void => {
    waits.remove(waiter)
    list.remove(waiter)
  }
  const endMicrotasks = (): void => {
    for (const run of planned.splice(0)) run()
    time = clock.now()
  }
  return { clock, waits, make, join, leave, planned, endMicrotasks }
}

test('the order of the queue keeps only the default timeout at the default priority', () => {
  const { waits, make } = waitsOf()
  assert.equal(waits.keeps(make()), true)
  assert.equal(waits.keeps(make(DEFAULT - 1)), false)
  assert.equal(waits.keeps(make(DEFAULT, 1)), false)
})

test('the first deadline passes on to the next waiter, and is lost by nobody who leaves behind it', () => {
  const { waits, join, leave } = waitsOf()
  const [first, second, own, last] = [join(), join(), join(50), join()]
  assert.deepEqual([first.isFirst, second.isFirst, last.isFirst], [true, false, false])
  leave(second.waiter)
  assert.equal(waits.first, first.waiter)
  leave(first.waiter)
  assert.equal(waits.first, last.waiter, 'one with an own timeout is passed over')
  leave(last.waiter)
  assert.equal(waits.first, undefined)
  leave(own.waiter)
  assert.equal(join().isFirst, true)
})

test('the times of all who came in a run of microtasks are corrected at its end, with one plan for each run', () => {
  const { clock, join, leave, planned, endMicrotasks } = waitsOf()
  const gone = join()
  leave(gone.waiter)
  const [first, own, last] = [join(), join(50), join()]
  assert.equal(planned.length, 1)
  const before = own.waiter.since
  clock.compute(5000)
  endMicrotasks()
  assert.deepEqual(
    [first, own, last].map(each => each.waiter.since - before),
    [5000, 0, 5000],
  )
  const next = join()
  assert.equal(planned.length, 1, 'the next run')
  clock.compute(300)
  endMicrotasks()
  assert.deepEqual(
    [first, last, next].map(each => each.waiter.since - before),
    [5000, 5000, 5300],
  )
})

test('who came before one that left in the same run has its time corrected', () => {
  const { clock, join, leave, endMicrotasks } = waitsOf()
  const [first, behind] = [join(), join()]
  const before = first.waiter.since
  leave(behind.waiter)
  clock.compute(5000)
  endMicrotasks()
  assert.equal(first.waiter.since - before, 5000)
})

test('who came behind one that left in the same run has its time corrected', () => {
  const { clock, join, leave, endMicrotasks } = waitsOf()
  const [first, behind] = [join(), join()]
  const before = behind.waiter.since
  leave(first.waiter)
  clock.compute(5000)
  endMicrotasks()
  assert.equal(behind.waiter.since - before, 5000)
})

test('a time that is less than a millisecond old is left alone, and so are those of a test and those that were exact', () => {
  const { clock, join, endMicrotasks } = waitsOf()
  const { waiter } = join()
  const before = waiter.since
  clock.compute(0.75)
  endMicrotasks()
  assert.equal(waiter.since, before)
  const later = join().waiter
  clock.compute(1)
  endMicrotasks()
  assert.equal(later.since, before + 1.75)
  const fake = waitsOf()
  fake.clock.isFake = () => true
  const made = fake.join().waiter
  fake.clock.compute(5000)
  fake.endMicrotasks()
  assert.equal(made.since, before, 'the time of a test may have moved since')
  const exact = waitsOf(true)
  exact.join()
  assert.equal(exact.planned.length, 0)
})
