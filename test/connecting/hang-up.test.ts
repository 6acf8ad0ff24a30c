import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool } from '../../src/index.ts'
import { eventually, turns } from '../support/factories.ts'
import { type HangUp, type HangUpServer, startHangUpServer } from '../support/hang-up-server.ts'
import { withRedis } from '../support/redis.ts'

const WAYS: readonly HangUp[] = ['at once', 'after 5 ms', 'at the first byte', 'with a reset']

/** One question and its answer; rejects when the connection ends before that. */
async function ask(socket: Socket): Promise<void> {
  socket.write('ping')
  const over = new AbortController()
  const { signal } = over
  try {
    await Promise.race([
      once(socket, 'data', { signal }),
      once(socket, 'close', { signal }).then(() => {
        throw new Error('closed')
      }),
      once(socket, 'end', { signal }).then(() => {
        throw new Error('ended')
      }),
    ])
  } finally {
    over.abort()
  }
}

/**
 * Thirty callers that ask again and again, as fast as they are told, for two seconds.
 * @returns how many seconds it was: the number of dials that are allowed grows with them
 */
async function eager(call: (timeoutMillis: number) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  const left = (): number => start + 2000 - performance.now()
  const caller = async (): Promise<void> => {
    while (left() > 0) {
      await call(Math.max(left(), 1)).catch(() => {})
      await turns(1)
    }
  }
  await Promise.all(Array.from({ length: 30 }, caller))
  return (performance.now() - start) / 1000
}

describe('eager callers', { concurrency: true }, () => {
  for (const way of WAYS) {
    test(`do not hammer a server that accepts and hangs up ${way}`, async () => {
      const server = await startHangUpServer(() => way)
      const pool = createSocketPool({ host: '127.0.0.1', port: server.port }, { max: 10 })
      const seconds = await eager(timeoutMillis => pool.use(ask, { timeoutMillis }))
      assert.ok(server.accepted <= 10 * seconds, `${server.accepted} dials in ${seconds} s`)
      assert.ok(server.accepted >= 3, `${server.accepted} dials: it keeps trying`)
      server.hangsUpOn = () => undefined
      await eventually(() =>
        pool.use(ask).then(
          () => true,
          () => false,
        ),
      )
      await pool.close()
      await server.stop()
    })
  }

  for (const way of ['at once', 'at the first byte'] as const) {
    test(`do not either where create includes a handshake, hung up ${way}`, async () => {
      const server = await startHangUpServer(() => way)
      const pool = createRedisPool({ host: '127.0.0.1', port: server.port }, { max: 10 })
      const ping = (): Promise<unknown> => pool.use(client => client.ping(), { timeoutMillis: 300 })
      const seconds = await eager(ping)
      assert.ok(server.accepted <= 10 * seconds, `${server.accepted} dials in ${seconds} s, hung up ${way}`)
      await pool.close()
      await server.stop()
    })
  }
})

/** At most three at a time; whoever comes beyond that is hung up on. */
const LIMIT = 3
const limited =
  (way: HangUp): HangUpServer['hangsUpOn'] =>
  (_, open) =>
    open < LIMIT ? undefined : way

/** So many callers, each of which asks ten times*/
async function calls(
  callers: number,
  ask: () => Promise<unknown>,
): Promise<{ served: number; failed: unknown[] }> {
  const failed: unknown[] = []
  let served = 0
  const caller = async (): Promise<void> => {
    for (let call = 0; call < 10; call += 1) {
      await ask().then(
        () => {
          served += 1
        },
        error => failed.push(error),
      )
      // Its work between two calls. Nothing waits for it.
      await pause(20)
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return { served, failed }
}

for (const way of ['at once', 'with a reset'] as const) {
  test(`a server limit of 3 below max, the rest hung up on ${way}: it settles at what there is, and serves everybody`, async () => {
    const server = await startHangUpServer(limited(way))
    const pool = createSocketPool({ host: '127.0.0.1', port: server.port }, { max: 10 })
    // Those that are hung up on after they were lent cannot be helped: no more than there are beyond the limit.
    const first = await calls(30, () => pool.use(ask))
    assert.ok(first.failed.length <= 7, `${first.failed.length} of 300 failed`)
    const { served, failed } = await calls(30, () => pool.use(ask))
    assert.deepEqual([served, failed.length], [300, 0], String(failed[0]))
    await eventually(() => pool.size - pool.stats().connecting === LIMIT)
    assert.ok(server.accepted <= 22, `${server.accepted} dials`)
    await pool.close()
    await server.stop()
  })
}

const limitedRedis = await withRedis({ maxclients: '4' })
after(() => limitedRedis.stop())

test('a Redis with room for 4 clients serves the 300 calls of 30 callers through a pool of 10', {
  skip: limitedRedis.skip,
}, async () => {
  const pool = createRedisPool(limitedRedis.url, { max: 10 })
  let refused = 0
  pool.on('factoryCreateError', () => {
    refused += 1
  })
  const { served, failed } = await calls(30, () => pool.use(client => client.ping()))
  assert.deepEqual([served, failed.length], [300, 0], String(failed[0]))
  assert.ok(refused <= 20, `${refused} refused`)
  await pool.close()
})

describe('min is kept although young connections are hung up on', { concurrency: true }, () => {
  for (const way of ['at once', 'after 5 ms', 'with a reset'] as const) {
    for (const bad of [[1], [2], [3], [1, 2], [2, 3], [1, 3]]) {
      test(`${bad.join(' and ')} of 3, ${way}`, async () => {
        const server = await startHangUpServer(connection => (bad.includes(connection) ? way : undefined))
        const pool = createSocketPool({ host: '127.0.0.1', port: server.port }, { min: 3, max: 5 })
        await eventually(() => server.open.size === 3 && pool.available === 3, { what: '3 connections' })
        await pool.close()
        await server.stop()
      })
    }
  }
})

test('a connection that ends in its first loan after it has answered is no failed connect', async () => {
  const server = await startHangUpServer(() => undefined)
  const pool = createSocketPool({ host: '127.0.0.1', port: server.port }, { max: 4 })
  for (let round = 0; round < 60; round += 1) {
    await pool.use(async socket => {
      await ask(socket)
      for (const open of server.open) open.end()
      await once(socket, 'end')
    })
  }
  assert.equal(pool.stats().createFailures, 0)
  assert.equal(pool.stats().breaker, 'closed')
  await pool.close()
  await server.stop()
})

test('a borrower that ends its connection itself says nothing of the server', async () => {
  const server = await startHangUpServer(() => undefined)
  const factory = {
    async create() {
      const socket = connect(server.port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
    destroy: (socket: Socket) => void socket.destroy(),
    socket: (socket: Socket) => socket,
  }
  const pool = createPool(factory, { max: 4 })
  for (let round = 0; round < 60; round += 1) await pool.use(async socket => void socket.destroy())
  for (let round = 0; round < 60; round += 1) await pool.destroy(await pool.acquire())
  assert.equal(pool.stats().createFailures, 0)
  await pool.close()
  await server.stop()
})
