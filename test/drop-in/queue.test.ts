// What generic-pool's users rely on, asked of ours: the queue and failing hooks. Its hazards, which nobody can want, are in test/drop-in/hazards.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPoolError } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { CountingFactory, eventually, scripted, turns } from '../support/factories.ts'
import { open } from '../support/pools.ts'

const refused = (): Error => new Error('connect ECONNREFUSED')

describe('the queue', () => {
  test('priority 0 is served first, equals in the order in which they came, strays last', async () => {
    const pool = open(new CountingFactory(), { max: 1, priorityRange: 3 })
    const resource = await pool.acquire()
    const served: string[] = []
    const asked = (['1a', '0a', '2a', '1b', 'none', '9', '-1', '0b'] as const).map(async label => {
      const priority = label === 'none' ? undefined : Number.parseInt(label, 10)
      const lent = await pool.acquire(priority)
      served.push(label)
      await pool.release(lent)
    })
    await pool.release(resource)
    await Promise.all(asked)
    assert.deepEqual(served, ['0a', 'none', '0b', '1a', '1b', '2a', '9', '-1'])
  })

  test('maxWaitingClients: 0 serves what can be served and refuses the rest by the known message', async () => {
    const pool = open(new CountingFactory(), { max: 2, maxWaitingClients: 0 })
    await pool.acquire()
    const resource = await pool.acquire()
    await assert.rejects(pool.acquire(), error => {
      assert.ok(isPoolError(error, 'POOL_QUEUE_FULL'))
      assert.equal(error.message, 'max waitingClients count exceeded')
      return true
    })
    await pool.release(resource)
    assert.equal(await pool.acquire(), resource)
  })

  test('maxWaitingClients bounds those who wait', async () => {
    const pool = open(new CountingFactory(), { max: 1, maxWaitingClients: 1 })
    await pool.acquire()
    const waiter = pool.acquire()
    waiter.catch(() => {})
    await assert.rejects(pool.acquire(), { message: 'max waitingClients count exceeded' })
    assert.equal(pool.pending, 1)
  })

  test('an acquire that takes too long fails by the known name and message, and its place is free', async () => {
    const factory = scripted()
    factory.onCreate.always('held')
    const pool = open(factory, { acquireTimeoutMillis: 20, idleTimeoutMillis: 150 })
    await assert.rejects(pool.acquire(), error => {
      assert.ok(isPoolError(error, 'POOL_ACQUIRE_TIMEOUT'))
      assert.equal(error.name, 'TimeoutError')
      assert.match(error.message, /ResourceRequest timed out/)
      return true
    })
    assert.equal(pool.pending, 0)
    // The connection arrives after all, and is the next one's.
    const create = await factory.onCreate.call()
    create.ok()
    assert.equal((await pool.acquire()).id, 0)
  })

  test('an acquire in time is not failed later', async () => {
    const factory = scripted()
    factory.onCreate.next({ later: 'ok' })
    const pool = open(factory, { acquireTimeoutMillis: 400 })
    const resource = await pool.acquire()
    await pool.release(resource)
    await pool.drain()
    await pool.clear()
    assert.deepEqual(factory.ledger.destroyed, [resource])
  })
})

describe('hooks that fail', () => {
  for (const [failures, how] of [
    [1, 'rejecting'],
    [4, 'rejecting'],
    [5, 'rejecting'],
    [5, 'throwing'],
  ] as const) {
    test(`${failures} creates ${how} in a row are told one by one, and the acquire is served by the next`, async () => {
      const factory = scripted()
      for (let failure = 0; failure < failures; failure += 1) {
        factory.onCreate.next(how === 'throwing' ? { throws: refused() } : { rejects: refused() })
      }
      const clock = new FakeClock()
      const pool = openPool(factory, { max: 1 }, false, { clock, random: Math.random })
      const errors: unknown[] = []
      pool.on('factoryCreateError', error => errors.push(error))
      const asked = pool.acquire()
      await clock.advance(4900)
      const resource = await asked
      assert.deepEqual(errors.map(String), Array(failures).fill(String(refused())))
      assert.equal(factory.onCreate.calls, failures + 1)
      assert.deepEqual([pool.size, pool.available, pool.borrowed, pool.pending], [1, 0, 1, 0])
      await pool.release(resource)
    })
  }

  test('a destroy that takes too long is told by the known message, once', async () => {
    const factory = scripted()
    factory.onDestroy.always('held')
    const pool = open(factory, { destroyTimeoutMillis: 20 })
    const errors: unknown[] = []
    pool.on('factoryDestroyError', error => errors.push(error))
    await pool.destroy(await pool.acquire())
    await eventually(() => errors.length > 0)
    const call = await factory.onDestroy.call()
    call.reject(new Error('too late'))
    await turns(2)
    assert.equal(errors.length, 1)
    assert.match(String(errors[0]), /destroy timed out/)
  })

  test('a destroy in time is not told', async () => {
    const factory = scripted()
    factory.onDestroy.always({ later: 'ok' })
    const pool = open(factory, { destroyTimeoutMillis: 400 })
    const errors: unknown[] = []
    pool.on('factoryDestroyError', error => errors.push(error))
    await pool.destroy(await pool.acquire())
    await eventually(() => factory.ledger.open.size === 0)
    await turns(2)
    assert.deepEqual(errors, [])
  })

  test('a destroy that rejects is told', async () => {
    const factory = scripted()
    factory.onDestroy.next({ rejects: refused() })
    const pool = open(factory)
    const told = new Promise(resolve => pool.on('factoryDestroyError', resolve))
    await pool.destroy(await pool.acquire())
    assert.equal(String(await told), String(refused()))
  })
})
