import { once } from 'node:events'
import { readSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import genericPool from 'generic-pool'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import type { PoolEvents } from '../../src/index.ts'
import { type Loans, nameCause, reportOf, serve } from './support/serving.ts'

/*
 * The service of I0. Arguments: the side, the URL of a Redis (or `-`), the port of another server.
 */

const [, , side, redisUrl = '-', port = '0'] = process.argv
const MAX = 64

interface Pools {
  readonly redis: Loans<Redis> | undefined
  readonly peers: Loans<Socket>
}

/** As people write it today. They do test on borrow, by what the client knows of its own state. */
function pools(): Pools {
  const redis = genericPool.createPool<Redis>(
    {
      async create() {
        // No reconnect: the pool replaces what has died.
        const client = new Redis(redisUrl, { lazyConnect: true, retryStrategy: () => null })
        client.on('error', () => {})
        await client.connect()
        return client
      },
      destroy: async client => client.disconnect(),
      validate: async client => client.status === 'ready',
    },
    { max: MAX, testOnBorrow: true },
  )
  const peers = genericPool.createPool<Socket>(
    {
      async create() {
        const socket = connect(Number(port), '127.0.0.1')
        socket.on('error', () => {})
        await once(socket, 'connect')
        return socket
      },
      destroy: async socket => {
        socket.end()
      },
      validate: async socket => socket.readyState === 'open' && !socket.destroyed,
    },
    { max: MAX, testOnBorrow: true },
  )
  return { redis: redisUrl === '-' ? undefined : redis, peers }
}

/** Why a connection was destroyed is the cause of the outage, if the server closed it. */
function onDestroy({ pool, reason, detail = '' }: PoolEvents<unknown>['destroy'][0]): void {
  if (reason === 'half-closed' || reason === 'dirty')
    nameCause(`pool '${pool}', destroy, ${reason}: ${detail}`)
}

function guardedPools(): Pools {
  const redis = redisUrl === '-' ? undefined : createRedisPool(redisUrl, { max: MAX, name: 'redis' })
  const peers = createSocketPool(
    { host: '127.0.0.1', port: Number(port) },
    { max: MAX, name: 'peers', halfCloseGraceMillis: 500 },
  )
  redis?.on('server-timeout', ({ pool, limitMillis, source }) => {
    nameCause(
      `pool '${pool}', server-timeout: the server closes after ${limitMillis} ms of idling (${source})`,
    )
  })
  for (const pool of [redis, peers]) pool?.on('destroy', onDestroy)
  return { redis, peers }
}

/** What came of several requests at once. */
export interface Requests {
  readonly served: number
  readonly failed: readonly string[]
}

async function outcomes(all: readonly Promise<unknown>[]): Promise<Requests> {
  const settled = await Promise.allSettled(all)
  const failed = settled.flatMap(one => (one.status === 'rejected' ? [String(one.reason?.message)] : []))
  return { served: settled.length - failed.length, failed }
}

/** A function that resolves for everybody once so many have called it. */
function meeting(people: number): () => Promise<void> {
  let resolve = (): void => {}
  const promise = new Promise<void>(done => {
    resolve = done
  })
  let here = 0
  return () => {
    here += 1
    if (here === people) resolve()
    return promise
  }
}

/** Asks in the pull style of a length-prefixed protocol: what is not asked for is not read. */
async function ask(socket: Socket): Promise<void> {
  socket.write('PING\n')
  const signal = AbortSignal.timeout(1000)
  for (;;) {
    const chunk: unknown = socket.read()
    if (chunk !== null) {
      const answer = String(chunk).trim()
      if (answer !== 'PONG') throw new Error(`the answer to PING was '${answer}'`)
      return
    }
    await once(socket, 'readable', { signal })
  }
}

/** The service itself: the same on either pool. */
function service({ redis, peers }: Pools) {
  let uploads = { running: 0, failed: [] as string[] }
  const times = <R>(count: number, act: () => Promise<R>) => Array.from({ length: count }, act)
  return {
    /** So many idle connections; then a call that blocks the loop until the operator lets it go; then requests. */
    async blockedRequests(count: number): Promise<Requests> {
      if (redis === undefined) throw new Error('no Redis')
      const all = meeting(count)
      await Promise.all(times(count, () => redis.use(async client => [await client.ping(), await all()])))
      readSync(0, Buffer.alloc(1))
      return outcomes(times(count, () => redis.use(client => client.incr('lifeguard-incident:I0'))))
    },
    async warmPeers(count: number): Promise<void> {
      const all = meeting(count)
      await Promise.all(times(count, () => peers.use(async socket => [await ask(socket), await all()])))
    },
    askPeers: (count: number): Promise<Requests> => outcomes(times(count, () => peers.use(ask))),
    /** Starts uploads to a server that will stop reading. Nobody waits here: that is how requests pile up. */
    upload(count: number): void {
      uploads = { running: count, failed: [] }
      for (const upload of times(count, () => peers.use(send))) {
        upload
          .catch((error: Error) => uploads.failed.push(error.message))
          .finally(() => {
            uploads.running -= 1
          })
      }
    },
    uploads: () => uploads,
    report: () => [...(redis ? [reportOf(redis)] : []), reportOf(peers)].join('\n'),
  }
}

/** More than the kernel's buffers on both sides take. */
const UPLOAD_BYTES = 16 * 2 ** 20

async function send(socket: Socket): Promise<void> {
  socket.write('UPLOAD\n')
  await new Promise<void>((resolve, reject) => {
    socket.write(Buffer.alloc(UPLOAD_BYTES), error => (error ? reject(error) : resolve()))
  })
  // Of a socket that was destroyed meanwhile, Node says that the write is done.
  if (socket.destroyed) throw new Error('the connection was reset before all was sent')
}

serve(service(side === 'with' ? guardedPools() : pools()))
