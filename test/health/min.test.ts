import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { eventually, scripted } from '../support/factories.ts'
import { withRedis } from '../support/redis.ts'

test('idle connections that min keeps are renewed one by one, spread, and each before its time', async () => {
  for (const min of [1, 4, 20]) {
    const clock = new FakeClock()
    const factory = scripted()
    const pool = openPool(factory, { min, max: 30, idleTimeoutMillis: 10_000 }, false, {
      clock,
      random: () => 0.5,
    })
    const bornAt = new Map<unknown, number>()
    const ended: { at: number; age: number }[] = []
    pool.on('connect', ({ resource }) => bornAt.set(resource, clock.now()))
    pool.on('destroy', ({ resource }) =>
      ended.push({ at: clock.now(), age: clock.now() - (bornAt.get(resource) as number) }),
    )
    let least = min
    await clock.advance(100)
    for (let at = 0; at < 60_000; at += 50) {
      await clock.advance(50)
      least = Math.min(least, pool.size)
    }
    assert.ok(least >= min - 1, `${least} of ${min} at the least`)
    assert.ok(ended.length >= 4 * min && ended.length <= 14 * min, `${ended.length} renewed in a minute`)
    const oldest = Math.max(...ended.map(({ age }) => age))
    assert.ok(oldest <= 10_000 + 100, `one was ${oldest} ms old`)
    const wave = Math.max(...ended.map(({ at }) => ended.filter(each => Math.abs(each.at - at) < 100).length))
    assert.ok(wave <= 1, `${wave} of ${min} were renewed together`)
    await pool.close()
  }
})

test('idle connections above min go at their time, all of them', async () => {
  const clock = new FakeClock()
  const pool = openPool(scripted(), { min: 2, max: 20, idleTimeoutMillis: 4000 }, false, {
    clock,
    random: () => 0.5,
  })
  const lent = await Promise.all(Array.from({ length: 20 }, () => pool.acquire()))
  for (const each of lent) void pool.release(each)
  await clock.advance(3900)
  assert.ok(pool.size >= 19)
  await clock.advance(2200)
  assert.equal(pool.size, 2)
})

const redis = await withRedis({ timeout: '3' })
after(() => redis.stop())

test('a server that closes after 3 s of idling is asked in time, whatever the other options', {
  skip: redis.skip,
}, async () => {
  for (const options of [
    { idleTimeoutMillis: 30_000 },
    { idleTimeoutMillis: 30_000, evictionRunIntervalMillis: 20_000 },
    { maxLifetimeMillis: 600_000 },
    {},
  ]) {
    const pool = createRedisPool(redis.url, { max: 16, ...options })
    const told: string[] = []
    pool.on('half-close', ({ detail }) => told.push(detail))
    const first = await pool.acquire()
    await pool.release(first)
    await eventually(() => pool.stats().serverTimeout.source === 'asked', {
      what: `asked, with ${JSON.stringify(options)}`,
    })
    assert.deepEqual(told, [], 'none was closed by the server before that')
    await pool.close()
  }
})

test('the same with min, before anybody has borrowed', { skip: redis.skip }, async () => {
  const pool = createRedisPool(redis.url, { min: 16, max: 16, idleTimeoutMillis: 30_000 })
  const told: string[] = []
  pool.on('half-close', ({ detail }) => told.push(detail))
  await pool.ready()
  await eventually(() => pool.stats().serverTimeout.source === 'asked')
  const since = performance.now()
  await eventually(() => performance.now() - since > 6000, { within: 10_000 })
  assert.deepEqual(told, [], 'none was closed by the server')
  // One of them may be in renewal.
  await eventually(() => pool.size === 16)
  await pool.close()
})
