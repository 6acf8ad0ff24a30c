import { Redis, type RedisOptions } from 'ioredis'
import { forCaller } from '../../api/errors.ts'
import type { Factory } from '../../api/factory.ts'
import type { PoolOptions } from '../../api/options.ts'
import { isRecord } from '../../api/read-input.ts'
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

/** Idle time after which a connection is asked for a PING before it is lent. Milliseconds. */
const VALIDATE_AFTER_IDLE_MILLIS = 500

/**
 * Makes a pool of ioredis clients, each with a connection of its own.
 *
 * What it lends is a handle: a `Redis` in every respect, but for one loan. After that each use of it is refused with
 * `POOL_LEASE_ENDED`, also by way of a pipeline, a transaction or a stream made from it. A connection on which
 * something was left behind (an open MULTI, a subscription, commands without an answer, …) is not lent again.
 *
 * Its clients never reconnect: a connection that dies is replaced. Options that would have it otherwise
 * (`retryStrategy`, `enableOfflineQueue`, `maxRetriesPerRequest`, …) are refused; in a client that a function made,
 * where they cannot be told from ioredis's defaults, they are replaced. The options of a pooled client are frozen.
 *
 * Unless given, `keepAlive` is 10000 ms, `noDelay` is on, `connectTimeout` is 0, as `createTimeoutMillis` covers the
 * handshake, too, `maxLoadingRetryTime` is 200 ms and `sentinelCommandTimeout` 2000 ms.
 *
 * @param redis - options or URL as for `new Redis(…)`, or a function that makes a new client each time it is called
 * @param options - of the pool, and `instances`, `role`, `cleanCommands` and `prepare`; `validateAfterIdleMillis` is 500 unless
 *   given
 * @throws PoolError `POOL_BAD_OPTIONS` that lists every option at fault, and why
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

/** The client that it gets is no handle: an AUTH of its own may fail with the password in its error. */
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

/** What is not an object of options is left for the pool to refuse. */
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
