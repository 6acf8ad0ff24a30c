import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPool, isPoolError, type PoolError, type PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { STALL_MILLIS } from '../../src/runtime/time/alarm.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { CountingFactory, scripted } from '../support/factories.ts'
import { insidesOf } from '../support/insides.ts'
import { rejection } from '../support/rejection.ts'

async function fullPool(options: PoolOptions = {}) {
  const clock = new FakeClock()
  let made = 0
  const pool = openPool(
    {
      create: () => {
        made += 1
        return { id: made }
      },
      destroy: () => {},
    },
    { max: 1, name: 'full', ...options },
    false,
    { clock, random: () => 0.5 },
  )
  const held = await pool.acquire()
  return { clock, pool, held }
}

test('each waiter expires at its own deadline, whatever the deadlines of those around it', async () => {
  const { clock, pool } = await fullPool()
  const timeouts = [500, 20, 300, 20, 1000, 1, 300.5, 2 ** 31 - 1]
  const start = clock.now()
  const expired: number[] = []
  for (const timeoutMillis of timeouts) {
    pool.acquire({ timeoutMillis }).catch(() => expired.push(clock.now() - start))
  }
  await clock.advance(1000)
  assert.deepEqual(expired, [1, 20, 20, 300, 301, 500, 1000])
  assert.equal(pool.pending, 1)
})

test('no timer is set unless somebody waits, and one serves a thousand waiters', async () => {
  const { clock, pool, held } = await fullPool({ max: 1, nested: 'allow' })
  pool.release(held)
  await clock.advance(60_000)
  const before = clock.timersSet
  for (let round = 0; round < 100; round += 1) pool.release(await pool.acquire())
  assert.equal(clock.timersSet, before)
  await pool.acquire()
  const waiters = Array.from({ length: 1000 }, () => rejection(pool.acquire()))
  assert.equal(clock.timersSet, before + 1)
  await clock.advance(5010)
  for (const error of await Promise.all(waiters)) assert.equal(error.code, 'POOL_ACQUIRE_TIMEOUT')
  assert.equal(clock.pending, 0, clock.describe())
})

test('a waiter whose connection comes back while the loop stands still is served, not blamed', async () => {
  const { clock, pool, held } = await fullPool({ acquireTimeoutMillis: 100 })
  const waiting = pool.acquire()
  const stalls: number[] = []
  pool.on('stall', event => stalls.push(event.millis))
  // The loop stands still for a second. Then timers run before the poll phase, which is where the release comes from.
  clock.beforeTurns = () => void pool.release(held)
  await clock.stall(1000)
  assert.equal(await waiting, held)
  assert.equal(stalls.length, 1)
  assert.ok((stalls[0] ?? 0) >= STALL_MILLIS)
})

test('a true timeout beside a stall still comes, and names the stall', async () => {
  const { clock, pool } = await fullPool({ acquireTimeoutMillis: 100 })
  const waiting = rejection(pool.acquire())
  await clock.stall(1000)
  await clock.advance(100)
  const error = await waiting
  assert.equal(error.code, 'POOL_ACQUIRE_TIMEOUT')
  assert.ok((error.stalledMillis ?? 0) >= 890, `${error.stalledMillis}`)
  assert.match(error.message, /was blocked/)
  assert.equal(pool.stats().stalls.count, 1)
})

test('the error of a timeout tells a person the numbers and the next step', async () => {
  const { clock, pool } = await fullPool({ acquireTimeoutMillis: 100 })
  const waiting = rejection(pool.acquire())
  await clock.advance(100)
  const error = await waiting
  assert.ok(isPoolError(error, 'POOL_ACQUIRE_TIMEOUT'))
  assert.match(error.message, /ResourceRequest timed out/)
  assert.match(error.message, /pool 'full'/)
  assert.match(error.message, /total=1, max=1, idle=0, borrowed=1, pending=0/)
  assert.match(error.message, /raise max/)
  assert.deepEqual(
    [error.name, error.phase, error.pool, error.waitedMillis],
    ['TimeoutError', 'queue', 'full', 100],
  )
  assert.equal(error.stats?.borrowed, 1)
})

test('an abort takes its waiter out of the queue at once, and only that one', async () => {
  const { pool, held } = await fullPool()
  const caller = new AbortController()
  const others = new AbortController()
  const first = rejection(pool.acquire({ signal: caller.signal }))
  const second = pool.acquire({ signal: others.signal })
  caller.abort(new Error('the client hung up'))
  assert.equal(pool.pending, 1)
  const error = await first
  assert.equal(error.code, 'POOL_ABORTED')
  assert.equal((error.cause as Error).message, 'the client hung up')
  pool.release(held)
  assert.equal(await second, held)
  others.abort()
  assert.ok(pool.isBorrowedResource(held), 'an abort after the hand-over changes nothing')
})

test('an acquire whose signal is aborted already, or that has no time at all, never enters the queue', async () => {
  const { pool, held } = await fullPool()
  await assert.rejects(pool.acquire({ signal: AbortSignal.abort('gone') }), { code: 'POOL_ABORTED' })
  await assert.rejects(pool.acquire({ timeoutMillis: 0 }), { code: 'POOL_ACQUIRE_TIMEOUT' })
  assert.equal(pool.pending, 0)
  pool.release(held)
  assert.equal(await pool.acquire({ timeoutMillis: 0 }), held, 'what is idle is lent without any wait')
})

test('an acquire that has no time at all is told what it would have had to wait for', async () => {
  const { clock, pool, held } = await fullPool({ max: 2, maxWaitingClients: 5 })
  const empty = await rejection(pool.acquire({ timeoutMillis: 0 }))
  assert.equal(empty.phase, 'connect')
  assert.match(empty.message, /There is no idle connection, and one would have to be created/)
  assert.equal(pool.stats().connecting, 0, 'nobody waits for it')
  const other = await pool.acquire()
  const full = await rejection(pool.acquire({ timeoutMillis: 0 }))
  assert.equal(full.phase, 'queue')
  assert.match(full.message, /borrowed=2.*All connections are lent, and timeoutMillis 0 does not wait/)
  pool.release(held)
  pool.release(other)

  const factory = scripted('validate')
  const stale = openPool(factory, { validateAfterIdleMillis: 100 }, false, { clock, random: () => 0.5 })
  stale.release(await stale.acquire())
  await clock.advance(200)
  const unproven = await rejection(stale.acquire({ timeoutMillis: 0 }))
  assert.equal(unproven.phase, 'validate')
  assert.match(unproven.message, /idle=1.*would have to be validated/)
  for (const { message } of [empty, full, unproven]) assert.doesNotMatch(message, /for the whole wait/)
})

test('a hundred thousand who are aborted at once leave at once, and hear of it in portions', async () => {
  const pool = createPool(new CountingFactory(), { max: 1 })
  const held = await pool.acquire()
  const caller = new AbortController()
  let heard = 0
  const crowd = Array.from({ length: 100_000 }, () =>
    pool.acquire({ signal: caller.signal }).catch((error: PoolError) => {
      if (error.code === 'POOL_ABORTED') heard += 1
    }),
  )
  caller.abort()
  assert.equal(pool.pending, 0)
  await new Promise(resolve => setImmediate(resolve))
  assert.ok(heard > 0 && heard < 100_000, `${heard} had heard of it in the first turn`)
  await Promise.all(crowd)
  assert.equal(heard, 100_000)
  await pool.release(held)
  await pool.close()
})

test('a waiter behind a hundred thousand aborted ones is served, and they leave nothing behind', async () => {
  const { pool, held } = await fullPool()
  const crowd = new AbortController()
  let aborted = 0
  for (let asked = 0; asked < 100_000; asked += 1) {
    pool.acquire({ signal: crowd.signal }).catch(() => {
      aborted += 1
    })
  }
  const last = pool.acquire()
  crowd.abort()
  await settle()
  assert.equal(aborted, 100_000)
  assert.equal(pool.pending, 1)
  pool.release(held)
  assert.equal(await last, held)
  assert.equal(insidesOf(pool).queue.waiters().length, 0)
})

test('what an acquire is asked with is checked, all at once', async () => {
  const { pool } = await fullPool()
  const bad = { timeoutMillis: Number.NaN, signal: 'no' as unknown as AbortSignal, timeout: 5 }
  const error = await rejection(pool.acquire(bad))
  assert.equal(error.code, 'POOL_BAD_OPTIONS')
  assert.equal(error.issues?.length, 3, error.message)
  for (const timeoutMillis of [-1, Number.NaN, Number.NEGATIVE_INFINITY]) {
    await assert.rejects(pool.acquire({ timeoutMillis }), { code: 'POOL_BAD_OPTIONS' })
  }
})

test('what is no record of options is refused by acquire, use and lease, and nothing is lent for it', async () => {
  for (const nested of ['detect', 'forbid'] as const) {
    const pool = createPool(scripted(), { max: 2, nested })
    const unreadable = {
      get detached(): boolean {
        throw new Error('boom')
      },
    }
    const nothing = [
      AbortSignal.abort(),
      [],
      new Map(),
      new Date(),
      { timeoutMillis: Object.create(null) },
      unreadable,
    ]
    for (const request of nothing as object[]) {
      for (const ask of [
        () => pool.acquire(request),
        () => pool.use(() => {}, request),
        () => pool.lease(request),
      ]) {
        const error = await rejection(ask())
        if (request === unreadable) assert.equal(error.message, 'boom')
        else {
          assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
          assert.equal(error.stats?.borrowed, 0)
        }
      }
    }
    assert.match((await rejection(pool.acquire(AbortSignal.abort() as object))).message, /pass the signal as/)
    assert.equal(pool.borrowed + pool.pending, 0)
    await pool.close()
  }
})

test('the queue is bounded, and its error has the numbers beside the text that generic-pool users compare', async () => {
  const { pool } = await fullPool({ maxWaitingClients: 2 })
  const waiting = [pool.acquire(), pool.acquire()]
  const error = await rejection(pool.acquire())
  assert.equal(error.code, 'POOL_QUEUE_FULL')
  assert.equal(error.message, 'max waitingClients count exceeded')
  assert.match(error.hint ?? '', /2 acquires already wait.*borrowed=1/)
  for (const each of waiting) each.catch(() => {})
})

test('a pool that was made smaller takes as many waiting acquires as before, however many are lent', async () => {
  const pool = createPool(new CountingFactory(), { max: 10, maxWaitingClients: 2, name: 'shrunken' })
  const lent = await Promise.all(Array.from({ length: 10 }, () => pool.acquire()))
  pool.resize({ max: 2 })
  const waiting = [pool.acquire(), pool.acquire()]
  assert.equal((await rejection(pool.acquire())).code, 'POOL_QUEUE_FULL')
  for (const connection of lent) await pool.release(connection)
  for (const connection of await Promise.all(waiting)) await pool.release(connection)
  await pool.close()
})
