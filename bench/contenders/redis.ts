import genericPool from 'generic-pool'
import { Redis, type RedisOptions } from 'ioredis'
import { createClientPool } from 'redis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { createPool } from '../../src/index.ts'

/** A way to Redis, as the scenes use it. */
export interface RedisContender {
  get(key: string): Promise<unknown>
  blpop(key: string, seconds: number): Promise<unknown>
  /** WATCH, GET, MULTI, SET, EXEC; missing where a connection is shared. */
  transaction?(key: string): Promise<unknown>
  /** A loan of a connection on which nothing is done; missing where nothing is lent. */
  loan?(): Promise<unknown>
  use?(): Promise<unknown>
}

const DEADLINE_MILLIS = 5000
const idle = async (): Promise<void> => {}

interface Lender {
  acquire(): PromiseLike<Redis>
  release(client: Redis): unknown
  use<R>(work: (client: Redis) => Promise<R>): PromiseLike<R>
}

/** What is the same for every pool that lends ioredis clients. */
function lending(pool: Lender): RedisContender {
  return {
    get: async key => pool.use(client => client.get(key)),
    blpop: async (key, seconds) => pool.use(client => client.blpop([key], seconds)),
    transaction: async key =>
      pool.use(async client => {
        await client.watch(key)
        const value = Number(await client.get(key))
        return client
          .multi()
          .set(key, value + 1)
          .exec()
      }),
    loan: async () => pool.release(await pool.acquire()),
    use: async () => pool.use(idle),
  }
}

async function connected(url: string, options: Omit<RedisOptions, 'replyMapping'>): Promise<Redis> {
  const client = new Redis(url, { ...options, lazyConnect: true })
  client.on('error', () => {})
  await client.connect()
  return client
}

const bare = (url: string) => ({
  create: () => connected(url, {}),
  destroy: async (client: Redis) => client.disconnect(),
})

const MAKERS: Readonly<Record<string, (url: string, max: number) => Promise<RedisContender>>> = {
  'one ioredis client': async url => {
    const client = await connected(url, {})
    return {
      get: key => client.get(key),
      blpop: (key, seconds) => client.blpop([key], seconds),
    }
  },
  'generic-pool + ioredis': async (url, max) => lending(genericPool.createPool(bare(url), { max })),
  // A client that dies is replaced instead of being lent while it reconnects, and everything has a deadline.
  'generic-pool + ioredis, well done': async (url, max) =>
    lending(
      genericPool.createPool(
        {
          create: () =>
            connected(url, {
              retryStrategy: () => null,
              enableOfflineQueue: false,
              maxRetriesPerRequest: 0,
              connectTimeout: DEADLINE_MILLIS,
            }),
          destroy: async (client: Redis) => client.disconnect(),
          validate: async client => client.status === 'ready',
        },
        { max, fifo: false, testOnBorrow: true, acquireTimeoutMillis: DEADLINE_MILLIS },
      ),
    ),
  'node-redis pool': async (url, max) => {
    const pool = createClientPool(
      { url },
      { minimum: 1, maximum: max, acquireTimeout: DEADLINE_MILLIS, cleanupDelay: 30_000 },
    )
    pool.on('error', () => {})
    await pool.connect()
    return {
      get: key => pool.get(key),
      blpop: (key, seconds) => pool.execute(client => client.blPop(key, seconds)),
      transaction: key =>
        pool.execute(async client => {
          await client.watch(key)
          const value = Number(await client.get(key))
          return client
            .multi()
            .set(key, value + 1)
            .exec()
        }),
      use: () => pool.execute(idle),
    }
  },
  'lifeguard-pool core + ioredis': async (url, max) => lending(createPool(bare(url), { max, fifo: false })),
  'lifeguard-pool': async (url, max) => lending(createRedisPool(url, { max, fifo: false })),
}

const CORE = 'lifeguard-pool core + ioredis'

/** Everything that answers a command. */
export const REDIS = Object.keys(MAKERS).filter(name => name !== CORE)
/** Those that lend an ioredis client; the core lends the bare one, with no handle, no taint watch, no half-close check. */
export const IOREDIS_LENDERS = Object.keys(MAKERS).filter(name => /generic-pool|lifeguard/.test(name))

export function redisContender(name: string, url: string, max = 10): Promise<RedisContender> {
  const make = MAKERS[name]
  if (make === undefined) throw new Error(`no such contender: ${name}`)
  return make(url, max)
}
