import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isPoolError } from '../../../src/api/errors.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { tlsCertificate, tlsKey } from '../../support/tls.ts'
import { type Answer, bulk, butFor, handshake, startFakeRedis, withFake } from './fake-redis.ts'
import { everyClient, factoryOf, heldTimers, noSignal, noTimers, rejection } from './versions.ts'

const redis = await withRedis({ databases: '4', unixsocketperm: '777' }, { unixsocket: true })
const guarded = await withRedis({ requirepass: 'open' })
after(async () => {
  await redis.stop()
  await guarded.stop()
})

const { skip } = redis

for (const { name, Client } of everyClient) {
  describe(`${name}: connecting`, () => {
    const create = (options: unknown, signal = noSignal()) => factoryOf(Client, options).create(signal)
    const failure = (options: unknown, signal?: AbortSignal) => rejection(create(options, signal))

    test('a wrong password is reported as itself and not as a closed connection', { skip }, async () => {
      const error = await failure({ port: guarded.server.port, password: 'wrong' })
      assert.equal(error.name, 'ReplyError')
      assert.match(error.message, /^WRONGPASS/)
    })

    test('a missing password is reported as itself', { skip }, async () => {
      assert.match((await failure({ port: guarded.server.port })).message, /^NOAUTH/)
    })

    test('a database that does not exist is a failure and not a connection to database 0', {
      skip,
    }, async () => {
      assert.match(
        (await failure({ port: redis.server.port, db: 9 })).message,
        /^ERR DB index is out of range/,
      )
      assert.match((await failure(`redis://127.0.0.1:${redis.server.port}/9`)).message, /out of range/)
    })

    test('a refused connection is reported as itself', async () => {
      const fake = await startFakeRedis()
      await fake.stop()
      assert.equal((await failure({ host: '127.0.0.1', port: fake.port })).code, 'ECONNREFUSED')
      assert.equal((await failure({ path: '/nowhere/redis.sock' })).code, 'ENOENT')
    })

    test('a server that accepts and stays silent does not hold the dial longer than its signal', async () => {
      await withFake(
        () => undefined,
        async ({ port, sockets }) => {
          const dial = new AbortController()
          const failed = failure({ port }, dial.signal)
          await eventually(() => sockets.size === 1)
          dial.abort(new Error('time is up'))
          const error = await failed
          assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'))
          assert.match(
            error.message,
            /localhost:\d+: given up after TCP was connected, with no reply .*\(time is up\)/,
          )
          assert.equal(error.cause, dial.signal.reason)
        },
      )
    })

    test('a silent TLS handshake is told from a silent server', async () => {
      await withFake(
        () => undefined,
        async ({ port, sockets }) => {
          const dial = new AbortController()
          const failed = failure({ port, tls: {} }, dial.signal)
          await eventually(() => [...sockets].some(socket => socket.bytesRead > 0))
          dial.abort()
          assert.match((await failed).message, /after TCP was connected, during the TLS handshake/)
        },
      )
    })

    test('a server that is still loading is not lent, and is named when time is up', async () => {
      const loading = bulk('role:master\r\nloading:1\r\nloading_eta_seconds:9\r\n')
      await withFake(butFor({ INFO: loading }), async fake => {
        const dial = new AbortController()
        const failed = failure({ port: fake.port }, dial.signal)
        await eventually(() => [...fake.sockets].some(socket => socket.bytesWritten > loading.length))
        await nextTurn()
        await nextTurn()
        dial.abort()
        assert.match((await failed).message, /bytes of reply to the handshake, while the server was loading/)
      })
    })

    test('a server that closes during the handshake is reported, and leaves no timer', async () => {
      const close: Answer = (_, socket) => void socket.end()
      await withFake(close, async ({ port }) => {
        await noTimers()
        const error = await failure({ port })
        assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'))
        assert.match(error.message, /the connection was closed after TCP was connected, with no reply/)
        await nextTurn()
        assert.equal(heldTimers(), 0)
      })
    })

    test('a server that resets during the handshake is reported as itself', async () => {
      const reset: Answer = (_, socket) => void socket.resetAndDestroy()
      await withFake(reset, async ({ port }) => assert.equal((await failure({ port })).code, 'ECONNRESET'))
    })

    test('what is no Redis is a failure and not an uncaught exception', async () => {
      await withFake(
        () => 'HTTP/1.1 400 Bad Request\r\n\r\n',
        async ({ port }) => {
          assert.match((await failure({ port })).message, /Unknown RESP type|Protocol error/)
        },
      )
    })

    test('a server that closes right behind its last reply is not taken for a connection', async () => {
      const last: Answer = (command, socket) => {
        if (command[0] === 'INFO') socket.end(handshake(command))
        return command[0] === 'INFO' ? undefined : handshake(command)
      }
      await withFake(last, async ({ port }) => {
        const factory = factoryOf(Client, { port })
        // Data and FIN may come in one go or not; what is lent before the FIN is known must not stay open.
        const made = await Promise.resolve(factory.create(noSignal())).catch(() => undefined)
        if (made !== undefined) await factory.destroy(made)
      })
      await withFake(handshake, async ({ port }) => {
        const dead = new Client(port)
        await once(dead, 'ready')
        dead.stream.destroy()
        assert.equal(dead.status, 'ready')
        assert.ok(isPoolError(await failure(() => dead), 'POOL_CONNECT_FAILED'))
      })
    })

    test('a dial called off at any moment leaves neither a socket nor a timer', async () => {
      await withFake(handshake, async fake => {
        const factory = factoryOf(Client, { host: '127.0.0.1', port: fake.port })
        await noTimers()
        const moments: (() => Promise<unknown>)[] = [
          () => new Promise(resolve => process.nextTick(resolve)),
          () => new Promise(queueMicrotask as (run: (value: unknown) => void) => void),
          () => nextTurn(),
        ]
        for (const moment of moments) {
          for (let steps = 0; steps < 25; steps += 1) {
            const dial = new AbortController()
            const made = Promise.resolve(factory.create(dial.signal)).then(
              client => factory.destroy(client),
              error => assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'), error),
            )
            for (let step = 0; step < steps; step += 1) await moment()
            dial.abort()
            await made
          }
        }
        assert.equal(heldTimers(), 0)
        const aborted = new AbortController()
        aborted.abort(new Error('too late'))
        const { accepted } = fake
        assert.match((await rejection(factory.create(aborted.signal))).message, /too late/)
        assert.equal(fake.accepted, accepted)
      })
    })

    test('TLS and Unix sockets connect', { skip }, async () => {
      const { server } = await withRedis({}, { tls: { key: tlsKey, cert: tlsCertificate } })
      for (const options of [
        { port: server.port, tls: { ca: tlsCertificate, servername: 'localhost' } },
        { path: redis.server.unixsocket },
      ]) {
        const factory = factoryOf(Client, options)
        const client = await factory.create(noSignal())
        assert.equal(await factory.validate?.(client, noSignal()), true)
        await factory.destroy(client)
      }
      assert.match(
        (await failure({ port: server.port, tls: {} })).code ?? '',
        /SELF_SIGNED_CERT|UNABLE_TO_VERIFY/,
      )
      await server.stop()
    })

    test('a sentinel leads to the master, and neither a silent nor a dead one leaves a socket', async () => {
      await withFake(handshake, async master => {
        const address = `*2\r\n${bulk('127.0.0.1')}${bulk(String(master.port))}`
        const asked: Answer = ([command, what]) =>
          command !== 'SENTINEL' ? handshake([command ?? '']) : what?.startsWith('get') ? address : '*0\r\n'
        await withFake(asked, async sentinel => {
          const at = (port: number) => ({ sentinels: [{ host: '127.0.0.1', port }], name: 'mymaster' })
          const factory = factoryOf(Client, at(sentinel.port))
          const client = await factory.create(noSignal())
          assert.equal(client.stream.remotePort, master.port)
          await factory.destroy(client)
          await noTimers()
          const refused = await failure(at(1))
          assert.match(refused.message, /All sentinels are unreachable/)
          assert.match(String(refused.cause), /ECONNREFUSED/)
          assert.equal(heldTimers(), 0)
        })
      })
      await withFake(
        () => undefined,
        async ({ port, sockets }) => {
          const dial = new AbortController()
          await noTimers()
          const failed = failure({ sentinels: [{ host: '127.0.0.1', port }], name: 'mymaster' }, dial.signal)
          await eventually(() => sockets.size === 1)
          dial.abort()
          assert.match((await failed).message, /'mymaster' by way of its sentinels: given up/)
          await eventually(() => sockets.size === 0)
          assert.equal(heldTimers(), 0)
        },
      )
    })
  })
}
