import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readCluster } from '../../src/adapters/ioredis/cluster/cluster-options.ts'
import type { NodeLink } from '../../src/adapters/ioredis/cluster/node-link.ts'
import { openerOf } from '../../src/adapters/ioredis/cluster/open-link.ts'
import { Topology } from '../../src/adapters/ioredis/cluster/topology.ts'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { createSimulation } from '../../src/testing/index.ts'
import { playOnCluster } from './cluster-scene.ts'
import { type Owners, simulatedCluster, socketsTo } from './simulated-cluster.ts'

/* Nodes come and go, as where each new one has a new address: what is kept of those that have gone, and the numbers. */

const ROUNDS = 60
/** Nodes 0 and 1 stay; the third one is another one each time. */
const owners = (third: number): Owners => ({ 0: 1, 5000: third, 10000: 0 })

function checkNumbers(pool: RedisClusterPool): void {
  const { nodes, topology, ...sums } = pool.stats()
  const all: Record<'size' | 'idle' | 'borrowed' | 'pending', number> = sums
  for (const name of ['size', 'idle', 'borrowed', 'pending'] as const) {
    assert.ok(all[name] >= 0, `${name} is ${all[name]}`)
    if (name === 'size' || name === 'pending')
      assert.equal(
        all[name],
        nodes.reduce((sum, { stats }) => sum + stats[name], 0),
      )
  }
  assert.equal(topology.covered, 16_384)
  const names = nodes.map(({ node }) => node)
  assert.equal(new Set(names).size, names.length, `a node twice: ${names}`)
  assert.ok(nodes.length <= 4, `${nodes.length} nodes`)
  const slots = nodes.reduce((sum, each) => sum + each.slots, 0)
  assert.ok(slots <= 16_384, `${slots} slots`)
}

describe('nodes that come and go', () => {
  for (const isHeld of [false, true])
    test(`the numbers stay true, and no pool or socket of a node that has gone is left (a loan of it lasts: ${isHeld})`, async () => {
      const settings = { nodes: ROUNDS + 3, replicas: false }
      await playOnCluster(
        { max: 2, min: 1 },
        async ({ world, cluster, pool }) => {
          for (const node of cluster.nodes) node.isPrimary = true
          await pool.ready()
          for (let third = 2; third < ROUNDS + 2; third += 1) {
            cluster.say(owners(third), third)
            await world.sleep(6000)
            checkNumbers(pool)
            for (const key of ['foo', 'b', 'bar']) await pool.use({ key }, redis => redis.get(key))
            checkNumbers(pool)
            const held = isHeld ? await pool.acquire({ key: 'bar' }) : undefined
            if (held !== undefined) {
              cluster.say(owners(third + 1), third + 1)
              await world.sleep(6000)
              checkNumbers(pool)
              await pool.release(held)
            }
          }
          await world.sleep(6000)
          assert.equal(pool.reportJson().pools.length, isHeld ? 2 : 3)
          const open = cluster.nodes.reduce((sum, node) => sum + socketsTo(node), 0)
          assert.ok(open <= 6, `${open} sockets`)
        },
        settings,
      )
    })
})

describe('the own connections to nodes', () => {
  test('that have left the cluster are forgotten; those to others, and one in use, are not', async () => {
    const world = createSimulation()
    const cluster = simulatedCluster(world, owners(2), 12, false)
    await world.run(async () => {
      const { redisOptions, seeds } = cluster
      const config = readCluster(seeds.slice(0, 2), { redisOptions })
      const topology = new Topology({
        ...config,
        open: openerOf(config),
        placeAt: () => undefined,
        hasHeard: () => false,
        nodesInUse: () => [],
        onChange: () => {},
        onTick: () => {},
      })
      const linkTo = (index: number): NodeLink => {
        const { host, port } = (cluster.nodes[index] as (typeof cluster.nodes)[number]).server
        return topology.linkTo({ host, port })
      }
      const known: NodeLink[] = []
      for (let third = 2; third < 12; third += 1) {
        cluster.say(owners(third), third)
        await topology.anew()
        known.push(linkTo(third))
        await linkTo(third).ping(() => {})
      }
      // A question to one that has left is not answered.
      const mute = cluster.nodes[10] as (typeof cluster.nodes)[number]
      mute.answer = () => ''
      const used = linkTo(10)
      const inUse = used.ping(() => {})
      const isSame = (): boolean[] => known.map((link, at) => link === linkTo(at + 2))
      const others = [linkTo(0), linkTo(1)]
      const settled = assert.rejects(inUse, /no answer/)
      await topology.anew()
      assert.equal(linkTo(10), used)
      await settled
      await topology.anew()
      await topology.anew()
      assert.notEqual(linkTo(10), used)
      assert.deepEqual(isSame(), [...Array.from({ length: 9 }, () => false), true])
      assert.ok(linkTo(0) === others[0] && linkTo(1) === others[1])
      topology.close()
      await world.sleep(100)
      assert.deepEqual(
        cluster.nodes.map(socketsTo),
        cluster.nodes.map(() => 0),
      )
    })
  })
})
