import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { createBudget, createPool, isPoolError } from '../../src/index.ts'
import { AFTERWARDS, OWNERS, playOnCluster } from './cluster-scene.ts'
import { socketsTo } from './simulated-cluster.ts'

/* `min`, `max` and a common limit of the pools of nodes. `foo` is in a slot of node 0, `b` of node 1, `bar` of node 2. */

const KEYS = ['foo', 'b', 'bar']

const who = (pool: RedisClusterPool, key = 'foo'): Promise<string | null> =>
  pool.use({ key }, redis => redis.get(key))

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)

const minsOf = (pool: RedisClusterPool): number[] => pool.stats().nodes.map(({ stats }) => stats.min)

describe('min at each node, and a limit for all of them together', () => {
  for (const [min, total] of [
    [1, 1],
    [1, 2],
    [2, 3],
    [2, 5],
    [3, 7],
    [1, 3],
  ] as const)
    for (const limit of ['maxTotal', 'budget'] as const)
      test(`no acquire is refused because min (${min}) does not fit in ${limit} (${total}) for three nodes: fewer are kept`, async () => {
        const limits = limit === 'maxTotal' ? { maxTotal: total } : { budget: createBudget({ max: total }) }
        await playOnCluster({ max: 3, min, ...limits }, async ({ world, cluster, pool }) => {
          for (let round = 0; round < 3; round += 1) {
            for (const [index, key] of KEYS.entries()) assert.equal(await who(pool, key), `node-${index}`)
            await world.sleep(1000)
            assert.ok(sum(minsOf(pool)) <= total, JSON.stringify(minsOf(pool)))
            assert.ok(pool.size <= total, `${pool.size} connections`)
          }
          if (3 * min <= total) assert.deepEqual(minsOf(pool), [min, min, min])
          // Another node needs a pool, and later the first one again, while its last loan lasts.
          const held = await pool.acquire({ key: 'foo' })
          Object.assign(cluster.nodes[3] ?? {}, { isPrimary: true })
          cluster.say(AFTERWARDS, 2)
          await world.sleep(6000)
          if (total > 1) assert.equal(await who(pool), 'node-3')
          cluster.say(OWNERS, 3)
          await world.sleep(6000)
          await pool.release(held)
          for (const [index, key] of KEYS.entries()) assert.equal(await who(pool, key), `node-${index}`)
          await world.sleep(1000)
          assert.deepEqual(new Set(minsOf(pool)).size, 1, 'all keep the same')
          assert.ok(sum(minsOf(pool)) <= total, JSON.stringify(minsOf(pool)))
          if (3 * min <= total) assert.deepEqual(minsOf(pool), [min, min, min])
        })
      })

  test('without such a limit, a node that is back keeps its min again', async () => {
    await playOnCluster({ max: 3, min: 2 }, async ({ world, cluster, pool }) => {
      const held = await pool.acquire({ key: 'foo' })
      Object.assign(cluster.nodes[3] ?? {}, { isPrimary: true })
      cluster.say(AFTERWARDS, 2)
      await world.sleep(6000)
      assert.equal(await who(pool), 'node-3')
      cluster.say(OWNERS, 3)
      await world.sleep(6000)
      assert.equal(await who(pool), 'node-0')
      await pool.release(held)
      await world.sleep(1000)
      assert.deepEqual(minsOf(pool), [2])
      assert.equal(pool.size, 2)
    })
  })

  test('what another pool of the budget has reserved is not taken', async () => {
    const budget = createBudget({ max: 4 })
    const other = createPool(
      { create: async () => ({}), destroy: async () => {} },
      { budget, min: 2, max: 2 },
    )
    await playOnCluster({ max: 3, min: 2, budget }, async ({ world, pool }) => {
      for (const [index, key] of KEYS.entries()) assert.equal(await who(pool, key), `node-${index}`)
      await world.sleep(1000)
      assert.ok(sum(minsOf(pool)) < 3, JSON.stringify(minsOf(pool)))
      assert.equal(other.size, 2)
      await other.close()
    })
  })

  test('min is kept again when a node has left and there is room', async () => {
    await playOnCluster({ max: 2, min: 1, maxTotal: 3 }, async ({ world, cluster, pool }) => {
      for (const key of KEYS) await who(pool, key)
      Object.assign(cluster.nodes[3] ?? {}, { isPrimary: true })
      cluster.say(AFTERWARDS, 2)
      await world.sleep(6000)
      assert.equal(await who(pool), 'node-3')
      await world.sleep(6000)
      assert.deepEqual(minsOf(pool), [1, 1, 1])
      assert.equal(pool.size, 3)
    })
  })
})

for (const max of [1, 2, 3])
  test(`min and max ${max}: never more sockets to a node, also while its pool is made, and min is kept in the end`, async () => {
    await playOnCluster({ max, min: max }, async ({ world, cluster, pool }) => {
      for (const key of KEYS) await who(pool, key)
      await world.sleep(3000)
      for (const node of cluster.nodes) assert.ok(node.most <= max, `${node.most} sockets`)
      assert.equal(pool.size, 3 * max)
      for (const node of cluster.nodes.slice(0, 3)) assert.equal(socketsTo(node), max)
    })
  })

describe('a pool that was never used', () => {
  for (const min of [0, 2])
    test(`connects to nobody: its numbers, a foreign connection, and close (min ${min})`, async () => {
      await playOnCluster({ max: 2, min }, async ({ world, cluster, pool }) => {
        pool.stats()
        pool.report()
        const foreign = {} as Redis
        assert.equal(pool.isBorrowedResource(foreign), false)
        await assert.rejects(pool.release(foreign), error => isPoolError(error, 'POOL_NOT_BORROWED'))
        await assert.rejects(pool.destroy(foreign), error => isPoolError(error, 'POOL_NOT_BORROWED'))
        pool.identity()
        await world.sleep(1000)
        await pool.close()
        assert.equal(sum(cluster.nodes.map(({ server }) => server.tried)), 0)
      })
    })
})
