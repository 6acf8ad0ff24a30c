import { Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis-5'
import { Redis as Iovalkey } from 'iovalkey'
import { clientMaker } from '../../../src/adapters/ioredis/client/client-options.ts'
import { clientFactory } from '../../../src/adapters/ioredis/factory.ts'
import type { RedisPoolOptions } from '../../../src/adapters/ioredis/index.ts'
import { openRedisPool } from '../../../src/adapters/ioredis/open-redis-pool.ts'
import type { Factory } from '../../../src/api/factory.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { eventually } from '../../support/factories.ts'

interface Version {
  readonly name: string
  readonly Client: typeof Redis6
}

// The types of these clients differ in places that do not matter here.
const iovalkey: Version = { name: 'iovalkey', Client: Iovalkey as unknown as typeof Redis6 }

/** The adapter with each version of ioredis that it supports; under `LIFEGUARD_CLIENT=iovalkey` with that client instead. */
export const versions: readonly Version[] =
  process.env.LIFEGUARD_CLIENT === 'iovalkey'
    ? [iovalkey]
    : [
        { name: 'ioredis 5', Client: Redis5 as unknown as typeof Redis6 },
        { name: 'ioredis 6', Client: Redis6 },
      ]

/** Those whose clients the adapter makes itself, from options or a URL. */
export const madeHere: readonly Version[] = versions.filter(version => version !== iovalkey)

/** All versions, and iovalkey in any case. */
export const everyClient: readonly Version[] = [...new Set([...versions, iovalkey])]

/** A user of iovalkey passes a function, as the adapter itself only makes clients of ioredis. */
function functionOf(Client: typeof Redis6, redis: unknown): unknown {
  if (Client !== iovalkey.Client || typeof redis === 'function') return redis
  const Layered = Client as unknown as new (...layers: unknown[]) => Redis6
  return (credentials?: object) => new Layered(redis, { lazyConnect: true, ...credentials })
}

/** What `createRedisPool` makes of options, a URL or a function, for this version. */
export function factoryOf(Client: typeof Redis6, given: unknown): Factory<Redis6> {
  const redis = functionOf(Client, given)
  return clientFactory(typeof redis === 'function' ? (redis as () => Redis6) : clientMaker(Client, redis))
}

/** What `createRedisPool` makes of options, a URL or a function, for this version. */
export function poolOf(Client: typeof Redis6, given: unknown, options?: RedisPoolOptions): Pool<Redis6> {
  const redis = functionOf(Client, given)
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
