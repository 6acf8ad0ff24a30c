import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { simulate } from '../support/overload.ts'
import { Chance } from '../support/random.ts'
import { rejection } from '../support/rejection.ts'

const SHEDDING = { targetMillis: 50, intervalMillis: 2000 }

const overload = (options: PoolOptions, offered: number) =>
  simulate({
    options,
    connections: 10,
    serviceMillis: 20,
    offered: () => offered,
    millis: 20_000,
    random: new Chance(7).next,
  })

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = { create: () => ({}), destroy: () => {} }
  return { clock, pool: openPool(factory, options, false, { clock, random: () => 0 }) }
}

describe('twice the load that can be served, for 20 s', () => {
  test('without shedding everybody waits for the deadline, served or not', async () => {
    const { median, served, capacity } = await overload({}, 2)
    assert.ok(median > 4000, `median ${median} ms`)
    assert.ok(Math.abs(served / capacity - 1) < 0.05, `${served} of ${capacity}`)
  })

  for (const [order, least, most] of [
    ['fifo', SHEDDING.targetMillis, 2 * SHEDDING.targetMillis],
    ['lifo', 0, SHEDDING.targetMillis],
  ] as const) {
    test(`with shedding (${order}) the served wait near the target or less, at full goodput`, async () => {
      const { median, p99, served, capacity, fates } = await overload({ shedding: { ...SHEDDING, order } }, 2)
      assert.ok(median >= least && median <= most, `median ${median} ms`)
      // The first interval of the overload is let pass.
      assert.ok(p99 <= SHEDDING.intervalMillis, `p99 ${p99} ms`)
      assert.ok(Math.abs(served / capacity - 1) < 0.05, `${served} of ${capacity}`)
      assert.ok(!fates.some(fate => fate.how === 'timeout'))
    })
  }

  test('the youngest first does not swing between shedding and not, interval by interval', async () => {
    const { fates } = await overload({ shedding: { ...SHEDDING, order: 'lifo' } }, 2)
    const late = fates.filter(fate => fate.at > 3 * SHEDDING.intervalMillis)
    const longest = Math.max(...late.map(fate => fate.waited))
    assert.ok(longest < 3 * SHEDDING.targetMillis, `${longest} ms`)
  })

  test('the youngest is served first by default while load is shed, as it measures better', async () => {
    const { median } = await overload({ shedding: SHEDDING }, 2)
    assert.ok(median < SHEDDING.targetMillis / 2, `median ${median} ms`)
  })

  test('shedding and early refusal together refuse nobody whose turn would come at once', async () => {
    const { fates, served, capacity } = await overload(
      { shedding: SHEDDING, earlyRefusal: true, acquireTimeoutMillis: 150 },
      2,
    )
    const late = fates.filter(fate => fate.at > 5000)
    const refused = late.filter(fate => fate.how === 'refused').length
    assert.ok(refused < late.length * 0.05, `${refused} of ${late.length}`)
    assert.ok(Math.abs(served / capacity - 1) < 0.05, `${served} of ${capacity}`)
  })

  test('early refusal turns away at once those who would wait in vain', async () => {
    const { served, capacity, fates } = await overload({ earlyRefusal: true, acquireTimeoutMillis: 200 }, 2)
    const count = (how: string): number => fates.filter(fate => fate.how === how).length
    assert.ok(served > capacity * 0.95, `${served} of ${capacity}`)
    assert.ok(count('refused') > 5 * count('timeout'), `${count('refused')} against ${count('timeout')}`)
  })
})

test('those of a low priority are shed, not left to their deadlines, while a high one takes all that comes', async () => {
  const random = new Chance(5).next
  const { fates } = await simulate({
    options: { shedding: SHEDDING, priorityRange: 2 },
    connections: 10,
    serviceMillis: 20,
    offered: () => 1.8,
    millis: 20_000,
    random,
    // The high one alone is nine tenths of what can be served.
    priority: () => (random() < 0.5 ? 0 : 1),
  })
  const low = fates.filter(({ priority, at }) => priority === 1 && at > 5000)
  const high = fates.filter(({ priority, at }) => priority === 0 && at > 5000)
  assert.ok(low.filter(({ how }) => how === 'shed').length > low.length / 2)
  assert.ok(low.every(({ waited }) => waited < 3 * SHEDDING.targetMillis))
  assert.ok(high.filter(({ how }) => how === 'served').length > high.length * 0.95)
})

test('a load that can be served is not shed, bursts included', async () => {
  const { fates, capacity, served } = await simulate({
    options: { shedding: SHEDDING },
    connections: 10,
    serviceMillis: 20,
    // Three times the capacity for 100 ms out of every 500.
    offered: at => (at % 500 < 100 ? 3 : 0.3),
    millis: 20_000,
    random: new Chance(11).next,
  })
  assert.ok(served > capacity * 0.7)
  assert.deepEqual([...new Set(fates.map(fate => fate.how))], ['served'])
})

test('nobody comes back at all: a poll sheds those who wait, although nothing is ever dequeued', async () => {
  const { clock, pool } = poolOf({ shedding: SHEDDING, acquireTimeoutMillis: 60_000 })
  await pool.acquire()
  await clock.advance(1)
  const waits = [1, 2, 3].map(() => rejection(pool.acquire()))
  await clock.advance(10_000)
  for (const error of await Promise.all(waits)) {
    assert.equal(error.code, 'POOL_SHED')
    assert.match(error.message, /target of 50 ms.*borrowed=1/)
    assert.ok((error.waitedMillis ?? 0) > 100)
  }
  assert.equal(pool.stats().totals.shed, 3)
  assert.equal(pool.pending, 0)
})

test('listeners that ask for connections while others are shed do not have one lent twice', async () => {
  const { clock, pool } = poolOf({ shedding: SHEDDING, acquireTimeoutMillis: 60_000 })
  const held = await pool.acquire()
  let lent = 0
  const work = async (): Promise<void> => {
    const resource = await pool.acquire()
    lent += 1
    assert.equal(lent, 1)
    clock.after(10, () => {
      lent -= 1
      void pool.release(resource)
    })
  }
  let asked = 0
  pool.on('shed', () => {
    asked += 1
    if (asked < 20) work().catch(() => {})
  })
  const waits = [1, 2].map(() => rejection(pool.acquire()))
  await clock.advance(6100)
  await pool.release(held)
  await clock.advance(10_000)
  await Promise.all(waits)
  assert.ok(asked >= 2)
  assert.deepEqual([pool.borrowed, pool.pending], [0, 0])
})

test('a waiter is not shed for the time that the event loop stood still', async () => {
  const { clock, pool } = poolOf({
    max: 1,
    shedding: { targetMillis: 50, intervalMillis: 100 },
    acquireTimeoutMillis: 300,
  })
  const held = await pool.acquire()
  const waiting = pool.acquire()
  // The deadline comes during the block, so the alarm is late and the stall is known.
  clock.beforeTurns = () => {
    clock.beforeTurns = () => {}
    void pool.release(held)
  }
  await clock.stall(1000)
  assert.equal(await waiting, held)
})

test('early refusal says how long the wait would have been, and lets in those who have the time', async () => {
  const { clock, pool } = poolOf({ earlyRefusal: true, acquireTimeoutMillis: 60_000 })
  const serve = async (): Promise<void> => {
    const held = await pool.acquire()
    clock.after(100, () => void pool.release(held))
  }
  const all = Array.from({ length: 60 }, serve)
  await clock.advance(2050)
  const ahead = pool.pending
  const error = await rejection(pool.acquire({ timeoutMillis: 500 }))
  assert.equal(error.code, 'POOL_SHED')
  assert.ok(Math.abs((error.estimatedMillis ?? 0) - (ahead + 1) * 100) < 1, `${error.estimatedMillis}`)
  const patient = pool.acquire({ timeoutMillis: 10_000 })
  await clock.advance(5000)
  await Promise.all(all)
  assert.ok(await patient)
})
