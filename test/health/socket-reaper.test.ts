import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, test } from 'node:test'
import type { PoolEvents } from '../../src/api/events.ts'
import type { Factory } from '../../src/api/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { createPool, type Pool } from '../../src/index.ts'
import { eventually } from '../support/factories.ts'
import { type FaultProcess, startFaultServerProcess } from '../support/fault-server.ts'
import { countSockets } from '../support/fds.ts'

/** One sweep, and some room for a loaded machine. */
const SWEEP = { within: 10_000 }
const noProc = countSockets() === undefined && 'there is no /proc'

/** A client as users write them: it holds a socket, and a close that takes its time. */
class Client {
  readonly socket: Socket
  constructor(socket: Socket) {
    this.socket = socket
  }
}

describe('with nobody acquiring, no socket stays in CLOSE_WAIT', { skip: noProc }, () => {
  const cleanups: (() => unknown)[] = []
  afterEach(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean()
  })

  async function open(
    hooks: Partial<Factory<Client>>,
    options: PoolOptions = {},
  ): Promise<{ server: FaultProcess; pool: Pool<Client>; before: number }> {
    const server = await startFaultServerProcess()
    cleanups.push(() => server.stop())
    const before = (countSockets() as { sockets: number }).sockets
    const pool = createPool<Client>(
      {
        async create() {
          const socket = connect({ port: server.port, host: server.host, allowHalfOpen: true })
          socket.on('error', () => {})
          await once(socket, 'connect')
          return new Client(socket)
        },
        destroy: client => void client.socket.destroy(),
        socket: client => client.socket,
        ...hooks,
      },
      { max: 50, ...options },
    )
    cleanups.push(() => pool.close({ timeoutMillis: 100 }).catch(() => {}))
    return { server, pool, before }
  }

  /** Makes so many connections, all idle, each used once. */
  async function fill(pool: Pool<Client>, server: FaultProcess, count: number): Promise<Client[]> {
    const lent = await Promise.all(Array.from({ length: count }, () => pool.acquire()))
    for (const client of lent) await pool.release(client)
    await server.waitForConnections(count)
    return lent
  }

  const closeWait = (): number => countSockets()?.tcp.CLOSE_WAIT ?? 0

  test('although they are half-open and the server closed all fifty of them', async () => {
    const { server, pool, before } = await open({})
    await fill(pool, server, 50)
    await server.finAll()
    await eventually(() => closeWait() === 0 && countSockets()?.sockets === before, SWEEP)
    assert.equal(pool.size, 0)
  })

  test('although their client has paused them, with data in front of the FIN', async () => {
    const { server, pool, before } = await open({})
    const clients = await fill(pool, server, 5)
    for (const { socket } of clients) socket.pause()
    for (let index = 0; index < 5; index += 1) await server.dataThenFin(index, 'x'.repeat(110_000))
    await eventually(() => closeWait() === 0 && countSockets()?.sockets === before, SWEEP)
  })

  test('although factory.destroy never ends', async () => {
    const { server, pool, before } = await open(
      { destroy: () => new Promise(() => {}) },
      { destroyTimeoutMillis: 50 },
    )
    await fill(pool, server, 10)
    await server.finAll()
    await eventually(() => closeWait() === 0 && countSockets()?.sockets === before, SWEEP)
  })

  test('although they hold sixteen megabytes that the server will not read', async () => {
    const { server, pool, before } = await open({})
    const [client] = await fill(pool, server, 1)
    await server.pause(0)
    client?.socket.write(Buffer.alloc(16 * 2 ** 20))
    await server.fin(0)
    await eventually(() => closeWait() === 0 && countSockets()?.sockets === before, SWEEP)
    assert.equal(countSockets()?.tcp.LAST_ACK ?? 0, 0)
  })

  test('although a borrower holds on to one: it is reset after the grace, with an event', async () => {
    const { server, pool, before } = await open({}, { halfCloseGraceMillis: 200 })
    const events: PoolEvents<Client>['half-close'][0][] = []
    pool.on('half-close', event => events.push(event))
    const client = await pool.acquire()
    await server.waitForConnections(1)
    client.socket.on('data', () => {})
    await server.pause(0)
    client.socket.write(Buffer.alloc(16 * 2 ** 20))
    await server.fin(0)
    await eventually(() => countSockets()?.sockets === before, SWEEP)
    assert.equal(events.length, 1)
    assert.equal(events[0]?.state, 'lent')
    assert.equal(pool.stats().halfClose.found.lent, 1)
    await pool.release(client)
    assert.equal(events.length, 1, 'told twice')
    assert.equal(pool.size, 0)
  })

  test('one that is lent and still being read is left alone', async () => {
    const { server, pool } = await open({}, { halfCloseGraceMillis: 100 })
    const client = await pool.acquire()
    await server.waitForConnections(1)
    await server.dataThenFin(0, 'to be read later')
    await eventually(() => client.socket.readableLength > 0)
    // Two rounds have passed it by, with the grace over, when two others that nobody reads from have been ended.
    for (const index of [1, 2]) {
      const other = await pool.acquire()
      await server.waitForConnections(index + 1)
      other.socket.resume()
      await server.fin(index)
      await eventually(() => other.socket.destroyed)
      await pool.destroy(other)
    }
    assert.equal(client.socket.destroyed, false)
    assert.equal(String((await once(client.socket, 'data'))[0]), 'to be read later')
    await pool.destroy(client)
  })
})
