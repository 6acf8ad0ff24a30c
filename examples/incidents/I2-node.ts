import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import genericPool from 'generic-pool'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { type Loans, nameCause, reportOf, serve } from './support/serving.ts'

/*
 * One node of the service of I2. Arguments: the side, the URL of Redis, the node's name.
 */

const [, , side, redisUrl = '', node = ''] = process.argv
/** The same limits on either side. Milliseconds. */
const LIMITS = { max: 32, acquireTimeoutMillis: 800, testOnBorrow: true }
const PING_MILLIS = 500

let thrownAway = 0
const newClient = (): Redis => {
  const client = new Redis(redisUrl, { lazyConnect: true })
  client.on('error', () => {})
  return client
}

/** As people write it today: a PING with a deadline before every loan. */
function pool(): Loans<Redis> {
  return genericPool.createPool<Redis>(
    {
      async create() {
        const client = newClient()
        await client.connect()
        return client
      },
      async destroy(client) {
        thrownAway += 1
        client.disconnect()
      },
      validate: client =>
        Promise.race([client.ping(), delay(PING_MILLIS, 'too late', { ref: false })]).then(
          answer => answer === 'PONG',
          () => false,
        ),
    },
    LIMITS,
  )
}

function guardedPool(): Loans<Redis> {
  const guarded = createRedisPool(newClient, { ...LIMITS, name: node, validateTimeoutMillis: PING_MILLIS })
  guarded.on('destroy', () => {
    thrownAway += 1
  })
  guarded.on('stall', ({ pool: name, millis }) => {
    nameCause(`pool '${name}', stall: the event loop stood still for ${Math.round(millis)} ms`)
  })
  return guarded
}

let thirdPartyMillis = 0

/** A client as it should not be: the thread sleeps until the third party answers. */
function chargeSync(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, thirdPartyMillis)
}

/** The service itself: the same on either pool. */
function handlers(redis: Loans<Redis>, key: string): Readonly<Record<string, () => Promise<string | null>>> {
  return {
    '/read': () => redis.use(client => client.get(key)),
    async '/pay'() {
      chargeSync()
      return redis.use(async client => String(await client.incr(key)))
    },
  }
}

const redis = side === 'with' ? guardedPool() : pool()
const routes = handlers(redis, 'lifeguard-incident:I2')
const errors = new Map<string, number>()
const server = createServer(async (request, response) => {
  try {
    const body = await routes[request.url ?? '']?.()
    response.end(String(body))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    errors.set(message, (errors.get(message) ?? 0) + 1)
    response.writeHead(500).end(message)
  }
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

export interface NodeState {
  readonly thrownAway: number
  readonly errors: readonly (readonly [message: string, count: number])[]
}

serve({
  port: () => (server.address() as AddressInfo).port,
  thirdParty(millis: number) {
    thirdPartyMillis = millis
  },
  state: (): NodeState => ({ thrownAway, errors: [...errors] }),
  report: () => reportOf(redis),
})
