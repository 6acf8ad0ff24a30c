import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { createSocketPool, type SocketTarget } from '../../../src/adapters/net/index.ts'
import type { Pool, PoolOptions } from '../../../src/index.ts'
import { eventually } from '../../support/factories.ts'
import { rejection } from '../../support/rejection.ts'
import { tlsCertificate, tlsKey } from '../../support/tls.ts'

const SIZE = 2 ** 21
const noop = (): void => {}
const folder = mkdtempSync(join(tmpdir(), 'lifeguard-piped-'))
const file = join(folder, 'file')
writeFileSync(file, Buffer.alloc(SIZE))
after(() => rmSync(folder, { recursive: true, force: true }))

/** How a borrower may leave its bytes to be sent by others. */
const senders: Readonly<Record<string, (socket: Socket) => unknown>> = {
  'a file is piped': socket => createReadStream(file).pipe(socket, { end: false }),
  'a file is piped, which ends the socket': socket => createReadStream(file).pipe(socket),
  'a stream that has ended is piped': socket =>
    new PassThrough({ highWaterMark: SIZE }).end(Buffer.alloc(SIZE)).pipe(socket, { end: false }),
  'what is made step by step is piped': socket =>
    Readable.from(
      (async function* () {
        for (let sent = 0; sent < SIZE; sent += 2 ** 17) {
          await new Promise(setImmediate)
          yield Buffer.alloc(2 ** 17)
        }
      })(),
    ).pipe(socket, { end: false }),
  'the rest is written at each drain': socket => {
    let left = SIZE
    const go = (): void => {
      while (left > 0) {
        left -= 2 ** 16
        if (!socket.write(Buffer.alloc(2 ** 16))) return
      }
    }
    socket.on('drain', go)
    go()
  },
}

for (const kind of ['TCP', 'TLS', 'a Unix socket'] as const) {
  describe(`bytes (${kind}) that are still on their way to the socket when their loan ends`, {
    skip: kind === 'a Unix socket' && process.platform === 'win32' ? 'needs Unix sockets' : false,
  }, () => {
    let server: Server
    let target: SocketTarget
    let received = 0
    const pools: Pool<Socket>[] = []
    const reasons: string[] = []
    before(async () => {
      const accept = (socket: Socket): void => {
        socket.on('error', noop).on('data', chunk => {
          received += chunk.length
        })
      }
      server =
        kind === 'TLS' ? createTlsServer({ key: tlsKey, cert: tlsCertificate }, accept) : createServer(accept)
      const path = join(folder, 'socket')
      await once(kind === 'a Unix socket' ? server.listen(path) : server.listen(0, '127.0.0.1'), 'listening')
      const { port } = server.address() as { port: number }
      target = kind === 'a Unix socket' ? { path } : { host: '127.0.0.1', port }
      if (kind === 'TLS') target.tls = { ca: tlsCertificate, servername: 'localhost' }
    })
    after(() => server.close())
    beforeEach(() => {
      received = 0
      reasons.length = 0
    })
    afterEach(async () => {
      for (const pool of pools.splice(0)) await pool.close({ timeoutMillis: 1 }).catch(noop)
    })
    const poolFor = (options: PoolOptions = {}): Pool<Socket> => {
      const pool = createSocketPool({ ...target, oneWay: true }, { resetTimeoutMillis: 10_000, ...options })
      pool.on('destroy', ({ reason, detail }) => reasons.push(`${reason}: ${detail}`))
      pools.push(pool)
      return pool
    }

    for (const [how, send] of Object.entries(senders)) {
      test(`all arrive: ${how}`, async () => {
        const pool = poolFor()
        const socket = await pool.use(lent => {
          send(lent)
          return lent
        })
        await eventually(() => received === SIZE, { within: 10_000 })
        if (how.includes('ends')) return
        const next = await pool.acquire()
        assert.equal(next, socket, `the connection is as good as before: ${reasons}`)
        assert.equal(next.listenerCount('drain'), 0)
        await pool.release(next)
      })
    }

    test('fail it by name where there is no end of them', async () => {
      const pool = poolFor({ resetTimeoutMillis: 50 })
      const endless = new Readable({ read: noop })
      const error = await rejection(pool.use(socket => void endless.pipe(socket)))
      assert.equal(error.code, 'POOL_UNSENT')
      assert.match(error.message, /while a stream was still being piped into it: it had 50 ms/)
      assert.match(reasons.join(), /^dirty: a stream was still being piped into it/)
      assert.equal(pool.stats().resetting, 0)
    })

    test('are not waited for where nothing says that there are any', async () => {
      const pool = poolFor()
      const silent = new PassThrough()
      await pool.use(socket => void silent.pipe(socket))
      assert.deepEqual(reasons, ['dirty: a stream was still being piped into it'])
    })
  })
}
