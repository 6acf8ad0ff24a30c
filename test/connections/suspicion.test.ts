import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { createPool, isPoolError, type Pool } from '../../src/index.ts'
import { blindPoolFor, poolFor } from '../sockets/fault-matrix.ts'
import { aged, eventually } from '../support/factories.ts'
import { type FaultServer, startFaultServer } from '../support/fault-server.ts'

describe('one dead connection', () => {
  let server: FaultServer
  before(async () => {
    server = await startFaultServer()
  })
  after(() => server.stop())

  async function fill<T>(pool: Pool<T>, count: number): Promise<T[]> {
    const lent = await Promise.all(Array.from({ length: count }, () => pool.acquire()))
    for (const resource of lent) await pool.release(resource)
    return lent
  }

  test('that no longer answers makes the others answer before they are lent, in one wave', async () => {
    const silent = new Set<Socket>()
    const asked: Socket[] = []
    const pool = createPool<{ socket: Socket }>(
      {
        async create() {
          const socket = connect(server.port, server.host)
          await once(socket, 'connect')
          return { socket }
        },
        destroy: ({ socket }) => void socket.destroy(),
        socket: ({ socket }) => socket,
        validate: ({ socket }) => {
          asked.push(socket)
          return !silent.has(socket)
        },
      },
      { max: 20, fifo: false, validateAfterIdleMillis: 50 },
    )
    const all = await fill(pool, 20)
    for (const { socket } of all.slice(5)) silent.add(socket)
    await aged(pool, 250)
    const one = await pool.acquire()
    assert.equal(silent.has(one.socket), false)
    await pool.release(one)
    // Nobody asks for them: the wave finds them.
    await eventually(() => pool.stats().totals.destroyed === 15)
    assert.equal(pool.stats().halfClose.suspicions, 1)
    assert.ok(asked.length >= 15 && asked.length <= 25, `${asked.length} were asked`)
    await pool.close()
  })

  test('that was reset has a hundred others looked at once, not each time', async () => {
    const pool = poolFor(server, { max: 100 })
    const first = server.connections()
    await fill(pool, 100)
    await eventually(() => server.connections() === first + 100)
    for (let index = first; index < first + 50; index += 1) server.rst(index)
    const socket = await pool.acquire()
    await eventually(() => pool.stats().totals.destroyed === 50)
    assert.equal(pool.stats().halfClose.suspicions, 1)
    assert.ok(pool.stats().halfClose.looks < 400, `${pool.stats().halfClose.looks}`)
    await pool.release(socket)
    await pool.close()
  })

  test('that is found where the kernel cannot be asked does not keep an impatient caller from the healthy', async () => {
    const pool = blindPoolFor(server)
    await fill(pool, 1)
    await aged(pool, 220)
    const now = async (): Promise<Socket | undefined> => {
      try {
        return await pool.acquire({ timeoutMillis: 0 })
      } catch (error) {
        // The machine stood still just now: no poll phase of late could have told of a close.
        assert.ok(isPoolError(error, 'POOL_ACQUIRE_TIMEOUT'))
        return undefined
      }
    }
    let socket = await now()
    await eventually(async () => {
      socket ??= await now()
      return socket !== undefined
    })
    assert.ok(socket?.destroyed === false)
    assert.equal(pool.stats().totals.created, 1)
    await pool.release(socket)
    await pool.close()
  })
})
