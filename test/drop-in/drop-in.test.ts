// What generic-pool's users rely on, asked of ours: options, counts, lending. Its hazards, which nobody can want, are in test/drop-in/hazards.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { isPoolError, type Pool } from '../../src/index.ts'
import {
  CountingFactory,
  eventually,
  ScriptedFactory,
  scripted,
  settledNow,
  turns,
} from '../support/factories.ts'
import { open } from '../support/pools.ts'

/** Counts as a caller sees them at this very moment. */
const counts = (pool: Pick<Pool<unknown>, 'size' | 'available' | 'borrowed' | 'pending'>) => ({
  size: pool.size,
  available: pool.available,
  borrowed: pool.borrowed,
  pending: pool.pending,
})

describe('options', () => {
  test('without options a pool has room for one and keeps none', () => {
    const pool = open(new CountingFactory())
    assert.deepEqual([pool.max, pool.min], [1, 0])
  })

  test('bounds that are no numbers are as good as none given', () => {
    for (const options of [
      { max: [], min: 'asf' },
      { max: 'many', min: {} },
    ]) {
      const pool = open(new CountingFactory(), options as unknown as PoolOptions)
      assert.deepEqual([pool.max, pool.min], [1, 0])
    }
  })

  test('bounds that are numbers in a string are read', () => {
    const pool = open(new CountingFactory(), { max: '7', min: '2' } as unknown as PoolOptions)
    assert.deepEqual([pool.max, pool.min], [7, 2])
  })

  test('min is cut down to max', () => {
    assert.equal(open(new CountingFactory(), { max: 3, min: 5 }).min, 3)
    assert.equal(open(new CountingFactory(), { min: 5 }).min, 1)
  })

  test('options of former versions and of the wrong case do no harm', () => {
    const given = { max: 2, log: false, idletimeoutMillis: 100, reapIntervalMillis: 5, Promise }
    assert.equal(open(new CountingFactory(), given as PoolOptions).max, 2)
  })

  test('odd values are told in a process warning', async () => {
    const heard: string[] = []
    const listener = (warning: Error): unknown => heard.push(warning.message)
    process.on('warning', listener)
    open(new CountingFactory(), { max: 2, min: 9 })
    await eventually(() => heard.some(message => message.includes('min (9)')))
    process.off('warning', listener)
  })
})

describe('the counts change with the call, not some time after', () => {
  test('size grows with demand, up to max, and stays when connections come back', async () => {
    const pool = open(new CountingFactory(), { max: 2 })
    assert.equal(pool.size, 0)
    const first = await pool.acquire()
    assert.equal(pool.size, 1)
    const second = await pool.acquire()
    assert.equal(pool.size, 2)
    void pool.release(first)
    void pool.release(second)
    assert.equal(pool.size, 2)
    await pool.acquire()
    assert.equal(pool.size, 2)
  })

  test('a create under way counts as size', () => {
    const factory = scripted()
    factory.onCreate.always('held')
    const pool = open(factory, { max: 3 })
    void pool.acquire().catch(() => {})
    void pool.acquire().catch(() => {})
    assert.deepEqual(counts(pool), { size: 2, available: 0, borrowed: 0, pending: 2 })
    assert.equal(pool.spareResourceCapacity, 1)
  })

  test('a release makes the connection available before it returns', async () => {
    const pool = open(new CountingFactory(), { max: 2 })
    const [first, second] = [await pool.acquire(), await pool.acquire()]
    assert.deepEqual(counts(pool), { size: 2, available: 0, borrowed: 2, pending: 0 })
    void pool.release(first)
    assert.deepEqual(counts(pool), { size: 2, available: 1, borrowed: 1, pending: 0 })
    void pool.release(second)
    assert.deepEqual(counts(pool), { size: 2, available: 2, borrowed: 0, pending: 0 })
    const third = pool.acquire()
    assert.deepEqual(counts(pool), { size: 2, available: 1, borrowed: 1, pending: 0 })
    void pool.release(await third)
    assert.equal(pool.available, 2)
  })

  test('a release with somebody waiting lends at once', async () => {
    const pool = open(new CountingFactory(), { max: 1 })
    const first = await pool.acquire()
    const waiter = pool.acquire()
    assert.deepEqual(counts(pool), { size: 1, available: 0, borrowed: 1, pending: 1 })
    void pool.release(first)
    assert.deepEqual(counts(pool), { size: 1, available: 0, borrowed: 1, pending: 0 })
    assert.equal(await waiter, first)
  })

  test('a waiter sees itself pending until the connection that it waits for is returned', async () => {
    const pool = open(new CountingFactory(), { max: 1 })
    const seen: number[] = []
    const first = pool.acquire().then(resource => {
      seen.push(pool.available, pool.borrowed, pool.pending)
      return pool.release(resource)
    })
    const second = pool.acquire().then(resource => {
      seen.push(pool.available, pool.borrowed, pool.pending)
      return pool.release(resource)
    })
    await Promise.all([first, second])
    assert.deepEqual(seen, [0, 1, 1, 0, 1, 0])
  })

  test('a destroy ends the loan at once, and the waiter gets a new connection', async () => {
    const factory = new CountingFactory()
    const pool = open(factory, { max: 1 })
    const first = await pool.acquire()
    const waiter = pool.acquire()
    void pool.destroy(first)
    assert.deepEqual([pool.available, pool.borrowed], [0, 0])
    assert.equal(pool.isBorrowedResource(first), false)
    const second = await waiter
    assert.notEqual(second, first)
    assert.deepEqual(counts(pool), { size: 1, available: 0, borrowed: 1, pending: 0 })
    assert.deepEqual(factory.ledger.destroyed, [first])
  })
})

describe('lending', () => {
  test('a connection is borrowed from acquire to release, and no other ever is', async () => {
    const pool = open(new CountingFactory(), { max: 1 })
    const resource = await pool.acquire()
    assert.equal(pool.isBorrowedResource(resource), true)
    assert.equal(pool.isBorrowedResource({ id: 0 }), false)
    await pool.release(resource)
    assert.equal(pool.isBorrowedResource(resource), false)
  })

  for (const end of ['release', 'destroy'] as const) {
    test(`${end} of a stranger, or a second one, is refused and changes nothing`, async () => {
      const pool = open(new CountingFactory(), { max: 2 })
      const resource = await pool.acquire()
      const other = await pool.acquire()
      // An idle connection may be destroyed; one that has been destroyed may not.
      await pool[end](other)
      const before = counts(pool)
      for (const stranger of [{ id: 0 }, other]) {
        await assert.rejects(pool[end](stranger), error => {
          assert.match(String(error), /Resource not currently part of this pool/)
          return isPoolError(error, 'POOL_NOT_BORROWED')
        })
        assert.deepEqual(counts(pool), before)
      }
      assert.equal(await pool.release(resource), undefined)
      const left = end === 'release' ? 2 : 1
      assert.deepEqual(counts(pool), { size: left, available: left, borrowed: 0, pending: 0 })
    })
  }

  test('resources may be primitives', async () => {
    const values = ['a', 'b', 17, Symbol('c'), 0n, true]
    const pool = open(new ScriptedFactory<unknown>(id => values[id]), { max: values.length })
    const lent = await Promise.all(values.map(() => pool.acquire()))
    assert.deepEqual(new Set(lent), new Set(values))
    for (const value of values) {
      assert.equal(pool.isBorrowedResource(value), true)
      await pool.release(value)
    }
    await assert.rejects(pool.release('a'), /not currently part/)
    await pool.destroy(await pool.acquire())
    assert.equal(pool.available, values.length - 1)
  })

  test('falsy resources are resources', async () => {
    for (const value of [0, '', false, null]) {
      const pool = open(new ScriptedFactory<unknown>(() => value))
      assert.equal(await pool.acquire(), value)
      assert.equal(pool.isBorrowedResource(value), true)
      await pool.release(value)
      assert.equal(pool.available, 1)
    }
  })

  test('use lends for the time of a function and passes its result on', async () => {
    const pool = open(new CountingFactory())
    let ended = false
    const result = await pool.use(async resource => {
      assert.equal(pool.isBorrowedResource(resource), true)
      await turns(2)
      ended = true
      return 'result'
    })
    assert.deepEqual([result, ended, pool.borrowed, pool.available], ['result', true, 0, 1])
  })

  test('fifo lends the connection that has been idle longest, lifo the latest', async () => {
    for (const [fifo, lent] of [
      [true, 0],
      [false, 1],
    ] as const) {
      const pool = open(new CountingFactory(), { max: 2, fifo })
      const pair = [await pool.acquire(), await pool.acquire()]
      for (const resource of pair) await pool.release(resource)
      assert.equal(await pool.acquire(), pair[lent])
    }
  })

  test('testOnBorrow discards what does not pass, and asks fresh connections too', async () => {
    const factory = scripted('validate')
    factory.onValidate.next('ok', { gives: false })
    const pool = open(factory, { max: 1, testOnBorrow: true })
    const first = await pool.acquire()
    assert.equal(factory.onValidate.calls, 1)
    await pool.release(first)
    const second = await pool.acquire()
    assert.notEqual(second, first)
    assert.deepEqual(factory.ledger.destroyed, [first])
    assert.equal(factory.onValidate.calls, 3)
  })

  test('a call that waits is not settled until somebody returns a connection', async () => {
    const pool = open(new CountingFactory(), { max: 1 })
    const resource = await pool.acquire()
    const waiter = pool.acquire()
    assert.equal((await settledNow(waiter)).state, 'pending')
    await pool.release(resource)
    assert.equal((await settledNow(waiter)).state, 'fulfilled')
  })
})
