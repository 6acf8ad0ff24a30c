import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { createBudget } from '../../../src/index.ts'
import { eventually } from '../../support/factories.ts'
import { ensureRedisBinary, startRedis } from '../../support/redis-server.ts'

const binary = await ensureRedisBinary()
const skip = 'missing' in binary ? binary.missing : false

test('tenants that share a server never have more clients there than their budget allows, and all of them work', {
  skip,
}, async () => {
  const redis = await startRedis()
  const budget = createBudget({ max: 6, name: 'redis' })
  const tenants = Array.from({ length: 4 }, (_, index) =>
    createRedisPool(redis.url, { name: `tenant-${index}`, max: 6, budget, acquireTimeoutMillis: 20_000 }),
  )
  const served = tenants.map(() => 0)
  const server = new Redis(redis.url)
  let isOver = false
  const callers = tenants.flatMap((pool, tenant) =>
    Array.from({ length: 8 }, async () => {
      while (!isOver) {
        await pool.use(client => client.incr(`tenant-${tenant}`))
        served[tenant] = (served[tenant] ?? 0) + 1
        // Now and then a tenant is quiet.
        if ((served[tenant] ?? 0) % 100 === 0) await pause(5)
      }
    }),
  )
  const most = { clients: 0, looks: 0 }
  await eventually(
    async () => {
      const list = (await server.client('LIST')) as string
      most.clients = Math.max(most.clients, list.trim().split('\n').length - 1)
      most.looks += 1
      return most.looks > 200 && served.every(times => times > 300)
    },
    { within: 60_000 },
  )
  isOver = true
  await Promise.all(callers)
  assert.ok(most.clients <= 6, `${most.clients} clients at a time`)
  assert.equal(most.clients, 6)
  assert.deepEqual(await server.mget(tenants.map((_, tenant) => `tenant-${tenant}`)), served.map(String))
  await Promise.all(tenants.map(pool => pool.close()))
  assert.equal(budget.stats().used, 0)
  await server.quit()
  await redis.stop()
})
