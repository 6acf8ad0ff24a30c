import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { createSocketPool } from '../../../src/adapters/net/index.ts'
import { createPool, type Pool, type PoolOptions } from '../../../src/index.ts'
import { eventually, turns } from '../../support/factories.ts'
import { type FaultServer, type FaultServerOptions, startFaultServer } from '../../support/fault-server.ts'
import { rejection } from '../../support/rejection.ts'
import { tlsCertificate, tlsKey } from '../../support/tls.ts'

const tls = { ca: tlsCertificate, servername: 'localhost' }
const noop = (): void => {}
const pools: Pool<Socket>[] = []
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close({ timeoutMillis: 1 }).catch(noop)
})

/** Why connections were destroyed. */
function destroyed(pool: Pool<Socket>): string[] {
  const reasons: string[] = []
  pool.on('destroy', ({ reason, detail }) => reasons.push(`${reason}: ${detail}`))
  return reasons
}

for (const [kind, options] of [
  ['TCP', {}],
  ['TLS 1.2', { tls: { version: '1.2' } }],
  ['TLS 1.3', { tls: { version: '1.3' } }],
] as const satisfies [string, FaultServerOptions][]) {
  const poolFor = (
    { host, port }: FaultServer,
    more: PoolOptions & { oneWay?: boolean } = {},
  ): Pool<Socket> => {
    const { oneWay, ...rest } = more
    const target = { host, port, ...(oneWay && { oneWay }), ...('tls' in options && { tls }) }
    const pool: Pool<Socket> = createSocketPool(target as { port: number }, rest)
    pools.push(pool)
    return pool
  }

  describe(`an answer (${kind}) that its borrower has not waited for`, () => {
    let silent: FaultServer
    let echo: FaultServer
    before(async () => {
      silent = await startFaultServer(options)
      echo = await startFaultServer({ ...options, mode: 'echo' })
    })
    after(() => Promise.all([silent.stop(), echo.stop()]))

    for (const how of ['use', 'release', 'lease', 'a use that fails'] as const) {
      test(`never reaches the next one: the loan ends by ${how}`, async () => {
        const pool = poolFor(silent)
        const reasons = destroyed(pool)
        const ask = async (socket: Socket): Promise<Socket> => {
          socket.write('question')
          return socket
        }
        let first: Socket | undefined
        if (how === 'use') first = await pool.use(ask)
        if (how === 'release') {
          first = await ask(await pool.acquire())
          await pool.release(first)
        }
        if (how === 'lease') {
          await using lease = await pool.lease()
          first = await ask(lease.resource)
        }
        if (how === 'a use that fails')
          await pool
            .use(async socket => {
              first = await ask(socket)
              throw new Error('no patience')
            })
            .catch(noop)
        const next = await pool.acquire()
        assert.notEqual(next, first)
        assert.match(reasons.join(), /^dirty: /)
        await pool.release(next)
      })
    }

    test('spoils nothing once it has come: the connection goes on to the next', async () => {
      const pool = poolFor(echo)
      const first = await pool.use(async socket => {
        for (const word of ['one', 'two']) {
          socket.write(word)
          await once(socket, 'data')
        }
        return socket
      })
      assert.equal(await pool.use(socket => socket), first)
      assert.equal(await pool.use(socket => socket), first, 'also after a loan in which nothing was said')
    })

    test('is not waited for where the target says that there is none', async () => {
      const pool = poolFor(silent, { oneWay: true })
      const first = await pool.use(socket => {
        socket.write('a line for the log\n')
        return socket
      })
      await turns(3)
      assert.equal(await pool.use(socket => socket), first)
    })
  })

  describe(`bytes (${kind}) that have not left when their loan ends`, () => {
    const SIZE = 8 * 2 ** 20
    let server: Server
    let received = 0
    let port = 0
    let reads = true
    before(async () => {
      const accept = (socket: Socket): void => {
        socket.on('error', noop)
        if (reads)
          socket.on('data', chunk => {
            received += chunk.length
          })
        else socket.pause()
      }
      server =
        'tls' in options
          ? createTlsServer(
              { key: tlsKey, cert: tlsCertificate, maxVersion: `TLSv${options.tls.version}` },
              accept,
            )
          : createServer(accept)
      await once(server.listen(0, '127.0.0.1'), 'listening')
      port = (server.address() as { port: number }).port
    })
    beforeEach(() => {
      received = 0
      reads = true
    })
    after(() => server.close())
    const here = (more?: PoolOptions) => poolFor({ host: '127.0.0.1', port } as FaultServer, more)

    for (const how of ['use', 'release', 'lease', 'a use that ends the socket'] as const) {
      test(`all arrive before the loan is over: ${how}`, async () => {
        const pool = here({ resetTimeoutMillis: 10_000 })
        const bulk = Buffer.alloc(SIZE)
        if (how === 'use') await pool.use(socket => void socket.write(bulk))
        if (how === 'a use that ends the socket') await pool.use(socket => void socket.end(bulk))
        if (how === 'release') {
          const socket = await pool.acquire()
          socket.write(bulk)
          await pool.release(socket)
        }
        if (how === 'lease') {
          const lease = await pool.lease()
          lease.resource.write(bulk)
          await lease.release()
        }
        await eventually(() => received === SIZE, { within: 10_000 })
      })
    }

    test('fail it by name where the server does not take them in time', async () => {
      reads = false
      const pool = here({ resetTimeoutMillis: 100 })
      const reasons = destroyed(pool)
      const error = await rejection(pool.use(socket => void socket.write(Buffer.alloc(4 * SIZE))))
      assert.equal(error.code, 'POOL_UNSENT')
      assert.match(
        error.message,
        /was returned with \d+ bytes that the server has not accepted: it had 100 ms/,
      )
      assert.match(reasons.join(), /^dirty: \d+ of the bytes written were not sent/)
      assert.equal(pool.stats().resetting, 0)
      // Nobody has to await it.
      const socket = await pool.acquire()
      socket.write(Buffer.alloc(4 * SIZE))
      void pool.release(socket)
      await eventually(() => reasons.length === 2)
    })

    test('fail it by name where the connection is lost, or the pool closed, before that', async () => {
      reads = false
      const pool = here({ resetTimeoutMillis: 10_000 })
      let socket: Socket | undefined
      const lost = rejection(
        pool.use(lent => {
          socket = lent
          lent.write(Buffer.alloc(4 * SIZE))
        }),
      )
      await eventually(() => pool.stats().resetting === 1)
      socket?.destroy()
      assert.equal((await lost).code, 'POOL_UNSENT')
      const closed = rejection(pool.use(lent => void lent.write(Buffer.alloc(4 * SIZE))))
      await eventually(() => pool.stats().resetting === 1)
      await pool.close({ timeoutMillis: 1 }).catch(noop)
      assert.equal((await closed).code, 'POOL_UNSENT')
    })

    test('are waited for by `await using` and by close', async () => {
      const pool = here({ resetTimeoutMillis: 10_000 })
      {
        await using lease = await pool.lease()
        lease.resource.write(Buffer.alloc(SIZE))
      }
      const socket = await pool.acquire()
      socket.write(Buffer.alloc(SIZE))
      void pool.release(socket)
      await pool.close()
      await eventually(() => received === 2 * SIZE, { within: 10_000 })
    })
  })

  describe(`a server (${kind}) that speaks first`, () => {
    let server: FaultServer
    before(async () => {
      server = await startFaultServer({ ...options, mode: 'greeting', greeting: '220 ready\r\n' })
    })
    after(() => server.stop())

    for (const [name, more] of [
      ['min', { min: 2, max: 2 }],
      ['min and fifo', { min: 2, max: 2, fifo: true }],
      ['testOnBorrow', { min: 1, max: 1, testOnBorrow: true }],
      ['an idle check', { min: 1, max: 1, evictionRunIntervalMillis: 10, idleTimeoutMillis: 60_000 }],
      ['no connection kept', { max: 2 }],
    ] as const satisfies [string, PoolOptions][]) {
      test(`greets the first borrower of each connection, and nobody is refused, with ${name}`, async () => {
        const pool = poolFor(server, more)
        const reasons = destroyed(pool)
        await pool.ready()
        // It comes while they are idle.
        await turns(20)
        const lent = await Promise.all(Array.from({ length: more.max }, () => pool.acquire()))
        for (const socket of lent) assert.equal(String((await once(socket, 'data'))[0]), '220 ready\r\n')
        for (const socket of lent) await pool.release(socket)
        await turns(3)
        const again = await pool.acquire()
        assert.ok(lent.includes(again), 'and lends it again')
        assert.equal(again.readableLength, 0)
        assert.deepEqual(reasons, [])
        assert.equal(pool.stats().createFailures, 0)
      })
    }

    test('is found closed by the sweep, though its greeting lies in front of the FIN', async () => {
      const pool = poolFor(server, { min: 1, max: 1 })
      const reasons = destroyed(pool)
      await pool.ready()
      await turns(20)
      server.waitForConnections(1)
      server.finAll()
      await eventually(() => reasons.length > 0)
      assert.match(reasons[0] as string, /^half-closed/)
    })

    test('spoils the connection all the same when it speaks between two loans', async () => {
      const pool = poolFor(server)
      const socket = await pool.acquire()
      await once(socket, 'data')
      await pool.release(socket)
      await turns(3)
      server.write(server.indexOf(socket.localPort as number), 'unasked')
      await eventually(() => socket.destroyed)
      assert.equal(pool.available, 0)
    })
  })
}

test('a greeting that a client of its own factory reads itself does not spoil its connection', async () => {
  const server = await startFaultServer({ mode: 'greeting', greeting: 'hello' })
  const pool = createPool<{ socket: Socket; greeting: string }>(
    {
      async create() {
        const client = { socket: connect(server.port, server.host), greeting: '' }
        client.socket.on('data', text => {
          client.greeting += text
        })
        await once(client.socket, 'connect')
        return client
      },
      destroy: ({ socket }) => void socket.destroy(),
      socket: ({ socket }) => socket,
    },
    { min: 1, max: 1 },
  )
  await pool.ready()
  await turns(20)
  const client = await pool.acquire()
  await eventually(() => client.greeting === 'hello')
  assert.equal(pool.stats().totals.created, 1)
  await pool.release(client)
  await pool.close()
  await server.stop()
})
