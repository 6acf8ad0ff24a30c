import { Redis, type RedisOptions } from 'ioredis'
import { createStrictPool } from '../create.ts'
import type { Factory, PoolOptions } from '../types.ts'
import type { RedisClient } from './ioredis/client.ts'
import { clientFactory } from './ioredis/factory.ts'
import { clientMaker } from './ioredis/options.ts'

/** Idle time after which a connection is asked for a PING before it is lent. Milliseconds. */
const VALIDATE_AFTER_IDLE_MILLIS = 500

/**
 * Makes a pool of ioredis clients, each with a connection of its own.
 *
 * Its clients never reconnect: a connection that dies is replaced. Options that would have it otherwise
 * (`retryStrategy`, `enableOfflineQueue`, `maxRetriesPerRequest`, …) are refused. Unless given, `keepAlive` is 10000,
 * `noDelay` is on, `connectTimeout` is 0, as `createTimeoutMillis` covers connecting and the handshake, and with
 * sentinels `sentinelCommandTimeout` is 2000.
 *
 * @param redis - options or URL as for `new Redis(…)`, or a function that makes a new client each time it is called
 * @param options - `validateAfterIdleMillis` is 500 unless given
 * @throws PoolError `POOL_BAD_OPTIONS` that lists every option at fault, and why
 */
export function createRedisPool<R extends RedisClient = Redis>(
  redis: RedisOptions | string | (() => R),
  options?: PoolOptions,
): ReturnType<typeof createStrictPool<R>> {
  const factory = redisFactory(redis)
  const given = typeof options === 'object' && options !== null && !Array.isArray(options)
  if (!given && options !== undefined && options !== null) return createStrictPool(factory, options)
  const validateAfterIdleMillis = options?.validateAfterIdleMillis ?? VALIDATE_AFTER_IDLE_MILLIS
  return createStrictPool(factory, { ...options, validateAfterIdleMillis })
}

/** @internal */
export function redisFactory<R extends RedisClient = Redis>(
  redis: RedisOptions | string | (() => R),
): Factory<R> {
  return clientFactory(
    typeof redis === 'function' ? redis : (clientMaker(Redis, redis) as unknown as () => R),
  )
}
