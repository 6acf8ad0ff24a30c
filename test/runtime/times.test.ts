import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions, TimesOf } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = scripted()
  const pool = openPool(factory, { name: 'p', ...options }, false, { clock, random: () => 0 })
  return { clock, factory, pool }
}

/** The buckets that hold something, by their upper bound. */
const filled = ({ bounds, counts }: TimesOf): [number, number][] =>
  counts.flatMap((count, bucket) => (count > 0 ? [[bounds[bucket] ?? Number.POSITIVE_INFINITY, count]] : []))

test('times of waits, loans and creates fall into the right buckets, those at a bound below it', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, acquireTimeoutMillis: 60_000 })
  factory.onCreate.next('held')
  const first = pool.acquire()
  const call = await factory.onCreate.call()
  await clock.advance(40)
  call.ok()
  const connection = await first
  const second = pool.acquire()
  const third = pool.acquire()
  await clock.advance(5)
  await pool.release(connection)
  await second
  await clock.advance(20_000)
  await pool.destroy(connection)
  await pool.release(await third)
  await pool.use(() => {})
  const { times, totals } = pool.stats()
  assert.deepEqual(filled(times.wait), [
    [0.1, 1],
    [5, 1],
    [50, 1],
    [Number.POSITIVE_INFINITY, 1],
  ])
  assert.deepEqual(
    [times.wait.count, times.wait.sumMillis, times.wait.maxMillis],
    [4, 40 + 5 + 20_005, 20_005],
  )
  assert.deepEqual(filled(times.use), [
    [0.1, 2],
    [5, 1],
    [Number.POSITIVE_INFINITY, 1],
  ])
  assert.deepEqual(filled(times.create), [
    [0.1, 1],
    [50, 1],
  ])
  assert.equal(times.wait.count, totals.acquired)
  assert.equal(times.use.count, totals.released)
  assert.equal(times.create.count, totals.created)
})

test('peaks stay, and the age of the oldest waiter goes with it', async () => {
  const { clock, pool } = poolOf({ max: 3, priorityRange: 2, acquireTimeoutMillis: 1000 })
  const held = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  const low = rejection(pool.acquire(1))
  await clock.advance(300)
  const waiting = [pool.acquire(), pool.acquire()]
  await clock.advance(100)
  // The one of low priority has waited longest, though it is served last.
  assert.equal(pool.stats().oldestWaitMillis, 400)
  assert.match(pool.report(), /the longest wait at the moment is 400 ms/)
  await clock.advance(600)
  await low
  assert.equal(pool.stats().oldestWaitMillis, 700)
  for (const connection of held) await pool.release(connection)
  for (const connection of await Promise.all(waiting)) await pool.release(connection)
  const stats = pool.stats()
  assert.equal(stats.oldestWaitMillis, 0)
  assert.deepEqual(stats.peaks, { borrowed: 3, pending: 3 })
  assert.match(pool.report(), /at a time, at most 3 lent and 3 waiting/)
  assert.match(
    pool.report(),
    /acquires waited \d+ ms on average, half up to 0\.1 ms, 99 % up to \d+ ms, at most 700 ms/,
  )
})

test('a snapshot is nobody else’s: changing it changes no pool', async () => {
  const { pool } = poolOf({ max: 1 })
  await pool.use(() => {})
  const { times, peaks } = pool.stats()
  times.wait.counts[0] = 99
  peaks.borrowed = 99
  assert.throws(() => (times.use.bounds as number[]).push(1))
  assert.deepEqual([pool.stats().times.wait.counts[0], pool.stats().peaks.borrowed], [1, 1])
})
