import { type EventEmitter, once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import genericPool from 'generic-pool'
import { Redis, type RedisOptions } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { type Loans, nameCause, reportOf, serve } from './support/serving.ts'

/*
 * The service of I4. Argument: the side. Health checks come every few milliseconds and need a connection.
 */

const [, , side] = process.argv
const MAX = 5
/** For making a connection, and for waiting for one. Milliseconds. */
const DEADLINE = 100
const CHECK_EVERY_MILLIS = 4

/** Where to connect, and as whom; and whether the service wants to look at the schema before it works. */
export type Target = Pick<RedisOptions, 'host' | 'port' | 'username' | 'password' | 'db'> & {
  looks?: boolean
}

/** The init hook: there is no schema, so it throws. */
async function lookAtSchema(client: Redis): Promise<void> {
  const version = Number(await client.get('schema:version'))
  if (version < 1) throw new Error('init hook: the schema is missing')
}

/** As people write it today: every step is awaited, every failure is passed on. */
function pool({ looks, ...options }: Target): Loans<Redis> {
  const connect = async (): Promise<Redis> => {
    const client = new Redis(options)
    await once(client as EventEmitter, 'ready')
    if (looks) await lookAtSchema(client)
    return client
  }
  const deadline = () =>
    delay(DEADLINE, undefined, { ref: false }).then(() => Promise.reject(new Error('connecting timed out')))
  return genericPool.createPool<Redis>(
    {
      create: () => Promise.race([connect(), deadline()]),
      destroy: async client => client.disconnect(),
    },
    { max: MAX, acquireTimeoutMillis: DEADLINE },
  )
}

function guardedPool({ looks, ...options }: Target): Loans<Redis> {
  const guarded = createRedisPool(options, {
    name: 'health',
    max: MAX,
    acquireTimeoutMillis: DEADLINE,
    createTimeoutMillis: DEADLINE,
    ...(looks ? { prepare: lookAtSchema } : {}),
  })
  guarded.on('factoryCreateError', (error: unknown) =>
    nameCause(`port ${options.port}, factoryCreateError: ${error instanceof Error ? error.message : error}`),
  )
  return guarded
}

/** The service itself: the same on either pool. */
function service(open: (options: Target) => Loans<Redis>) {
  let redis: Loans<Redis> | undefined
  let timer: NodeJS.Timeout | undefined
  let checks = 0
  let failed = 0
  return {
    start(options: Target): void {
      const health = open(options)
      redis = health
      checks = 0
      failed = 0
      timer = setInterval(() => {
        checks += 1
        health
          .use(client => client.ping())
          .catch(() => {
            failed += 1
          })
      }, CHECK_EVERY_MILLIS)
    },
    /** No more health checks. @returns what the pool believes to own */
    stop() {
      clearInterval(timer)
      return { checks, failed, owned: redis?.size ?? 0, report: redis ? reportOf(redis) : '' }
    },
  }
}

export type Checked = ReturnType<ReturnType<typeof service>['stop']>

// ioredis prints the errors of clients that nobody listens to any more, thousands of them.
console.error = () => {}
serve(service(side === 'with' ? guardedPool : pool))
