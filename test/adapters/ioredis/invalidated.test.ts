import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { withRedis } from '../../support/redis.ts'
import { everyClient, poolOf, rejection } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())

for (const { name, Client } of everyClient) {
  describe(`${name}: a connection of which somebody says that it is unusable`, { skip: redis.skip }, () => {
    const counted = (options: object = {}) => {
      const clients: Redis[] = []
      const pool = poolOf(Client, redis.url, {
        max: 2,
        prepare: (client: Redis) => void clients.push(client),
        ...options,
      })
      const ends: [client: number, reason: string][] = []
      pool.on('destroy', ({ resource, reason }) => ends.push([clients.indexOf(resource), reason]))
      return { pool, clients, ends }
    }

    test('is known by the handle of its loan, and by no other', async () => {
      const { pool, ends } = counted()
      const stale = await pool.acquire()
      await pool.release(stale)
      assert.equal(pool.invalidate(stale), false, 'it may be lent to somebody else by now')
      const handle = await pool.acquire()
      assert.equal(pool.invalidate(handle, 'told by the borrower'), true)
      assert.equal(await handle.ping(), 'PONG', 'its borrower may go on')
      await pool.release(handle)
      assert.deepEqual(ends, [[0, 'invalidated']])
      assert.equal(await pool.use(client => client.ping()), 'PONG')
      await pool.close()
    })

    test('is known by the client behind the handles, idle or lent', async () => {
      const { pool, clients, ends } = counted()
      const handle = await pool.acquire()
      const [client] = clients as [Redis]
      assert.equal(
        (await rejection(pool.destroy(client))).code,
        'POOL_NOT_BORROWED',
        'the loan is not theirs',
      )
      assert.equal(pool.invalidate(client), true)
      await pool.release(handle)
      await pool.release(await pool.acquire())
      const [, second] = clients as [Redis, Redis]
      assert.equal(pool.invalidate(second), true)
      await pool.release(await pool.acquire())
      const [, , third] = clients as [Redis, Redis, Redis]
      await pool.destroy(third)
      assert.deepEqual(ends, [
        [0, 'invalidated'],
        [1, 'invalidated'],
        [2, 'user'],
      ])
      await pool.close()
      assert.equal(third.status, 'end')
    })

    test('is retired after maxUses loans of its handles', async () => {
      const { pool, ends } = counted({ maxUses: 2 })
      const ids = new Set<number>()
      for (let loan = 0; loan < 4; loan += 1)
        ids.add(await pool.use(client => client.client('ID') as Promise<number>))
      assert.equal(ids.size, 2)
      assert.deepEqual(ends, [
        [0, 'uses'],
        [1, 'uses'],
      ])
      await pool.close()
    })
  })
}
