import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import type { Pool } from '../../src/index.ts'
import { eventually } from '../support/factories.ts'
import { type FaultServer, type FaultServerOptions, startFaultServer } from '../support/fault-server.ts'
import { poolFor } from './fault-matrix.ts'

/** What borrowers do to the socket that they have. */
const closings: readonly [string, (socket: Socket) => unknown][] = [
  ['destroys it', socket => socket.destroy()],
  ['destroys it, and waits for that', socket => once(socket.destroy(), 'close')],
  [
    'destroys it with data unread',
    async socket => {
      socket.write('echo')
      await once(socket, 'readable')
      socket.destroy()
    },
  ],
  ['resets it', socket => once(socket.resetAndDestroy(), 'close')],
]

/** A pool with one lent connection and two idle ones, and what it tells. */
async function watched(server: FaultServer) {
  const pool = poolFor(server, { max: 3 })
  const told = { halfClosed: 0, destroyed: [] as string[] }
  pool.on('half-close', () => {
    told.halfClosed += 1
  })
  pool.on('destroy', ({ reason, detail }) => told.destroyed.push(`${reason}: ${detail}`))
  const [socket, ...others] = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  for (const other of others) await pool.release(other)
  return { pool, told, socket }
}

async function returned(pool: Pool<Socket>, socket: Socket, destroyed: readonly string[]): Promise<void> {
  await pool.release(socket)
  await eventually(() => destroyed.length > 0)
}

for (const [name, options] of [
  ['TCP', {}],
  ['TLS 1.2', { tls: { version: '1.2' } }],
  ['TLS 1.3', { tls: { version: '1.3' } }],
] as const satisfies [string, FaultServerOptions][]) {
  describe(`a connection (${name}) that its own borrower ends`, () => {
    let server: FaultServer
    before(async () => {
      server = await startFaultServer({ mode: 'echo', ...options })
    })
    after(() => server.stop())

    for (const [how, close] of closings) {
      // Node's TLS sockets have no way to be reset.
      if (name !== 'TCP' && how === 'resets it') continue
      test(`is not held against the server: it ${how}`, async () => {
        const { pool, told, socket } = await watched(server)
        await close(socket)
        await returned(pool, socket, told.destroyed)
        assert.deepEqual(told.destroyed, [
          'broken: its socket was closed on this side, by its borrower or its client',
        ])
        assert.equal(told.halfClosed, 0)
        assert.equal(pool.stats().halfClose.suspicions, 0)
        assert.deepEqual(pool.stats().halfClose.found, { events: 0, borrow: 0, sweep: 0, lent: 0 })
        assert.doesNotMatch(pool.report(), /The server, or something on the way to it, has closed/)
        await pool.close()
      })
    }

    for (const fault of ['fin', 'rst'] as const) {
      test(`after the server (${fault}) is held against the server`, async () => {
        const { pool, told, socket } = await watched(server)
        const gone = once(socket, fault === 'fin' ? 'end' : 'close').catch(() => {})
        socket.resume()
        server[fault](server.indexOf(socket.localPort as number))
        await gone
        socket.destroy()
        await returned(pool, socket, told.destroyed)
        // A reset may come as the end of a TLS stream.
        assert.match(told.destroyed[0] as string, /^half-closed: the server|^broken: .*ECONNRESET/)
        assert.equal(told.halfClosed, 1)
        assert.equal(pool.stats().halfClose.suspicions, 1)
        await pool.close()
      })
    }

    test('while a FIN lies behind what it has not read is held against the server, as ever', async () => {
      const { pool, told, socket } = await watched(server)
      // It reads a part, so that Node has taken the rest from the kernel, and the FIN with it.
      socket.once('readable', () => socket.read(1))
      server.dataThenFin(server.indexOf(socket.localPort as number), 'unread')
      const state = (socket as unknown as { _readableState: { ended: boolean } })._readableState
      await eventually(() => state.ended)
      socket.destroy()
      await returned(pool, socket, told.destroyed)
      assert.match(told.destroyed[0] as string, /^half-closed/)
      assert.equal(pool.stats().halfClose.suspicions, 1)
      await pool.close()
    })
  })
}
