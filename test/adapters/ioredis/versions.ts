import { Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis-5'
import { clientMaker } from '../../../src/adapters/ioredis/client/client-options.ts'
import { clientFactory } from '../../../src/adapters/ioredis/factory.ts'
import type { RedisPoolOptions } from '../../../src/adapters/ioredis/index.ts'
import { openRedisPool } from '../../../src/adapters/ioredis/open-redis-pool.ts'
import type { Factory } from '../../../src/api/factory.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { eventually } from '../../support/factories.ts'

/** The adapter with each version of ioredis that it supports. */
export const versions = [
  // The types of the two versions differ in places that do not matter here.
  { name: 'ioredis 5', Client: Redis5 as unknown as typeof Redis6 },
  { name: 'ioredis 6', Client: Redis6 },
] as const

/** What `createRedisPool` makes of options, a URL or a function, for this version. */
export function factoryOf(Client: typeof Redis6, redis: unknown): Factory<Redis6> {
  return clientFactory(typeof redis === 'function' ? (redis as () => Redis6) : clientMaker(Client, redis))
}

/** What `createRedisPool` makes of options, a URL or a function, for this version. */
export function poolOf(Client: typeof Redis6, redis: unknown, options?: RedisPoolOptions): Pool<Redis6> {
  return openRedisPool(side => {
    const { credentials } = side.options
    const make =
      typeof redis === 'function'
        ? (redis as () => Redis6)
        : clientMaker(Client, redis, credentials !== undefined)
    return clientFactory(make, side)
  }, options)
}

/** A signal that nobody aborts. */
export const noSignal = (): AbortSignal => new AbortController().signal

/** What a promise rejects with; throws if it does not. */
export async function rejection(promise: unknown): Promise<Error & { code?: string; issues?: string[] }> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('should have been rejected')
}

/** Timers that hold the process. */
export const heldTimers = (): number =>
  process.getActiveResourcesInfo().filter(name => name === 'Timeout').length

/** Waits until those of earlier tests have run out. */
export const noTimers = (): Promise<void> =>
  eventually(() => heldTimers() === 0, { what: 'no timer holds the process' })
