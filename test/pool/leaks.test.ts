import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LeakEvent } from '../../src/api/events.ts'
import type { Factory } from '../../src/api/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { CountingFactory } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

interface Used {
  readonly id: number
  usedAt?: number
  busy?: boolean
}

function watched(options: PoolOptions, hooks: Partial<Factory<Used>> = {}) {
  const clock = new FakeClock()
  const factory = new CountingFactory()
  const bare: Factory<Used> = {
    create: () => factory.create(),
    destroy: used => factory.destroy(used),
    ...hooks,
  }
  const pool = openPool<Used>(bare, { max: 3, leakThresholdMillis: 1000, ...options }, false, {
    clock,
    random: () => 0,
  })
  const leaks: LeakEvent<Used>[] = []
  const ends: string[] = []
  pool.on('leak', event => leaks.push(event))
  pool.on('leak-end', event => ends.push(event.how))
  return { clock, pool, leaks, ends, ledger: factory.ledger }
}

test('a forgotten lease is reported once, with its age, and again when it comes back after all', async () => {
  const { clock, pool, leaks, ends } = watched({})
  const forgotten = await pool.acquire()
  await clock.advance(900)
  const used = await pool.acquire()
  await clock.advance(50)
  await pool.release(used)
  assert.equal(leaks.length, 0)
  await clock.advance(60)
  assert.equal(leaks.length, 1)
  assert.equal(leaks[0]?.resource, forgotten)
  assert.ok(Math.abs((leaks[0]?.heldMillis ?? 0) - 1000) <= 1, `${leaks[0]?.heldMillis}`)
  assert.equal(leaks[0]?.reclaimed, false)
  assert.equal(leaks[0]?.stats.borrowed, 1)
  await clock.advance(10_000)
  assert.equal(leaks.length, 1)
  await pool.release(forgotten)
  assert.deepEqual(ends, ['released'])
  assert.equal(pool.stats().totals.leaks, 1)
})

test('a lease that is used, or has unanswered work, is no leak however old it is', async () => {
  const { clock, pool, leaks } = watched(
    {},
    { lastUsed: used => used.usedAt, busy: used => used.busy === true },
  )
  const [polling, blocking, forgotten] = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  blocking.busy = true
  for (let round = 0; round < 20; round += 1) {
    polling.usedAt = clock.now()
    await clock.advance(500)
  }
  assert.deepEqual(
    leaks.map(leak => leak.resource),
    [forgotten],
  )
  // Now it is: its reply has come, and nobody does anything with it.
  blocking.busy = false
  await clock.advance(2000)
  assert.equal(leaks.length, 3)
})

test('a lease is not blamed for the time that the event loop stood still', async () => {
  const { clock, pool, leaks } = watched({})
  const held = await pool.acquire()
  await clock.advance(300)
  await clock.stall(5000)
  assert.equal(leaks.length, 0)
  await clock.advance(400)
  await pool.release(held)
  assert.equal(leaks.length, 0)
  assert.equal(pool.stats().stalls.count, 1)
})

test('a reclaimed lease gives its place to whoever waits, and its late end is refused quietly on every way', async () => {
  const { clock, pool, leaks, ends, ledger } = watched({ leakReclaim: true, acquireTimeoutMillis: 60_000 })
  const plain = await pool.acquire()
  const lease = await pool.lease()
  let finish = (): void => {}
  const work = pool.use(() => new Promise<void>(resolve => (finish = resolve)))
  const next = [pool.acquire(), pool.acquire(), pool.acquire()]
  await clock.advance(1100)
  const served = await Promise.all(next)
  assert.equal(leaks.length, 3)
  assert.deepEqual(ends, ['reclaimed', 'reclaimed', 'reclaimed'])
  assert.equal(ledger.destroyed.length, 3)
  assert.ok(!served.includes(plain))
  finish()
  await work
  await pool.release(plain)
  await lease.release()
  assert.throws(() => lease.resource, { code: 'POOL_LEASE_ENDED' })
  assert.equal(pool.borrowed, 3)
  // A second one is a mistake like any other.
  assert.equal((await rejection(pool.release(plain))).code, 'POOL_NOT_BORROWED')
  const { created, acquired, released, destroyed } = pool.stats().totals
  assert.deepEqual([created, acquired, released, destroyed], [6, 6, 3, 3])
})

test('a listener that ends the leaked lease itself does not have it reclaimed on top', async () => {
  const { clock, pool, ledger } = watched({ leakReclaim: true })
  pool.on('leak', event => void pool.release(event.resource))
  await pool.acquire()
  await clock.advance(1001)
  assert.equal(pool.available, 1)
  assert.equal(ledger.destroyed.length, 0)
})

test('the watch costs one timer, whatever the number of loans, and none once the pool is closed', async () => {
  const { clock, pool } = watched({ max: 100 })
  for (let round = 0; round < 50; round += 1) {
    const held = await Promise.all(Array.from({ length: 100 }, () => pool.acquire()))
    await clock.advance(1)
    for (const resource of held) await pool.release(resource)
  }
  assert.ok(clock.timersSet < 500, `${clock.timersSet} timers`)
  const closing = pool.close()
  await clock.advance(2100)
  await closing
  assert.equal(clock.pending, 0, clock.describe())
})

test('leakReclaim without a threshold would never apply, and is refused', () => {
  const factory = new CountingFactory()
  const options = { leakReclaim: true }
  assert.throws(
    () => openPool(factory, options, false, { clock: new FakeClock(), random: () => 0 }),
    /leakReclaim needs/,
  )
})
