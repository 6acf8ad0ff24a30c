import { Redis, type RedisOptions } from 'ioredis'
import type { Factory } from '../../api/factory.ts'
import type { PoolOptions } from '../../api/options/options.ts'
import { isRecord } from '../../api/options/read-input.ts'
import type { Pool } from '../../pool/pool.ts'
import { openAdapter } from '../open-adapter.ts'
import { clientMaker } from './client/client-options.ts'
import type { RedisClient } from './client/client-types.ts'
import type { RedisCredentials } from './client/credentials.ts'
import { hideSecretsWithin } from './client/secrets.ts'
import { clientFactory, type Make } from './factory.ts'
import { RedisPoolContext } from './redis-pool-context.ts'
import { type NodePoolOptions, splitOptions } from './redis-pool-options.ts'

/** A connection that has been idle for longer is checked with a PING before it is lent. Milliseconds. */
const VALIDATE_AFTER_IDLE_MILLIS = 500

/** Opens a pool of Redis clients, all issues with its options at once. */
export function openRedisPool<R extends RedisClient>(
  makeFactory: (context: RedisPoolContext) => Factory<R>,
  options: NodePoolOptions | undefined,
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

/** The factory of a pool of Redis clients, from the first argument of `createRedisPool`. */
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
