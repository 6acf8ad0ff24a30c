import genericPool from 'generic-pool'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError, type PoolError } from '../../src/index.ts'
import { type Loans, nameCause, serve } from './support/serving.ts'

/*
 * The service of I3. Arguments: the side, the URL of Redis, the size of the pool.
 */

const [, , side, redisUrl = '', size = '300'] = process.argv
const MAX = Number(size)
const KEY = `lifeguard-incident:I3:${process.pid}`

/** As redigo's `MaxActive: 300, Wait: true`: who finds no connection waits for one, and without a deadline. */
function pool(): Loans<Redis> {
  return genericPool.createPool<Redis>(
    {
      async create() {
        const client = new Redis(redisUrl, { lazyConnect: true })
        client.on('error', () => {})
        await client.connect()
        return client
      },
      destroy: async client => client.disconnect(),
    },
    { max: MAX },
  )
}

function guardedPool(): Loans<Redis> {
  // Connecting to so many at once takes its time on a small machine, and is not what is to be seen here.
  return createRedisPool(redisUrl, { max: MAX, name: 'bars', acquireTimeoutMillis: 15_000 })
}

export interface Progress {
  /** Requests inside getBar with their first connection. */
  readonly inside: number
  readonly served: number
  readonly failed: readonly string[]
  readonly borrowed: number
  readonly pending: number
}

/** The message draws the circle; the stacks say in which lines of code it is closed. */
function circleOf({ message, heldStacks = [], waitStack = '' }: PoolError): string {
  const firstLine = (stack: string) =>
    stack
      .split('\n')
      .find(line => line.includes('I3-service'))
      ?.trim() ?? stack
  return [
    message,
    ...heldStacks.map(stack => `held ${firstLine(stack)}`),
    `asked ${firstLine(waitStack)}`,
  ].join('\n')
}

/** The service itself: the same on either pool. */
function service(redis: Loans<Redis>) {
  let inside = 0
  let served = 0
  let later = 0
  const failed: string[] = []
  let letGo = (): void => {}
  const slowQuery = new Promise<void>(resolve => {
    letGo = resolve
  })

  /** Takes a connection, and calls what takes another. */
  function getBar(): Promise<string> {
    return redis.use(async client => {
      await client.incr(KEY)
      inside += 1
      await slowQuery
      return `bar of ${await getFoo()}`
    })
  }

  function getFoo(): Promise<string | null> {
    return redis.use(client => client.get(KEY))
  }

  return {
    /** So many requests at once. */
    spike(count: number): void {
      for (let request = 0; request < count; request++) {
        getBar().then(
          () => {
            served += 1
          },
          (error: Error) => {
            failed.push(error.message)
            if (isPoolError(error, 'POOL_DEADLOCK')) nameCause(circleOf(error))
          },
        )
      }
    },
    /** The slow query that made them all meet inside getBar answers. */
    letGo: () => letGo(),
    /** Requests that need one connection only, after the knot. */
    singles(count: number): void {
      for (let request = 0; request < count; request++) {
        getFoo().then(
          () => {
            later += 1
          },
          () => {},
        )
      }
    },
    singlesServed: () => later,
    progress: (): Progress => ({
      inside,
      served,
      failed,
      borrowed: redis.borrowed,
      pending: redis.pending,
    }),
    /** Leaves nothing on a server that may be the user's. */
    tidy: () => redis.use(client => client.del(KEY)),
  }
}

serve(service(side === 'with' ? guardedPool() : pool()))
