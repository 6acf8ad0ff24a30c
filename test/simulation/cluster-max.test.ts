import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../src/index.ts'
import { AFTERWARDS, type ClusterScene, playOnCluster, SLOT } from './cluster-scene.ts'
import { type SimulatedNode, socketsTo } from './simulated-cluster.ts'

/* The cluster's own connection to a node counts against `max`. `foo` is in a slot of node 0, `b` of node 1, `bar` of node 2. */

interface Scene extends ClusterScene {
  /** The most sockets that any node has had, from here on. */
  most(): number
}

const scene = (options: object, play: (scene: Scene) => Promise<void>, nodes = 6): Promise<void> =>
  playOnCluster(
    options,
    base => {
      const most = (): number => {
        const found = Math.max(...base.cluster.nodes.map(node => node.most))
        for (const node of base.cluster.nodes) node.most = socketsTo(node)
        return found
      }
      return play({ ...base, most })
    },
    { nodes },
  )

const who = (pool: RedisClusterPool, key = 'foo', request: object = {}): Promise<string | null> =>
  pool.use({ key }, redis => redis.get(key), request)

/** So many callers that come again at once. @returns how long the longest waited, and how many were served */
function load({ world, pool }: Scene, key: string, callers: number, request: object = {}) {
  let isOver = false
  const outcome = { longest: 0, served: 0 }
  const caller = async (): Promise<void> => {
    while (!isOver) {
      const since = world.now
      await who(pool, key, request)
      outcome.longest = Math.max(outcome.longest, world.now - since)
      outcome.served += 1
    }
  }
  const work = Promise.all(Array.from({ length: callers }, caller))
  return {
    outcome,
    async stop() {
      isOver = true
      await work
    },
  }
}

const createdAt = (pool: RedisClusterPool, { server }: SimulatedNode): number =>
  pool.stats().nodes.find(({ node }) => node.endsWith(`:${server.port}`))?.stats.totals.created ?? 0

for (const nodes of [3, 6])
  describe(`never more than max sockets to a node (${nodes} nodes)`, () => {
    test('max 1, used seldom: the loan and the questions share the connection, which is made once', async () => {
      await scene(
        { max: 1 },
        async ({ world, pool, node, most }) => {
          for (let count = 0; count < 200; count += 1) {
            assert.equal(await who(pool), 'node-0')
            await world.sleep((count * 37) % 1500)
          }
          assert.equal(most(), 1)
          assert.ok(createdAt(pool, node(0)) <= 2, `${createdAt(pool, node(0))} were made`)
          // Nobody used the node for a while: it was asked all the same.
          assert.ok((node(0).asked.get('PING') ?? 0) > 50, `${node(0).asked.get('PING')}`)
          assert.ok(pool.stats().topology.refreshes > 10)
        },
        nodes,
      )
    })

    for (const max of [1, 3])
      test(`max ${max}, always all lent: none is closed to ask for the topology, and callers hardly wait longer`, async () => {
        await scene(
          { max },
          async scene => {
            const { world, pool, node, most } = scene
            const work = ['foo', 'bar', 'b'].map(key => load(scene, key, 2 * max))
            await world.sleep(1000)
            const made = createdAt(pool, node(0))
            await world.sleep(7000)
            assert.equal(most(), max)
            assert.ok(createdAt(pool, node(0)) - made <= 2, `${createdAt(pool, node(0)) - made} were made`)
            for (const { stop, outcome } of work) {
              await stop()
              assert.ok(outcome.longest < 100, `${outcome.longest} ms`)
            }
          },
          nodes,
        )
      })

    for (const max of [1, 3])
      test(`max ${max}, always all lent, and commands follow a slot to a node that is full: all are carried out there`, async () => {
        await scene(
          { max },
          async scene => {
            const { world, pool, node, most } = scene
            assert.equal(await who(pool), 'node-0')
            const { host, port } = node(2).server
            node(0).answer = ([name]) => (name === 'GET' ? `-ASK ${SLOT} ${host}:${port}\r\n` : undefined)
            const work = [load(scene, 'bar', 2 * max), load(scene, 'foo', 2 * max)]
            await world.sleep(1000)
            assert.equal(await who(pool), 'node-2')
            await world.sleep(3000)
            assert.equal(most(), max)
            for (const { stop, outcome } of work) {
              await stop()
              // Neither side takes all.
              assert.ok(outcome.served > 40, `${outcome.served} served`)
              assert.ok(outcome.longest < 500, `${outcome.longest} ms`)
            }
            const { followed } = pool.stats().topology
            assert.ok(followed > 40, `${followed} followed`)
            // Each turn of the commands costs two connects, and is used for several.
            assert.ok(node(2).server.accepted < followed, `${node(2).server.accepted} connects`)
          },
          nodes,
        )
      })

    test('commands that never pause give way all the same', async () => {
      await scene(
        { max: 1 },
        async scene => {
          const { world, pool, node, most } = scene
          for (const key of ['foo', 'b']) await who(pool, key)
          const { host, port } = node(2).server
          for (const [index, slot] of [
            [0, SLOT],
            [1, 3300],
          ] as const)
            node(index).answer = ([name]) => (name === 'GET' ? `-ASK ${slot} ${host}:${port}\r\n` : undefined)
          node(2).answer = ([name, key], peer) => {
            if (name !== 'GET' || key === 'bar') return undefined
            world.after(30, () => peer.write('$4\r\nslow\r\n'))
            return ''
          }
          const commands = [load(scene, 'foo', 2), load(scene, 'b', 2)]
          const work = load(scene, 'bar', 2)
          await world.sleep(5000)
          assert.equal(most(), 1)
          for (const { stop, outcome } of [work, ...commands]) {
            await stop()
            assert.ok(outcome.served > 20, `${outcome.served} served`)
            assert.ok(outcome.longest < 500, `${outcome.longest} ms`)
          }
        },
        nodes,
      )
    })

    test('its slot moves to and fro under full load: MOVED, and questions about it', async () => {
      await scene(
        { max: 2 },
        async scene => {
          const { world, cluster, node, most } = scene
          const work = load(scene, 'foo', 6, { retryMoved: true })
          const others = ['bar', 'b'].map(key => load(scene, key, 6))
          for (let move = 0; move < 10; move += 1) {
            const [from, to] = move % 2 === 0 ? [node(0), node(1)] : [node(1), node(0)]
            const { host, port } = to.server
            from.answer = ([name, key]) =>
              name === 'GET' && key === 'foo' ? `-MOVED ${SLOT} ${host}:${port}\r\n` : undefined
            to.answer = undefined
            const index = cluster.nodes.indexOf(to)
            world.after(200, () => cluster.say({ 0: 1, 5000: 2, 10000: index }, move + 2))
            await world.sleep(500)
          }
          for (const each of [work, ...others]) await each.stop()
          assert.equal(most(), 2)
          assert.ok(work.outcome.served > 500)
        },
        nodes,
      )
    })
  })

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
