/*
 * A service with a pool of Redis clients and one fault. Arguments: which one, and the URL of Redis. Says on stdout that
 * the fault is there.
 */
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { createRedisPool, type RedisPoolOptions } from '../../src/adapters/ioredis/index.ts'
import type { Pool } from '../../src/index.ts'

const [, , which = '', url = ''] = process.argv

const options = { name: 'cache', max: 4, captureStacks: 'all', leakThresholdMillis: 300 } as const

/** A pool that nobody refers to is gone, and so is what it could report. */
const pools: unknown[] = []
process.on('exit', () => pools.length)

function open(server: string, options: RedisPoolOptions): Pool<Redis> {
  const pool = createRedisPool(server, options)
  pools.push(pool)
  return pool
}

/** As synchronous loggers do it: while there is no room, it sleeps and tries again. */
function writeAll(line: string): void {
  for (;;) {
    try {
      writeSync(2, line)
      return
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    }
  }
}

const FAULTS: Readonly<Record<string, () => Promise<void>>> = {
  /** Its server is stopped by the test. */
  'silent server': async () => {
    const pool = open(url, { ...options, acquireTimeoutMillis: 1000 })
    async function readsUser(): Promise<unknown> {
      return await pool.use(async client => await client.get('user'))
    }
    const readAgainAndAgain = async (): Promise<void> => {
      for (;;) {
        await readsUser().catch(() => {})
        await pause(20)
      }
    }
    await pool.ready()
    await readsUser()
    for (let reader = 0; reader < 6; reader += 1) void readAgainAndAgain()
  },
  leak: async () => {
    const pool = open(url, options)
    async function forgetsToRelease(): Promise<void> {
      const client = await pool.acquire()
      await client.ping()
    }
    const leaks = new Promise<void>(resolve => pool.on('leak', () => resolve()))
    await forgetsToRelease()
    await forgetsToRelease()
    await leaks
  },
  'nested deadlock': async () => {
    const pool = open(url, { ...options, max: 2 })
    const outer = async (): Promise<unknown> =>
      await pool.use(async client => {
        await client.ping()
        await pause(10)
        return await inner()
      })
    const inner = async (): Promise<unknown> => await pool.use(async client => await client.ping())
    const broken = new Promise<void>(resolve => pool.on('deadlock', () => resolve()))
    const again = async (): Promise<void> => {
      for (;;) await outer().catch(() => pause(100))
    }
    for (let caller = 0; caller < 4; caller += 1) void again()
    await broken
  },
  'blocked loop': async () => {
    const pool = open(url, options)
    await pool.use(async client => await client.ping())
    // Its clients are there already, and what they send next is not read.
    const server = createServer(socket => socket.resume()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = connect(port, '127.0.0.1')
    await once(server, 'connection')
    setTimeout(function computesForLong() {
      client.write('a request')
      for (;;) Math.sqrt(Math.random())
    }, 100)
  },
  'stalls again and again': async () => {
    const pool = open(url, options)
    await pool.use(async client => await client.ping())
    setInterval(function sortsMuch() {
      // Of processor time: a busy machine must not make it less.
      const start = process.cpuUsage()
      while (process.cpuUsage(start).user < 350_000) Array.from({ length: 1000 }, Math.random).sort()
    }, 800)
    await pause(1500)
  },
  'idle limit': async () => {
    const pool = open(url, { ...options, serverIdleTimeoutMillis: 'none', fifo: false })
    const clients = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
    const closed = new Promise<void>(resolve => {
      let count = 0
      pool.on('half-close', () => {
        count += 1
        if (count === 3) resolve()
      })
    })
    for (const client of clients) await pool.release(client)
    await closed
  },
  /** Its logger is synchronous. */
  'unread stderr': async () => {
    const pool = open(url, options)
    await pool.use(async client => await client.ping())
    setTimeout(function logsMuch() {
      for (;;) writeAll('a line that nobody reads\n')
    }, 100)
  },
  /** This library's own log: the process goes on. */
  'unread log': async () => {
    const pool = open(url, options)
    // As many as it gets done, until there is no room; then now and then, as the log stays full.
    const works = async (): Promise<never> => {
      for (;;) {
        await pool.use(async client => await client.ping()).catch(() => {})
        if (pool.stats().log.dropped > 0) await pause(20)
      }
    }
    for (let worker = 0; worker < 4; worker += 1) void works()
    while (pool.stats().log.dropped === 0) await pause(10)
  },
}

// A pool alone does not keep its process.
process.stdin.resume()
await FAULTS[which]?.()
process.stdout.write('there\n')
