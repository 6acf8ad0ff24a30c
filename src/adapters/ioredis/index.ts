import type { Redis, RedisOptions } from 'ioredis'
import { forCaller } from '../../api/errors.ts'
import type { Pool } from '../../pool/pool.ts'
import type { RedisClient } from './client/client-types.ts'
import type { CredentialsFunction, RedisCredentials } from './client/credentials.ts'
import type { ClusterUseOptions } from './cluster/cluster-lending.ts'
import { type RedisClusterOptions, readCluster } from './cluster/cluster-options.ts'
import { RedisClusterPool } from './cluster/cluster-pool.ts'
import type { RedisClusterReport } from './cluster/cluster-report.ts'
import type { ClusterWhere } from './cluster/loan-target.ts'
import type { RedisClusterNode, RedisClusterStats } from './cluster/nodes.ts'
import type { ClusterSeed } from './cluster/seeds.ts'
import { openRedisPool, redisFactory } from './open-redis-pool.ts'
import type { RedisPoolOptions } from './redis-pool-options.ts'

export type {
  ClusterSeed,
  ClusterUseOptions,
  ClusterWhere,
  CredentialsFunction,
  RedisClusterNode,
  RedisClusterOptions,
  RedisClusterPool,
  RedisClusterReport,
  RedisClusterStats,
  RedisCredentials,
  RedisPoolOptions,
}

/**
 * Creates a pool of ioredis clients, each with its own connection.
 *
 * The pool lends handles. A handle behaves like a `Redis` client during one loan. After that, each use is refused with
 * `POOL_LEASE_ENDED`, also through a pipeline, a transaction or a stream created from it. A connection on which
 * something was left behind (an open MULTI, a subscription, commands without an answer, …) is not lent again.
 *
 * Pooled clients never reconnect: the pool replaces a dead connection. Options that contradict this (`retryStrategy`,
 * `enableOfflineQueue`, `maxRetriesPerRequest`, …) are refused. In a client that a function created they cannot be told
 * from ioredis's defaults, so there they are replaced. The options of a pooled client are frozen.
 *
 * Defaults: `keepAlive` 10000 ms, `noDelay` on, `connectTimeout` 0, because `createTimeoutMillis` covers the handshake
 * too, `maxLoadingRetryTime` 200 ms and `sentinelCommandTimeout` 2000 ms.
 *
 * @param redis - options or URL as for `new Redis(…)`, or a function that returns a new client each time it is called
 * @param options - those of any pool, and `instances`, `role`, `cleanCommands` and `prepare`; `validateAfterIdleMillis`
 * is 500 by default, and `leakThresholdMillis` 30000
 * @throws PoolError `POOL_BAD_OPTIONS` that lists every wrong option and why
 */
export function createRedisPool<R extends RedisClient = Redis>(
  redis: RedisOptions | string | ((credentials: RedisCredentials) => R),
  options?: RedisPoolOptions,
): Pool<R> {
  return forCaller(createRedisPool, () => openRedisPool(context => redisFactory(redis, context), options))
}

/**
 * Creates a pool of dedicated connections to the nodes of a Redis Cluster.
 *
 * A loan leads to the node of a key, and lends an ioredis client of its own, as `createRedisPool` does: with WATCH, MULTI
 * and blocking commands. It refuses keys of other slots before they are sent. Each node has a pool, created when it is
 * first needed, with the options given here: `max` is the limit for each node, `maxTotal` for all.
 *
 * @param nodes - one or more nodes of the cluster; the others are found through them
 * @param options - those of `createRedisPool`, and `redisOptions`, `natMap` and `maxTotal`
 * @throws PoolError `POOL_BAD_OPTIONS` that lists every wrong option and why
 */
export function createRedisClusterPool(
  nodes: ClusterSeed | readonly ClusterSeed[],
  options?: RedisClusterOptions,
): RedisClusterPool {
  return forCaller(createRedisClusterPool, () => new RedisClusterPool(readCluster(nodes, options)))
}
