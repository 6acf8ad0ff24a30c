import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool, type PoolError } from '../../src/index.ts'
import { endings, tally } from './pools-on-one-clock.ts'

const GRACE = 50

/** A server that answers each byte with the same. */
async function echo() {
  const server = createServer(socket => void socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, stop: () => server.close() }
}

test('a child left to itself inside `use`, while its parent goes on talking on its socket, is no deadlock', async () => {
  const server = await echo()
  // Long enough that a busy machine does not make the parent silent for as long.
  const grace = 20 * GRACE
  const options = { max: 1, deadlockGraceMillis: grace }
  const pool = createSocketPool({ port: server.port, host: '127.0.0.1' }, options)
  let child: Promise<string> | undefined
  const parent = pool.use(async socket => {
    child = pool.use(() => 'child')
    for (const until = performance.now() + 2 * grace; performance.now() < until; ) {
      socket.write('?')
      await once(socket, 'data')
      // It works with what it has heard: never as long as the grace.
      await pause(GRACE / 5)
    }
    return 'parent'
  })
  assert.equal(await parent, 'parent')
  assert.equal(await child, 'child')
  assert.equal(pool.stats().totals.deadlocks, 0)
  await pool.close()
  server.stop()
})

test('parents that have talked, and then only wait for each other, are one', async () => {
  const server = await echo()
  const pool = createSocketPool({ port: server.port, host: '127.0.0.1' }, { max: 2 })
  const task = (): Promise<string> =>
    pool.use(async socket => {
      socket.write('?')
      await once(socket, 'data')
      return pool.use(() => 'done')
    })
  const ended = await endings([task(), task()].map(each => each.catch((error: PoolError) => error.code)))
  assert.deepEqual(tally(ended), { done: 1, POOL_DEADLOCK: 1 })
  await pool.close()
  server.stop()
})

test('a socket whose counters throw harms no acquire and no loan', async () => {
  let throws = false
  class Odd extends PassThrough {
    get bytesRead(): number {
      if (throws) throw new Error('no counters')
      return 0
    }
  }
  const pool = createPool(
    { create: () => new Odd(), destroy: () => {}, socket: odd => odd as unknown as Socket },
    { max: 1 },
  )
  const held = await pool.acquire()
  throws = true
  const waiting = pool.use(() => 'served')
  await pool.release(held)
  assert.equal(await waiting, 'served')
  const nested = await endings([pool.use(() => pool.use(() => 'inner', { timeoutMillis: 4 * GRACE }))])
  // Nobody can tell that nothing moves.
  assert.deepEqual(nested, ['POOL_ACQUIRE_TIMEOUT'])
  assert.equal(pool.borrowed, 0)
  await pool.close()
})
