import { Redis, type RedisOptions } from 'ioredis'
import { forCaller } from '../../api/errors.ts'
import type { Factory } from '../../api/factory.ts'
import type { PoolOptions } from '../../api/options/options.ts'
import { isRecord } from '../../api/options/read-input.ts'
import type { Pool } from '../../pool/pool.ts'
import { openAdapter } from '../open-adapter.ts'
import { clientMaker } from './client/client-options.ts'
import type { RedisClient } from './client/client-types.ts'
import type { CredentialsFunction, RedisCredentials } from './client/credentials.ts'
import { hideSecretsWithin } from './client/secrets.ts'
import { clientFactory, type Make } from './factory.ts'
import { RedisPoolContext } from './redis-pool-context.ts'
import { type RedisPoolOptions, splitOptions } from './redis-pool-options.ts'

export type { CredentialsFunction, RedisCredentials, RedisPoolOptions }

/** A connection that has been idle for longer is checked with a PING before it is lent. Milliseconds. */
const VALIDATE_AFTER_IDLE_MILLIS = 500

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

/** @internal */
export function openRedisPool<R extends RedisClient>(
  makeFactory: (context: RedisPoolContext) => Factory<R>,
  options: RedisPoolOptions | undefined,
): Pool<R> {
  const split = splitOptions(options)
  let context: RedisPoolContext | undefined
  const pool = openAdapter(
    () => {
      context = new RedisPoolContext(split.adapter)
      const factory = makeFactory(context)
      if (split.prepare !== undefined)
        factory.prepare = withoutSecrets(split.prepare as unknown as Prepare<R>)
      return factory
    },
    withDefaults(split.pool),
    split.issues,
  )
  context?.attach(pool as unknown as Pool<never>)
  return pool
}

type Prepare<R> = NonNullable<Factory<R>['prepare']>

/**
 * `prepare` is given the client itself, not a handle. If it sends AUTH and that fails, the error contains the password.
 */
function withoutSecrets<R>(prepare: Prepare<R>): Prepare<R> {
  return async (client, signal) => {
    try {
      await prepare(client, signal)
    } catch (error) {
      hideSecretsWithin(error)
      throw error
    }
  }
}

/** A value that is not an object is passed on, so that the pool refuses it. */
function withDefaults(options: PoolOptions | undefined): PoolOptions | undefined {
  if (options === undefined || options === null)
    return { validateAfterIdleMillis: VALIDATE_AFTER_IDLE_MILLIS }
  if (!isRecord(options)) return options
  const { validateAfterIdleMillis = VALIDATE_AFTER_IDLE_MILLIS } = options as PoolOptions
  return { ...options, validateAfterIdleMillis }
}

/** @internal */
export function redisFactory<R extends RedisClient = Redis>(
  redis: RedisOptions | string | ((credentials: RedisCredentials) => R),
  context?: RedisPoolContext,
): Factory<R> {
  return clientFactory(
    typeof redis === 'function'
      ? redis
      : (clientMaker(Redis, redis, context?.options.credentials !== undefined) as unknown as Make<R>),
    context,
  )
}
