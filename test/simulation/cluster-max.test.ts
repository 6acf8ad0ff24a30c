import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../src/index.ts'
import { load, scene, who } from './cluster-max-scenes.ts'
import { AFTERWARDS, SLOT } from './cluster-scene.ts'
import { socketsTo } from './simulated-cluster.ts'

/* The cluster's own connection to a node counts against `max`, and where it does not. */

describe('a node whose connections are all lent and silent', () => {
  test('is asked over one more for as long as that takes, and its loans are left alone', async () => {
    await scene({ max: 2 }, async ({ world, pool, node, most }) => {
      const held = [await pool.acquire({ key: 'foo' }), await pool.acquire({ key: 'foo' })]
      await world.sleep(1000)
      let above = 0
      for (let millis = 0; millis < 20_000; millis += 5) {
        await world.sleep(5)
        if (socketsTo(node(0)) > 2) above += 5
      }
      assert.ok(most() <= 3)
      assert.ok(above < 2000, `above max for ${above} of 20 000 ms`)
      for (const redis of held) {
        assert.equal(await redis.get('foo'), 'node-0')
        await pool.release(redis)
      }
      assert.equal(pool.stats().topology.retired, 0)
    })
  })

  test('is not asked while something is received on any of them', async () => {
    await scene({ max: 2 }, async ({ world, pool, node }) => {
      const held = [await pool.acquire({ key: 'foo' }), await pool.acquire({ key: 'foo' })]
      for (let count = 0; count < 100; count += 1) {
        await held[1]?.get('foo')
        await world.sleep(97)
      }
      assert.equal(node(0).most, 2)
      for (const redis of held) await pool.release(redis)
    })
  })

  for (const max of [1, 2])
    test(`max ${max}: that it has stopped is found out, its loans are cut, and the new primary has no more than max`, async () => {
      await scene({ max, acquireTimeoutMillis: 30_000 }, async scene => {
        const { world, cluster, pool, node } = scene
        const held: Redis[] = []
        for (let count = 0; count < max; count += 1) held.push(await pool.acquire({ key: 'foo' }))
        await world.sleep(1000)
        const ended = Promise.allSettled(
          held.map(redis =>
            redis.blpop('nothing-foo', 0).catch(error => {
              throw error
            }),
          ),
        )
        node(0).answer = ([name]) => (name === 'BLPOP' ? '' : undefined)
        node(0).server.freeze()
        const waiting = who(pool, 'foo', { detached: true })
        await world.sleep(3000)
        Object.assign(node(3), { isPrimary: true, owners: AFTERWARDS, epoch: 2 })
        world.after(500, () => cluster.say(AFTERWARDS, 2))
        const since = world.now
        assert.equal(await waiting, 'node-3')
        assert.ok(world.now - since < 200, `${world.now - since} ms`)
        for (const outcome of await ended) assert.ok(outcome.status === 'rejected', 'the loan was cut')
        for (const redis of held) await pool.release(redis)
        assert.ok(node(0).most <= max + 1, `${node(0).most}`)
        const work = load(scene, 'foo', 2 * max)
        await world.sleep(5000)
        await work.stop()
        assert.ok(node(3).most <= max, `${node(3).most}`)
      })
    })

  test('several commands that follow each other share the one more', async () => {
    await scene({ max: 1, acquireTimeoutMillis: 60_000 }, async ({ world, pool, node }) => {
      assert.equal(await who(pool), 'node-0')
      const { host, port } = node(2).server
      node(0).answer = ([name]) => (name === 'GET' ? `-ASK ${SLOT} ${host}:${port}\r\n` : undefined)
      const other = await pool.acquire({ key: 'bar' })
      const since = world.now
      for (let count = 0; count < 5; count += 1) assert.equal(await who(pool), 'node-2')
      assert.ok(world.now - since < 400, `${world.now - since} ms`)
      assert.equal(node(2).most, 2)
      await pool.release(other)
    })
  })

  test('a command whose loan they wait for goes there all the same: nobody waits for ever', async () => {
    await scene({ max: 1, acquireTimeoutMillis: 60_000 }, async ({ world, pool, node }) => {
      assert.equal(await who(pool), 'node-0')
      const { host, port } = node(2).server
      node(0).answer = ([name]) => (name === 'GET' ? `-ASK ${SLOT} ${host}:${port}\r\n` : undefined)
      const first = await pool.acquire({ key: 'foo' })
      const other = await pool.acquire({ key: 'bar' })
      const since = world.now
      assert.equal(await first.get('foo'), 'node-2')
      assert.ok(world.now - since < 300, `${world.now - since} ms`)
      await world.sleep(200)
      assert.equal(socketsTo(node(2)), 1, 'the one more is closed')
      await pool.release(other)
      await pool.release(first)
    })
  })
})

describe('min is kept although the questions of the pool need a place', () => {
  const sizes = (pool: RedisClusterPool): number[] => pool.stats().nodes.map(({ stats }) => stats.size)

  for (const [options, most] of [
    [{ min: 1, max: 1 }, 1],
    [{ min: 1, max: 1, autostart: true }, 1],
    [{ min: 1, max: 1, maxTotal: 3 }, 1],
    [{ min: 2, max: 2 }, 2],
    [{ min: 2, max: 2, maxTotal: 6 }, 2],
    [{ min: 2, max: 2, maxTotal: 3 }, 1],
  ] as const)
    test(`${JSON.stringify(options)}: ready() waits for ever for the place of the first question`, async () => {
      await scene(
        options,
        async ({ world, pool, node, most: mostSockets }) => {
          const since = world.now
          await pool.ready()
          assert.ok(world.now - since < 1000, `${world.now - since} ms`)
          assert.deepEqual(sizes(pool), [most, most, most])
          // It is asked over the idle ones from now on.
          mostSockets()
          const { refreshes } = pool.stats().topology
          await world.sleep(20_000)
          assert.ok(pool.stats().topology.refreshes > refreshes + 2)
          assert.ok(mostSockets() <= options.max)
          const all = await Promise.all(
            ['foo', 'b', 'bar'].flatMap(key =>
              Array.from({ length: most }, () => pool.acquire({ key }, { detached: true })),
            ),
          )
          const { refreshes: before } = pool.stats().topology
          await world.sleep(20_000)
          assert.ok(pool.stats().topology.refreshes > before + 2, 'also while all are lent')
          for (const redis of all) await pool.release(redis)
          // Their connections end while nobody uses them, and while the place is free for the questions.
          for (let round = 0; round < 30; round += 1) {
            node(round % 3).server.endAll()
            await world.sleep(37 + round * 11)
          }
          await world.sleep(2000)
          await pool.ready()
          assert.deepEqual(sizes(pool), [most, most, most])
          assert.ok(mostSockets() <= options.max + 1)
        },
        3,
      )
    })

  test('a topology that came late is not watched once ready() has filled the pools', async () => {
    await scene({ min: 1, max: 1, acquireTimeoutMillis: 10_000 }, async ({ world, pool, cluster }) => {
      for (const { server } of cluster.nodes) server.freeze()
      world.after(2000, () => {
        for (const { server } of cluster.nodes) server.recover()
      })
      await pool.ready()
      const { refreshes } = pool.stats().topology
      await world.sleep(20_000)
      assert.ok(pool.stats().topology.refreshes > refreshes + 2)
    })
  })

  test('one that is raised by resize() waits for ever for the place of the questions', async () => {
    await scene({ max: 1 }, async ({ world, pool }) => {
      for (const key of ['foo', 'b', 'bar']) await who(pool, key)
      await pool.clear()
      await world.sleep(1000)
      pool.resize({ min: 1 })
      await pool.ready()
      assert.deepEqual(sizes(pool), [1, 1, 1])
    })
  })
})

describe('an acquire does not wait for the questions of the pool', () => {
  test('a question that hangs on the own connection gives its place, and is asked again over another', async () => {
    await scene({ max: 2 }, async ({ world, pool, node }) => {
      const held = await pool.acquire({ key: 'foo' })
      let hung = 0
      node(0).answer = ([name]) => {
        if (name !== 'PING' || hung > 0) return undefined
        hung = world.now
        return ''
      }
      while (hung === 0) await world.sleep(1)
      assert.equal(socketsTo(node(0)), 2)
      assert.equal(await who(pool, 'foo', { timeoutMillis: 200 }), 'node-0')
      await world.sleep(2000)
      assert.equal(node(0).most, 2)
      assert.equal(node(3).asked.get('ROLE') ?? 0, 0, 'nobody takes the node for lost')
      await pool.release(held)
    })
  })

  for (const what of ['PING', 'CLUSTER'])
    test(`a ${what} that is never answered gives its place at once`, async () => {
      await scene({ max: 1 }, async ({ world, pool, node }) => {
        assert.equal(await who(pool), 'node-0')
        node(0).answer = ([name]) => (name === what ? '' : undefined)
        for (let count = 0; count < 20; count += 1) {
          await pool.clear()
          await world.sleep(100 + count * 61)
          const since = world.now
          assert.equal(await who(pool, 'foo', { timeoutMillis: 1000 }), 'node-0')
          assert.ok(world.now - since < 100, `${world.now - since} ms`)
        }
        assert.equal(node(0).most, 1)
      })
    })

  test('a loan that ends in the middle of a question, with its connection: the next one has the place alone', async () => {
    await scene({ max: 1 }, async ({ world, pool, node }) => {
      for (let millis = 500; millis < 1300; millis += 20) {
        const redis = await pool.acquire({ key: 'foo' })
        await world.sleep(millis)
        const before = socketsTo(node(0))
        await pool.destroy(redis)
        await world.sleep(millis % 3)
        const next = pool.acquire({ key: 'foo' })
        for (let turn = 0; turn < 20; turn += 1) {
          await world.sleep(1)
          assert.ok(socketsTo(node(0)) <= before, `after ${millis} ms`)
        }
        await pool.release(await next)
      }
    })
  })

  test('nor is one refused because of them: maxWaitingClients counts what acquires may have', async () => {
    await scene({ max: 2, maxWaitingClients: 1 }, async ({ world, pool, node }) => {
      await who(pool)
      await world.sleep(2000)
      assert.equal(socketsTo(node(0)), 2, 'the questions have one')
      const all = await Promise.allSettled(
        [1, 2, 3, 4].map(() => pool.use({ key: 'foo' }, () => world.sleep(50))),
      )
      const refused = all.flatMap(each => (each.status === 'rejected' ? [each.reason] : []))
      assert.equal(refused.length, 1)
      assert.ok(isPoolError(refused[0], 'POOL_QUEUE_FULL'))
      const { stats } = pool.stats().nodes.find(({ slots }) => slots > 5000) as { stats: { max: number } }
      assert.equal(stats.max, 2)
      assert.equal(node(0).most, 2)
    })
  })
})
