import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool } from '../../src/index.ts'
import { STALL_MILLIS } from '../../src/runtime/time/alarm.ts'
import { block, turns } from '../support/factories.ts'
import { type FaultServer, type FaultServerOptions, startFaultServer } from '../support/fault-server.ts'
import { withRedis } from '../support/redis.ts'

const redis = await withRedis()
after(() => redis.stop())

interface Client {
  readonly socket: Socket
}

/** One acquire, of a pool that has no connection yet. */
interface Kind {
  readonly name: string
  readonly take: (server: FaultServer) => { socket: Promise<Socket>; close: () => Promise<void> }
}

const kinds: readonly Kind[] = [
  {
    name: 'a raw socket',
    take: ({ host, port }) => {
      const pool = createSocketPool({ host, port }, { max: 1 })
      const socket = pool.acquire()
      return { socket, close: async () => pool.destroy(await socket).then(() => pool.close()) }
    },
  },
  {
    name: 'a client that has a socket',
    take: ({ host, port }) => {
      const create = async (): Promise<Client> => {
        const socket = connect(port, host).on('error', () => {})
        await once(socket, 'connect')
        return { socket }
      }
      const destroy = ({ socket }: Client): void => void socket.destroy()
      const pool = createPool({ create, destroy, socket: client => client.socket }, { max: 1 })
      const client = pool.acquire()
      return {
        socket: client.then(({ socket }) => socket),
        close: async () => pool.destroy(await client).then(() => pool.close()),
      }
    },
  },
]

for (const { name, take } of kinds) {
  describe(`${name} whose dial is under way while the loop stands still`, () => {
    let server: FaultServer
    const start = async (options: FaultServerOptions): Promise<void> => {
      server = await startFaultServer(options)
    }
    const dial = async () => {
      const taken = take(server)
      // The system has been asked to connect by then, and the loop has not heard of it.
      await new Promise<void>(resolve => process.nextTick(resolve))
      server.waitForConnections(1)
      return taken
    }

    for (const fault of ['fin', 'rst'] as const) {
      test(`is not lent after a ${fault} that has come meanwhile`, async () => {
        await start({})
        const { socket, close } = await dial()
        server[fault](0)
        // The server answers before its loop has turned, and its system call comes with that: two more answers later.
        server.connections()
        server.connections()
        block(2 * STALL_MILLIS)
        assert.equal(server.indexOf((await socket).localPort as number), 1, 'it is the next one')
        await close()
        await server.stop()
      })
    }

    test('is lent with what the server has said meanwhile', async () => {
      await start({ mode: 'greeting', greeting: 'welcome' })
      const { socket, close } = await dial()
      block(2 * STALL_MILLIS)
      const lent = await socket
      assert.equal(server.indexOf(lent.localPort as number), 0)
      assert.equal(String((await once(lent, 'data'))[0]), 'welcome')
      await close()
      await server.stop()
    })
  })
}

test('a Redis client that the server has ended while the loop stood still is not lent', {
  skip: redis.skip,
}, async () => {
  // By another process, as this one stands still meanwhile.
  const { hostname, port } = new URL(redis.url)
  const kill = `
    const socket = require('net').connect(${port}, '${hostname}')
    socket.resume().write('CLIENT KILL TYPE normal SKIPME yes\\r\\nQUIT\\r\\n')`
  for (let round = 0; round < 20; round += 1) {
    const pool = createRedisPool(redis.url, { max: 4 })
    let isKilled = false
    const late: unknown[] = []
    const loans = Array.from({ length: 4 }, () =>
      pool.use(async client => {
        const isLater = isKilled
        await client.ping().catch(error => isLater && late.push(error))
      }),
    )
    await turns(round % 10)
    assert.equal(spawnSync(process.execPath, ['-e', kill]).status, 0)
    isKilled = true
    await Promise.all(loans)
    assert.deepEqual(late, [])
    await pool.close()
  }
})
