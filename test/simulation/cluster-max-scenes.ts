import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { type ClusterScene, playOnCluster, SLOT } from './cluster-scene.ts'
import { type SimulatedNode, socketsTo } from './simulated-cluster.ts'

/* The cluster's own connection to a node counts against `max`. `foo` is in a slot of node 0, `b` of node 1, `bar` of node 2. */

export interface Scene extends ClusterScene {
  /** The most sockets that any node has had, from here on. */
  most(): number
}

export const scene = (options: object, play: (scene: Scene) => Promise<void>, nodes = 6): Promise<void> =>
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

export const who = (pool: RedisClusterPool, key = 'foo', request: object = {}): Promise<string | null> =>
  pool.use({ key }, redis => redis.get(key), request)

/** Fewer commands in the same time, where their number does not matter. */
function slowDown({ cluster }: Scene): void {
  for (const { server } of cluster.nodes) server.latencyMillis = 4
}

/** So many callers that come again at once. @returns how long the longest waited, and how many were served */
export function load({ world, pool }: Scene, key: string, callers: number, request: object = {}) {
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

/** The scenes of a cluster of so many nodes. Each size has a file of its own, as one takes a busy machine over a minute. */
export function neverAboveMax(nodes: number): void {
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
            slowDown(scene)
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
          slowDown(scene)
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
}
