import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = scripted('validate')
  return { clock, factory, pool: openPool(factory, options, false, { clock, random: () => 0 }) }
}

test('an hour of sleep: connections that aged with the machine are proved before they are lent', async () => {
  const { clock, factory, pool } = poolOf({ max: 3, validateAfterIdleMillis: 500 })
  const held = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  for (const each of held) await pool.release(each)
  await clock.stall(3_600_000)
  await clock.advance(1)
  const before = factory.onValidate.calls
  assert.ok(held.includes(await pool.acquire()))
  assert.equal(factory.onValidate.calls, before + 1)
})

test('an hour of sleep: waiters are served by what comes back, deadlines or not, and dials go on', async () => {
  const { clock, factory, pool } = poolOf({ max: 2, acquireTimeoutMillis: 5000, createTimeoutMillis: 1000 })
  const held = await pool.acquire()
  factory.onCreate.always('held')
  const first = pool.acquire()
  const dial = await factory.onCreate.call()
  const second = pool.acquire()
  await clock.stall(3_600_000)
  dial.ok()
  await clock.advance(1)
  await pool.release(held)
  await clock.advance(1)
  await Promise.all([first, second])
  assert.equal(pool.stats().totals.timeouts, 0)
  assert.equal(pool.stats().totals.createErrors, 0)
})

test('whoever was in a stall waits on, although the time of one who came after it has run out meanwhile', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, createTimeoutMillis: 5000 })
  factory.onCreate.always('held')
  const early = pool.acquire({ timeoutMillis: 200 })
  const dial = await factory.onCreate.call()
  await clock.advance(10)
  await clock.stall(1000)
  const late = rejection(pool.acquire({ timeoutMillis: 20 }))
  await clock.advance(30)
  assert.equal((await late).waitedMillis, 20)
  dial.ok()
  await clock.advance(1)
  assert.ok(await early)
})

test('whoever came after a stall is not let wait on for it, although things move', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, createTimeoutMillis: 5000 })
  factory.onCreate.always('held')
  const early = rejection(pool.acquire({ timeoutMillis: 200 }))
  await clock.advance(10)
  await clock.stall(1000)
  const late = rejection(pool.acquire({ timeoutMillis: 40 }))
  await clock.advance(50)
  assert.equal((await late).waitedMillis, 40)
  await clock.advance(100)
  assert.ok(((await early).waitedMillis ?? 0) <= 1115)
})

test('a wait is prolonged by no more than the stall took from its end', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, createTimeoutMillis: 5000 })
  factory.onCreate.always('hangs')
  const waiting = rejection(pool.acquire({ timeoutMillis: 200 }))
  await clock.advance(160)
  await clock.stall(40)
  await clock.advance(100)
  const { waitedMillis = 0 } = await waiting
  assert.ok(waitedMillis >= 240 && waitedMillis <= 245, `${waitedMillis}`)
})

test('a loop that stands still in every turn does not prolong waits for ever', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, createTimeoutMillis: 60_000 })
  factory.onCreate.always('hangs')
  const waiting = rejection(pool.acquire({ timeoutMillis: 200 }))
  const start = clock.now()
  for (let turn = 0; turn < 40; turn += 1) {
    await clock.stall(40)
    await clock.advance(1)
  }
  assert.ok(((await waiting).waitedMillis ?? 0) < 600, `${clock.now() - start}`)
})

test('load is not shed for a stall that no timer of the pool ran into', async () => {
  const { clock, pool } = poolOf({
    max: 1,
    shedding: { targetMillis: 50, intervalMillis: 1000 },
    acquireTimeoutMillis: 60_000,
    evictionRunIntervalMillis: 0,
    nested: 'allow',
  })
  const held = await pool.acquire()
  const first = rejection(pool.acquire())
  await clock.advance(3500)
  assert.equal((await first).code, 'POOL_SHED')
  // From now on it is known that more is asked for than can be served.
  const waiting = pool.acquire()
  await clock.advance(20)
  await clock.stall(400)
  await pool.release(held)
  assert.equal(await waiting, held)
})

test('a lease is blamed on time, although the loop stands still a little all the while', async () => {
  const { clock, pool } = poolOf({ max: 1, leakThresholdMillis: 1000 })
  const leaks: number[] = []
  pool.on('leak', ({ unusedMillis }) => leaks.push(unusedMillis))
  await pool.acquire()
  for (let round = 0; round < 30; round += 1) {
    await clock.stall(30)
    await clock.advance(90)
  }
  assert.equal(leaks.length, 1)
  assert.ok((leaks[0] ?? 0) < 1300, `${leaks[0]}`)
})
