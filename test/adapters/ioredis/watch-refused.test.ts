import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { withRedis } from '../../support/redis.ts'
import { poolOf, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

for (const { name, Client } of versions)
  describe(`${name}: a transaction that WATCH has refused`, { skip }, () => {
    for (const pipeline of [true, false])
      test(`is over, and does not cost its connection${pipeline ? '' : ', also sent command by command'}`, async () => {
        const admin = new Redis(redis.url)
        const pool = poolOf(Client, { port: redis.server.port }, { max: 1 })
        const key = `watched ${name} ${pipeline}`
        const first = await pool.use(async client => {
          await client.watch(key)
          await admin.set(key, 'of another')
          const transaction = pipeline ? client.multi().set(key, 'mine') : undefined
          if (transaction === undefined) {
            await client.multi({ pipeline: false })
            await client.set(key, 'mine')
          }
          assert.equal(await (transaction ?? client).exec(), null)
          return client.client('ID')
        })
        assert.equal(await pool.use(client => client.client('ID')), first)
        assert.equal(pool.stats().totals.created, 1)
        await pool.close()
        admin.disconnect()
      })
  })
