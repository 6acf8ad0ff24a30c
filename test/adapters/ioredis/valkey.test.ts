import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Redis } from 'ioredis'
import { Redis as Iovalkey } from 'iovalkey'
import { createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { withRedis } from '../../support/redis.ts'
import { rejection } from './versions.ts'

/*
 * Clients of iovalkey, by way of a function. The other tests of this adapter run on it with `npm run test:valkey`.
 */

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

const forms: Readonly<Record<string, () => unknown>> = {
  'connects when the pool says so': () => new Iovalkey({ port: redis.server.port, lazyConnect: true }),
  'connects by itself': () => new Iovalkey({ port: redis.server.port }),
  'is made from a URL': () => new Iovalkey(redis.server.url, { lazyConnect: true }),
}

for (const [form, make] of Object.entries(forms)) {
  test(`a client of iovalkey that ${form} is pooled, reused, and cannot be changed by a borrower`, {
    skip,
  }, async () => {
    const pool = createRedisPool(make as () => Redis, { max: 1 })
    const key = redis.key('n')
    await pool.use(client => client.set(key, 1))
    const answers = await pool.use(async client => {
      await client.watch(key)
      return await client.multi().incr(key).exec()
    })
    assert.deepEqual(answers, [[null, 2]])
    await pool.use(client => {
      for (const name of ['retryStrategy', 'enableOfflineQueue', 'db', 'family'])
        assert.throws(() => Object.assign(client.options, { [name]: 1 }), TypeError)
    })
    assert.equal(pool.stats().totals.created, 1)
    await pool.close()
  })
}

test('what iovalkey must not have been told is refused with the reason', { skip }, async () => {
  const make = (): unknown =>
    new Iovalkey({ port: redis.server.port, enableAutoPipelining: true, lazyConnect: true })
  const pool = createRedisPool(make as () => Redis)
  const { cause } = await rejection(pool.acquire())
  assert.match(String(cause), /enableAutoPipelining must be false on a pooled client, got true/)
  await pool.close()
})

test('a client that breaks as it connects says how, and not that a connection was closed', {
  skip,
}, async () => {
  const make = (): unknown => {
    const client = new Iovalkey({ port: redis.server.port, lazyConnect: true })
    client.connect = () => Promise.reject(new TypeError('something of this client is not as it should be'))
    return client
  }
  const pool = createRedisPool(make as () => Redis, { acquireTimeoutMillis: 500 })
  assert.match((await rejection(pool.acquire())).message, /something of this client is not as it should be/)
  await pool.close()
})
