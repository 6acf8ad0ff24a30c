import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServiceRate } from '../../src/queue/service-rate.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock } from '../support/clock.ts'

const ENOUGH = 16

function rateOf() {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  stalls.start()
  return { clock, rate: new ServiceRate(stalls) }
}

/** A hand-over after each of these pauses, while others wait. The first one begins the backlog. */
function serve(rate: ServiceRate, from: number, pauses: readonly number[]): number {
  let now = from
  rate.served(now, 1)
  for (const pause of pauses) {
    now += pause
    rate.served(now, 1)
  }
  return now
}

const same = (pause: number, times: number): number[] => Array.from({ length: times }, () => pause)

test('fifteen samples are too few to refuse anybody by, sixteen are enough', () => {
  const { rate } = rateOf()
  const now = serve(rate, 1000, same(100, ENOUGH - 1))
  assert.equal(rate.estimate(0), undefined)
  rate.served(now + 100, 1)
  assert.equal(rate.estimate(0), 100)
})

test('each waiter ahead costs one hand-over more, and the acquire itself is one of them', () => {
  const { rate } = rateOf()
  serve(rate, 1000, same(100, ENOUGH))
  assert.deepEqual([rate.estimate(0), rate.estimate(1), rate.estimate(9)], [100, 200, 1000])
})

test('a new sample weighs an eighth, so that one slow hand-over refuses nobody', () => {
  const { rate } = rateOf()
  serve(rate, 1000, [...same(100, ENOUGH), 180])
  assert.equal(rate.estimate(0), 110)
})

test('the time in which nobody waited is not taken for slow service', () => {
  const { rate } = rateOf()
  const end = serve(rate, 1000, same(100, ENOUGH))
  rate.served(end + 100, 0)
  assert.equal(rate.estimate(0), undefined, 'nobody waits: a new acquire is next')
  rate.served(end + 60_000, 1)
  assert.equal(rate.estimate(0), 100)
})

test('the time until all waiters gave up is not taken for slow service', () => {
  const { rate } = rateOf()
  const end = serve(rate, 1000, same(100, ENOUGH))
  rate.emptied()
  assert.equal(rate.estimate(0), undefined)
  rate.served(end + 60_000, 1)
  assert.equal(rate.estimate(0), 100)
})

test('a stall of the event loop is not taken for slow service', async () => {
  const { clock, rate } = rateOf()
  for (let sample = 0; sample <= ENOUGH; sample += 1) {
    await clock.advance(10)
    await clock.stall(90)
    rate.served(clock.now(), 1)
  }
  assert.equal(rate.estimate(0), 10)
})

test('somebody is let in to test an estimate once nobody has been served for as long, and nobody else beside', () => {
  const { rate } = rateOf()
  const end = serve(rate, 1000, same(100, ENOUGH))
  assert.equal(rate.probes(end + 999, 1000), false)
  assert.equal(rate.probes(end + 1000, 1000), true)
  assert.equal(rate.probes(end + 1999, 1000), false, 'since the last one')
  assert.equal(rate.probes(end + 2000, 1000), true)
  rate.served(end + 2500, 1)
  assert.equal(rate.probes(end + 3499, 1000), false, 'since the last hand-over')
})
