import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import type { LeakEvent } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { CountingFactory, eventually } from '../support/factories.ts'
import { withRedis } from '../support/redis.ts'
import { rejection } from '../support/rejection.ts'
import { callSites } from './leak-sites.ts'

const redis = await withRedis()
after(() => redis.stop())

for (const captureStacks of ['all', 'sampled'] as const) {
  test(`one of fifty concurrent call sites forgets to release: it is named with file and line (${captureStacks})`, async () => {
    const clock = new FakeClock()
    const options = { max: 60, leakThresholdMillis: 200, captureStacks }
    const pool = openPool(new CountingFactory(), options, false, { clock, random: () => 0.5 })
    const leaks: LeakEvent<unknown>[] = []
    pool.on('leak', event => leaks.push(event))
    const sites = callSites(pool, 37)
    await Promise.all(sites.map(site => site()))
    for (let passed = 0; passed < 450; passed += 50) {
      await clock.advance(50)
      await Promise.all(sites.map((site, index) => index !== 37 && site()))
    }
    assert.deepEqual(
      leaks.map(leak => /site-\d+\.js:\d+/.exec(leak.stack ?? '')?.[0]),
      ['site-37.js:4'],
    )
    const text = pool.report().replaceAll(/\n\s+/g, ' ')
    assert.match(text, /1 of 1 leases look forgotten: #\d+ for .* at .*site37.*site-37\.js:4/)
    const closed = rejection(pool.close({ timeoutMillis: 10 }))
    await clock.advance(10)
    assert.equal((await closed).code, 'POOL_DRAIN_TIMEOUT')
  })
}

describe('on a real Redis', { skip: redis.skip }, () => {
  test('a long BLPOP and a subscriber that is talked to are no leak; a client left lying is one', async () => {
    const pool = createRedisPool(redis.url, { max: 4, leakThresholdMillis: 700, captureStacks: 'all' })
    const leaks: unknown[] = []
    pool.on('leak', event => leaks.push(event.resource))
    const blocked = pool.use(client => client.blpop(redis.key('nothing'), 2))
    const lying = await pool.acquire()
    const working = await pool.acquire()
    let replied: unknown
    blocked.then(reply => {
      replied = reply ?? 'nothing'
    })
    const isOver = async (): Promise<boolean> => {
      await working.ping()
      return replied !== undefined
    }
    await eventually(isOver, { within: 20_000 })
    assert.ok(leaks.length === 1 && leaks[0] === lying, `${leaks.length} leaks`)
    await pool.release(lying)
    await pool.release(working)
    await pool.close()
  })
})
