/*
 * Most waiters have the pool's own timeout: their deadlines are kept by the order of the queue alone, and count from a
 * reading of the clock that may be as old as the current run of microtasks.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { AcquireOptions, PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { CoarseClock, settle } from '../support/clock.ts'
import { insidesOf } from '../support/insides.ts'

/** A pool whose one connection is lent. Tells when each acquire expires, in milliseconds from now. */
async function fullPool(options: PoolOptions = {}) {
  const clock = new CoarseClock()
  const factory = { create: () => ({}), destroy: () => {} }
  const pool = openPool(factory, { max: 1, acquireTimeoutMillis: 1000, ...options }, false, {
    clock,
    random: () => 0.5,
  })
  const held = await pool.acquire()
  await settle()
  const start = clock.now()
  const expired: [string, number][] = []
  const wait = (name: string, given?: AcquireOptions) => {
    const promise = pool.acquire(given)
    promise.catch(() => expired.push([name, clock.now() - start]))
    return promise
  }
  return { clock, pool, held, expired, wait }
}

test('an acquire made after a long computation of the same callback has its whole timeout', async () => {
  const { clock, expired, wait } = await fullPool()
  wait('before')
  clock.compute(5000)
  wait('after')
  await settle()
  await clock.advance(999)
  assert.equal(expired.length, 0, 'both count from the end of the callback')
  await clock.advance(1)
  assert.deepEqual(expired, [
    ['before', 6000],
    ['after', 6000],
  ])
})

test('so has one that stood behind a waiter which was served, aborted or refused in the same callback', async () => {
  for (const end of ['served', 'aborted'] as const) {
    const { clock, pool, held, expired, wait } = await fullPool()
    const caller = new AbortController()
    const first = wait('first', { signal: caller.signal })
    if (end === 'served') void wait('second')
    clock.compute(5000)
    wait('after')
    if (end === 'served') pool.release(held)
    else caller.abort()
    await settle()
    await clock.advance(999)
    assert.deepEqual(
      expired.filter(([name]) => name !== 'first'),
      [],
      end,
    )
    await clock.advance(1)
    assert.deepEqual(expired.at(-1), ['after', 6000], end)
    await Promise.allSettled([first])
  }
})

test('waiters of several callbacks expire each at its own time, though no clock was read for most', async () => {
  const { clock, expired, wait } = await fullPool()
  for (const name of ['a', 'b', 'c']) {
    wait(name)
    wait(`${name}2`)
    await settle()
    await clock.advance(100)
  }
  await clock.advance(700)
  assert.deepEqual(expired, [
    ['a', 1000],
    ['a2', 1000],
  ])
  await clock.advance(200)
  assert.deepEqual(
    expired.map(([, at]) => at),
    [1000, 1000, 1100, 1100, 1200, 1200],
  )
  assert.equal(clock.pending, 0, clock.describe())
})

test('own timeouts and priorities between them change the deadline of none', async () => {
  const { clock, expired, wait } = await fullPool({ priorityRange: 3 })
  wait('default')
  wait('short', { timeoutMillis: 200 })
  wait('low', { priority: 2 })
  wait('long', { timeoutMillis: 3000 })
  wait('default again', { priority: 0, timeoutMillis: 1000 })
  await settle()
  await clock.advance(500)
  wait('late')
  await settle()
  await clock.advance(5000)
  assert.deepEqual(expired, [
    ['short', 200],
    ['default', 1000],
    ['default again', 1000],
    ['low', 1000],
    ['late', 1500],
    ['long', 3000],
  ])
})

test('ten thousand waiters behind a hundred with longer timeouts expire in order', async () => {
  const { clock, pool, expired, wait } = await fullPool()
  for (let count = 0; count < 100; count += 1) wait('long', { timeoutMillis: 60_000 })
  for (let count = 0; count < 10_000; count += 1) wait('default')
  await settle()
  await clock.advance(1100)
  assert.equal(expired.length, 10_000)
  assert.equal(pool.pending, 100)
  await clock.advance(60_000)
  assert.equal(pool.pending, 0)
})

test('a default waiter whose deadline a stall has put off expires once, and does not hold up those behind it', async () => {
  const { clock, expired, wait } = await fullPool()
  wait('first')
  await settle()
  await clock.advance(950)
  wait('behind')
  await settle()
  await clock.stall(100)
  assert.equal(expired.length, 0, 'the loop stood still when the deadline passed')
  await clock.advance(200)
  assert.deepEqual(
    expired.map(([name]) => name),
    ['first'],
  )
  await clock.advance(2000)
  assert.deepEqual(
    expired.map(([name]) => name),
    ['first', 'behind'],
  )
  assert.equal(clock.pending, 0, clock.describe())
})

test('waiters that were served are forgotten, although many others have expired before', async () => {
  const { clock, pool, held, wait } = await fullPool()
  for (let count = 0; count < 500; count += 1) wait('expires')
  await settle()
  await clock.advance(1100)
  const served = Array.from({ length: 200 }, () => wait('served', { timeoutMillis: 60_000 }))
  const kept = insidesOf(pool)
    .queue.waiters()
    .map(waiter => new WeakRef(waiter))
  for (const each of served) {
    void pool.release(held)
    await each
  }
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await settle()
  collect()
  const alive = kept.filter(ref => ref.deref() !== undefined).length
  assert.ok(alive <= 100, `${alive} of 200 waiters that were served are kept`)
})
