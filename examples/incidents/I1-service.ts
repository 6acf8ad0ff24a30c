import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import createDebug from 'debug'
import genericPool from 'generic-pool'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { LogSink } from '../../src/runtime/log/log-sink.ts'
import { type Loans, nameCause, reportOf, serve } from './support/serving.ts'

/*
 * The heartbeat service of I1, with a debug print of every statement. Arguments: how it logs, the URL of Redis.
 */

const [, , way = '', redisUrl = ''] = process.argv
const KEY = `lifeguard-incident:I1:${process.pid}`
/** What one heartbeat says: a good many statements with their arguments, as ORMs print them. */
const STATEMENTS = Array.from(
  { length: 15 },
  (_, row) => `SELECT * FROM heartbeat WHERE node = ${row} ${'/* … */'.repeat(50)}`,
)

/** Where a log line goes. */
type Log = (line: string) => void

const sink = new LogSink()
const LOGS: Readonly<Record<string, () => Log>> = {
  /** `debug` writes with process.stderr.write: the stream keeps what nobody takes. */
  stream() {
    const debug = createDebug('heartbeat:sql')
    return line => debug(line)
  },
  /** As many loggers do by default. */
  sync: () => line => writeAll(Buffer.from(`${line}\n`)),
  /** debug as before; only where it writes to is the pool's own sink. */
  sink() {
    createDebug.log = line => {
      if (!sink.write(`${line}\n`) && sink.dropped === 1)
        nameCause('log sink: stderr takes no more: lines are dropped and counted, not kept')
    }
    const debug = createDebug('heartbeat:sql')
    return line => debug(line)
  },
}

/**
 * A pipe that some other part of the process has made non-blocking says EAGAIN once it is full. Synchronous loggers
 * then sleep and try again (so does pino's sonic-boom): either way the only thread waits for a reader.
 */
function writeAll(line: Uint8Array): void {
  for (let rest = line; rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(2, rest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    }
  }
}

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
    { max: 8 },
  )
}

/** The service itself: the same on either pool. */
function heartbeat(redis: Loans<Redis>, log: Log): () => Promise<number> {
  return () =>
    redis.use(async client => {
      for (const statement of STATEMENTS) log(statement)
      return client.incr(KEY)
    })
}

const redis = way === 'sink' ? createRedisPool(redisUrl, { max: 8, name: 'heartbeat' }) : pool()
const beat = heartbeat(redis, (LOGS[way] as () => Log)())
const server = createServer(async (_request, response) => {
  response.end(String(await beat()))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

export interface Memory {
  /** Bytes of log that wait in this process for somebody to read them. */
  readonly queued: number
  readonly dropped: number
}

serve({
  port: () => (server.address() as AddressInfo).port,
  memory: (): Memory => ({ queued: process.stderr.writableLength, dropped: sink.dropped }),
  report: () =>
    `${reportOf(redis)}\nlog sink: ${sink.written} lines written, ${sink.waiting} waiting, ${sink.dropped} dropped`,
  /** Ends all that it has begun, as on SIGTERM. What holds the process after that is not the service. */
  async close() {
    await redis.use(client => client.del(KEY))
    server.close()
    // Every heartbeat has been answered: what a proxy keeps open for the next one must not hold the process.
    server.closeAllConnections()
    await redis.drain()
    await redis.clear()
  },
})
