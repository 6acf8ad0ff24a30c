/* A pool of a simulated cluster, in virtual time. */

import assert from 'node:assert/strict'
import { createRedisClusterPool, type RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { createSimulation, type Simulation } from '../../src/testing/index.ts'
import {
  type Owners,
  type SimulatedCluster,
  type SimulatedNode,
  simulatedCluster,
  socketsTo,
} from './simulated-cluster.ts'

/** Node 0 has the slot of `foo`, 12182, node 1 that of `b`, and node 2 that of `bar`. */
export const OWNERS: Owners = { 0: 1, 5000: 2, 10000: 0 }
/** Node 3 has taken over from node 0. */
export const AFTERWARDS: Owners = { 0: 1, 5000: 2, 10000: 3 }
export const SLOT = 12_182

export interface ClusterScene {
  readonly world: Simulation
  readonly cluster: SimulatedCluster
  readonly pool: RedisClusterPool
  node(index: number): SimulatedNode
}

export interface ClusterSettings {
  readonly nodes?: number
  /** Default true. */
  readonly replicas?: boolean
  readonly owners?: Owners
  /** The name of a seed, for the pool. */
  readonly rename?: (seed: string) => string
}

/** Plays a scene with a pool that has these options, and sees that nothing is left once the pool is closed. */
export async function playOnCluster(
  options: object,
  play: (scene: ClusterScene) => Promise<void>,
  { nodes = 6, replicas = true, owners = OWNERS, rename = seed => seed }: ClusterSettings = {},
): Promise<void> {
  const world = createSimulation()
  const cluster = simulatedCluster(world, owners, nodes, replicas)
  await world.run(async () => {
    const { seeds, redisOptions } = cluster
    const pool = createRedisClusterPool(seeds.map(rename), { redisOptions, ...options })
    await play({ world, cluster, pool, node: index => cluster.nodes[index] as SimulatedNode })
    await pool.close().catch(() => {})
    for (const { server } of cluster.nodes) server.recover()
    await world.sleep(10_000)
    const none = cluster.nodes.map(() => 0)
    assert.deepEqual(
      cluster.nodes.map(({ server }) => server.peers.size),
      none,
    )
    assert.deepEqual(cluster.nodes.map(socketsTo), none)
  })
}
