import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { createSocketPool, type SocketTarget } from '../../../src/adapters/net/index.ts'
import { isPoolError } from '../../../src/api/errors.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { startFaultServerProcess } from '../../support/fault-server.ts'
import { tlsCertificate } from '../../support/tls.ts'

const tls = { ca: tlsCertificate, servername: 'localhost' }

describe('createSocketPool', () => {
  test('lends sockets, and TLS sockets are typed as such', async () => {
    for (const options of [{}, { tls: {} }] as const) {
      const server = await startFaultServerProcess({ mode: 'echo', ...options })
      const where = { host: server.host, port: server.port }
      const plain: Pool<Socket> = createSocketPool(where)
      const secure: Pool<TLSSocket> = createSocketPool({ ...where, tls }, { max: 2 })
      const pool = 'tls' in options ? secure : plain
      const reply = await pool.use(async socket => {
        socket.write('ping')
        return String((await once(socket, 'data'))[0])
      })
      assert.equal(reply, 'ping')
      assert.equal(await secure.close().then(() => plain.close()), undefined)
      await server.waitForClosed(1)
      await server.stop()
    }
  })

  test('refuses everything that is wrong, in one error', () => {
    const issues = (target: unknown, options?: object): string => {
      try {
        createSocketPool(target as SocketTarget, options)
      } catch (error) {
        assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'), String(error))
        return (error.issues ?? []).join('\n')
      }
      throw new Error('should have been refused')
    }
    assert.equal(issues({}), 'port or path is needed')
    assert.equal(
      issues(
        { port: 70_000, path: '', host: 5, nodelay: true, tls: { socket: 1, allowHalfOpen: true } },
        { max: 0 },
      ),
      [
        'port must be a whole number from 1 to 65535, got 70000',
        'path must be a non-empty string, got ""',
        'host must be a non-empty string, got 5',
        'nodelay is not an option of a socket',
        'port and path exclude each other',
        'host and path exclude each other',
        'tls.socket is not an option: the pool makes the socket',
        'tls.allowHalfOpen is not an option: a half-open connection is a dead one to the pool',
        'max must be a whole number ≥ 1, got 0',
      ].join('\n'),
    )
    for (const port of [0, -1, 1.5, '6379', Number.NaN, null]) {
      assert.match(issues({ port }), /port must be a whole number from 1 to 65535, got/)
    }
    assert.match(
      issues({ port: 1, tls: 'yes', localAddress: 'here', lookup: 1, family: 5 }),
      /^tls must be .*\nlocalAddress must .*\nlookup must .*\nfamily must /,
    )
    for (const nothing of [undefined, null, 6379, 'localhost:1', []]) {
      assert.match(issues(nothing), /the target must be an object/)
    }
  })
})
