import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, beforeEach, describe, test } from 'node:test'
import { type FaultServer, startFaultServer } from '../support/fault-server.ts'
import { open } from '../support/pools.ts'

interface Client {
  readonly socket: Socket
}

async function ask({ socket }: Client): Promise<void> {
  socket.write('question')
  await once(socket, 'data')
}

/*
 * SFTP, and whatever speaks unasked: the kernel cannot be asked, as a look would take a byte. Only the poll phase tells
 * that the server has gone, and it does not run while the event loop is blocked.
 */
describe('a connection on which the server speaks unasked, and which is reset on its return', () => {
  let server: FaultServer
  before(async () => {
    server = await startFaultServer({ mode: 'echo' })
  })
  after(() => server.stop())
  let made = 0
  beforeEach(() => {
    made = 0
  })

  const poolFor = (reset: (client: Client) => unknown, options: object = {}) =>
    open<Client>(
      {
        async create() {
          made += 1
          const socket = connect(server.port, server.host).on('error', () => {})
          socket.on('data', () => {})
          await once(socket, 'connect')
          return { socket }
        },
        destroy: ({ socket }) => void socket.destroy(),
        socket: ({ socket }) => socket,
        unsolicited: () => true,
        reset: reset as (client: Client) => void,
      },
      { max: 1, ...options },
    )

  for (const [kind, reset] of [
    ['does nothing', () => {}],
    ['does something here', async () => {}],
    ['writes and awaits no answer', ({ socket }: Client) => void socket.write('x')],
  ] as const) {
    for (const waits of [false, true]) {
      test(`is not lent when the server has closed it meanwhile: the reset ${kind}${waits ? ', and somebody waits' : ''}`, async () => {
        const pool = poolFor(reset)
        const client = await pool.acquire()
        await ask(client)
        const waiting = waits ? pool.acquire() : undefined
        // From here on the event loop does not turn until somebody has asked for it.
        void pool.release(client)
        server.fin(server.indexOf(client.socket.localPort as number))
        const next = await (waiting ?? pool.acquire())
        assert.notEqual(next, client)
        await ask(next)
        await pool.release(next)
        assert.equal(made, 2)
        await pool.close()
      })
    }
  }

  test('is lent to the next at once where the server has answered the reset', async () => {
    const pool = poolFor(ask)
    const client = await pool.acquire()
    await ask(client)
    const before = pool.stats().halfClose.barriers
    const waiting = pool.acquire()
    await pool.release(client)
    assert.equal(await waiting, client)
    assert.equal(pool.stats().halfClose.barriers, before)
    await pool.release(client)
    await pool.close()
    assert.equal(made, 1)
  })
})
