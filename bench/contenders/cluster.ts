import genericPool from 'generic-pool'
import { Cluster } from 'ioredis'
import { createCluster } from 'redis'
import { createRedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { watchedIncrement } from '../../test/support/watched-increment.ts'

/** A way to a Redis Cluster, as the scenes use it. */
export interface ClusterContender {
  /** WATCH, GET, MULTI, SET, EXEC on one key; resolves with whether it was executed. */
  increment(key: string): Promise<boolean>
  close(): Promise<unknown>
}

const DEADLINE_MILLIS = 5000
const MAX = 10

/** What WATCH needs is a connection of one's own; ioredis' Cluster has one for each node, and so whole clusters are pooled. */
async function pooledClusters(ports: readonly number[]): Promise<ClusterContender> {
  const pool = genericPool.createPool<Cluster>(
    {
      async create() {
        const cluster = new Cluster(
          ports.map(port => ({ host: '127.0.0.1', port })),
          { lazyConnect: true, redisOptions: { commandTimeout: DEADLINE_MILLIS } },
        )
        cluster.on('error', () => {})
        await cluster.connect()
        return cluster
      },
      destroy: async cluster => cluster.disconnect(),
      validate: async cluster => cluster.status === 'ready',
    },
    { max: MAX, testOnBorrow: true, acquireTimeoutMillis: DEADLINE_MILLIS },
  )
  return {
    increment: async key => await pool.use(cluster => watchedIncrement(cluster, key)),
    close: async () => {
      await pool.drain()
      await pool.clear()
    },
  }
}

/** The client of the node of a key is shared by all callers, and so is its WATCH: this one takes turns. */
async function nodeRedis(ports: readonly number[]): Promise<ClusterContender> {
  const cluster = createCluster({
    rootNodes: ports.map(port => ({ url: `redis://127.0.0.1:${port}` })),
    useReplicas: false,
  })
  cluster.on('error', () => {})
  await cluster.connect()
  return {
    increment: async key => {
      await cluster.incr(key)
      return true
    },
    close: async () => cluster.destroy(),
  }
}

async function ours(ports: readonly number[]): Promise<ClusterContender> {
  const pool = createRedisClusterPool([...ports], { max: MAX, fifo: false })
  return {
    increment: key => pool.use({ key }, redis => watchedIncrement(redis, key), { retryMoved: true }),
    close: () => pool.close({ timeoutMillis: 2000 }).catch(() => {}),
  }
}

const MAKERS: Readonly<Record<string, (ports: readonly number[]) => Promise<ClusterContender>>> = {
  'generic-pool + ioredis Cluster': pooledClusters,
  'node-redis cluster, plain INCR': nodeRedis,
  'lifeguard-pool': ours,
}

export const CLUSTER_CONTENDERS = Object.keys(MAKERS)

export function clusterContender(name: string, ports: readonly number[]): Promise<ClusterContender> {
  const make = MAKERS[name]
  if (make === undefined) throw new Error(`no such contender: ${name}`)
  return make(ports)
}
