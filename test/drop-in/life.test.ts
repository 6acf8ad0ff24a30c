// What generic-pool's users rely on, asked of ours: start, idle checks, the end. Its hazards, which nobody can want, are in test/drop-in/hazards.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPoolError } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { CountingFactory, eventually, scripted, settledNow, turns } from '../support/factories.ts'
import { open } from '../support/pools.ts'

describe('start, min and idle checks', () => {
  test('with autostart off nothing happens before start or the first acquire', async () => {
    const factory = new CountingFactory()
    const pool = open(factory, { max: 3, min: 2, autostart: false, evictionRunIntervalMillis: 10_000 })
    assert.equal(pool._scheduledEviction, null)
    await turns(2)
    assert.equal(pool.size, 0)
    await pool.release(await pool.acquire())
    assert.notEqual(pool._scheduledEviction, null)
    await eventually(() => pool.available === 2)
    const second = open(factory, { max: 3, min: 2, autostart: false })
    second.start()
    assert.equal(second.size, 2)
  })

  test('ready resolves once min connections are available', async () => {
    const factory = scripted()
    factory.onCreate.always('held')
    const pool = open(factory, { max: 4, min: 2 })
    const ready = pool.ready()
    const first = await factory.onCreate.call()
    first.ok()
    assert.equal((await settledNow(ready)).state, 'pending')
    const second = await factory.onCreate.call()
    second.ok()
    assert.equal(await ready, undefined)
    assert.ok(pool.available >= 2)
    assert.equal((await settledNow(pool.ready())).state, 'fulfilled')
  })

  test('a pool that keeps nothing is ready', async () => {
    assert.equal(await open(new CountingFactory()).ready(), undefined)
  })

  test('the idle timeout retires connections of min too, and they are replaced', async () => {
    const factory = new CountingFactory()
    const pool = open(factory, { max: 2, min: 2, idleTimeoutMillis: 50, evictionRunIntervalMillis: 10 })
    await eventually(() => factory.ledger.destroyed.length >= 2)
    const resource = await pool.acquire()
    assert.ok(resource.id > 1)
    assert.ok(factory.ledger.open.has(resource))
  })

  test('the soft idle timeout retires only what is above min', async () => {
    const factory = new CountingFactory()
    const pool = open(factory, {
      max: 4,
      min: 1,
      softIdleTimeoutMillis: 20,
      idleTimeoutMillis: 60_000,
      evictionRunIntervalMillis: 5,
    })
    const lent = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
    for (const resource of lent) await pool.release(resource)
    await eventually(() => pool.size === 1)
    // A further connection comes and goes: by then the last one has seen many checks.
    const pair = await Promise.all([pool.acquire(), pool.acquire()])
    for (const resource of pair) await pool.release(resource)
    await eventually(() => pool.size === 1)
    assert.equal(factory.ledger.destroyed.length, 3)
  })

  test('the checks leave young connections alone', async () => {
    const factory = scripted()
    const clock = new FakeClock()
    const options = { evictionRunIntervalMillis: 5, max: 2 }
    const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
    await pool.release(await pool.acquire())
    const before = clock.timersSet
    await clock.advance(50)
    assert.ok(clock.timersSet - before >= 9, 'they have come again and again')
    assert.equal(factory.ledger.destroyed.length, 0)
  })
})

describe('the end', () => {
  test('drain serves everybody who waits, and refuses newcomers by the known message', async () => {
    const pool = open(new CountingFactory(), { max: 2 })
    const held = [await pool.acquire(), await pool.acquire()]
    const waiters = [pool.acquire(), pool.acquire(), pool.acquire()]
    const drained = pool.drain()
    await assert.rejects(pool.acquire(), error => {
      assert.match(String(error), /pool is draining and cannot accept work/)
      return isPoolError(error, 'POOL_CLOSED')
    })
    for (const resource of held) await pool.release(resource)
    for (const waiter of waiters) {
      assert.equal((await settledNow(drained)).state, 'pending')
      await pool.release(await waiter)
    }
    assert.equal(await drained, undefined)
    assert.deepEqual([pool.borrowed, pool.pending], [0, 0])
  })

  test('clear resolves to nothing once everything is destroyed', async () => {
    const factory = scripted()
    factory.onDestroy.always({ later: 'ok' })
    const pool = open(factory, { max: 3, min: 3 })
    const acquires = [pool.acquire(), pool.acquire(), pool.acquire()]
    assert.equal(pool.pending, 3)
    const drained = pool.drain()
    for (const acquire of acquires) void acquire.then(resource => pool.release(resource))
    await drained
    assert.equal(await pool.clear(), undefined)
    assert.equal(factory.ledger.open.size, 0)
    assert.deepEqual([pool.size, pool.available], [0, 0])
  })

  test('drain and clear leave nothing behind while the creates for min are under way', async () => {
    const factory = scripted('validate')
    factory.onCreate.next({ later: 'ok' })
    const pool = open(factory, {
      max: 10,
      min: 1,
      autostart: true,
      testOnBorrow: true,
      idleTimeoutMillis: 30_000,
      evictionRunIntervalMillis: 500,
    })
    assert.equal(pool.size, 1)
    await pool.drain()
    await pool.clear()
    assert.equal(factory.ledger.open.size, 0)
    assert.equal(factory.ledger.created.length, factory.ledger.destroyed.length)
    assert.equal(pool._scheduledEviction, null)
  })

  test('a clear without a drain leaves the pool open, and min is made anew', async () => {
    const factory = new CountingFactory()
    const pool = open(factory, { max: 3, min: 2 })
    await pool.ready()
    const lent = await pool.acquire()
    await pool.clear()
    assert.ok(factory.ledger.open.has(lent))
    await pool.release(lent)
    await eventually(() => pool.size >= 2)
    assert.ok(factory.ledger.open.has(await pool.acquire()))
    assert.equal(factory.ledger.strayDestroys, 0)
  })
})
