import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { socketFactory } from '../../../src/adapters/net/factory.ts'
import { checkedTarget, type SocketTarget } from '../../../src/adapters/net/target.ts'
import { isPoolError } from '../../../src/api/errors.ts'
import { closeSocket, isHealthy } from '../../../src/sockets/socket-state.ts'
import { eventually, settledWithin, turns } from '../../support/factories.ts'
import {
  type FaultProcess,
  type FaultServerOptions,
  startFaultServerProcess,
} from '../../support/fault-server.ts'
import { countSockets } from '../../support/fds.ts'
import { kernelStates } from '../../support/kernel.ts'
import { tlsCertificate } from '../../support/tls.ts'
import { noSignal, rejection } from '../ioredis/versions.ts'

const factoryOf = (target: SocketTarget) => socketFactory(checkedTarget(target))
const create = (target: SocketTarget, signal = noSignal()) => factoryOf(target).create(signal)
const failure = (target: SocketTarget, signal?: AbortSignal) => rejection(create(target, signal))
const tls = { ca: tlsCertificate, servername: 'localhost' }
const noProc = countSockets() === undefined && 'there is no /proc'

// Before any test begins: a server that starts has a socket to this process, and sockets are counted.
const silent = await startFaultServerProcess()
const secure = await startFaultServerProcess({ tls: {} })
// Nobody listens there. A free port that the kernel chose may be another test's a moment later.
const refusing = { port: 1 }
const closing = createServer(socket => socket.once('data', () => socket.end()).on('error', () => {})).listen(
  0,
)
const resetting = createServer(socket => socket.once('data', () => socket.resetAndDestroy())).listen(0)
after(async () => {
  closing.close()
  resetting.close()
  await Promise.all([silent.stop(), secure.stop()])
})

/** The servers of one test, stopped however it ends: a server that is left keeps this process. */
const started: FaultProcess[] = []
afterEach(() => Promise.all(started.splice(0).map(server => server.stop())))
async function startServer(options?: FaultServerOptions): Promise<FaultProcess> {
  // A process of its own: a worker's sockets would be counted among ours.
  const server = await startFaultServerProcess(options)
  started.push(server)
  return server
}

const kinds: readonly { kind: string; server: FaultServerOptions; tls?: typeof tls }[] = [
  { kind: 'TCP', server: {} },
  { kind: 'TLS 1.2', server: { tls: { version: '1.2' } }, tls },
  { kind: 'TLS 1.3', server: { tls: { version: '1.3' } }, tls },
  { kind: 'a Unix socket', server: { path: join(tmpdir(), `lifeguard-net-${process.pid}.sock`) } },
]

for (const { kind, server: options, tls } of kinds) {
  describe(`a connection over ${kind}`, () => {
    const start = async (more: FaultServerOptions = {}) => {
      const server = await startServer({ ...options, ...more })
      const { path, host, port } = server
      return { server, target: { ...(path ? { path } : { host, port }), ...(tls && { tls }) } }
    }

    test('answers, and is closed in the tick of its destroy', async () => {
      const { server, target } = await start({ mode: 'echo' })
      const factory = factoryOf(target)
      const socket = await factory.create(noSignal())
      assert.equal(socket instanceof TLSSocket, tls !== undefined)
      assert.equal(factory.validate?.(socket, noSignal()), true)
      assert.equal(factory.socket?.(socket), socket)
      socket.write('hello')
      assert.equal(String((await once(socket, 'data'))[0]), 'hello')
      // TLS says that it has written in a later turn, and the answer may be there before that.
      await eventually(() => factory.busy?.(socket) === false)
      const before = countSockets()?.sockets
      const ended = [factory.destroy(socket), factory.destroy(socket)]
      if (before !== undefined) assert.equal(countSockets()?.sockets, before - 1)
      await Promise.all(ended)
      assert.equal(factory.validate?.(socket, noSignal()), false)
      await server.waitForClosed(1)
    })

    test('that has more to send than the peer reads is ended all the same', async () => {
      const { server, target } = await start()
      const factory = factoryOf(target)
      const socket = await factory.create(noSignal())
      await server.waitForConnections(1)
      await server.pause(0)
      socket.write(Buffer.alloc(16 * 2 ** 20))
      await turns(5)
      await server.fin(0)
      await turns(5)
      assert.equal(factory.busy?.(socket), true)
      const states = kernelStates(socket)
      await factory.destroy(socket)
      // A plain close leaves the kernel a connection in FIN_WAIT1 or LAST_ACK that nobody owns.
      assert.deepEqual(await states(), [])
      assert.equal(countSockets()?.tcp.CLOSE_WAIT ?? 0, 0)
    })

    test('that is ended at any moment, twice, and in the middle of a write, crashes nothing', async () => {
      const { target } = await start()
      const factory = factoryOf(target)
      const before = countSockets()?.sockets
      for (let round = 0; round < 60; round += 1) {
        const dial = new AbortController()
        const made = Promise.resolve(factory.create(dial.signal)).then(
          async socket => {
            socket.write(Buffer.alloc((round % 3) * 2 ** 21))
            await turns(round % 4)
            if (round % 2) closeSocket(socket)
            await factory.destroy(socket)
          },
          () => {},
        )
        await turns(round % 12)
        if (round % 5 === 0) dial.abort()
        await made
      }
      await eventually(() => (countSockets()?.sockets ?? 0) <= (before ?? 0))
    })

    test('that dies while nobody listens brings nothing down', async () => {
      const { server, target } = await start()
      const socket = await create(target)
      await server.waitForConnections(1)
      await server.rst(0)
      socket.resume()
      await eventually(() => socket.destroyed)
      assert.equal(isHealthy(socket), false)
    })
  })
}

test('an unread byte is not healthy', async () => {
  const server = await startServer({ mode: 'greeting' })
  const socket = await create({ port: server.port, host: server.host })
  assert.equal(isHealthy(socket), true)
  await eventually(() => socket.readableLength > 0)
  assert.equal(isHealthy(socket), false)
  await factoryOf({ port: 1 }).destroy(socket)
})

describe('a failing connect', { skip: noProc }, () => {
  const portOf = (listener: typeof closing) => (listener.address() as { port: number }).port

  test('is reported as itself', async () => {
    const host = '127.0.0.1'
    assert.equal((await failure({ port: refusing.port, host })).code, 'ECONNREFUSED')
    assert.equal((await failure({ path: '/nowhere/to.sock' })).code, 'ENOENT')
    assert.equal((await failure({ host: 'nowhere.invalid', port: 1 })).code, 'ENOTFOUND')
    assert.equal((await failure({ host, port: secure.port, tls: true })).code, 'DEPTH_ZERO_SELF_SIGNED_CERT')
    const stranger = { ...tls, servername: 'example.org' }
    assert.equal(
      (await failure({ host, port: secure.port, tls: stranger })).code,
      'ERR_TLS_CERT_ALTNAME_INVALID',
    )
    for (const listener of [closing, resetting]) {
      assert.equal((await failure({ host, port: portOf(listener), tls })).code, 'ECONNRESET')
    }
    const { code } = await failure({ host, port: secure.port, tls: { ciphers: 'NONSENSE' } })
    assert.equal(code, 'ERR_SSL_NO_CIPHER_MATCH')
  })

  test('a host is checked against the certificate as by tls.connect', async () => {
    const socket = await create({ host: 'localhost', port: secure.port, tls: { ca: tlsCertificate } })
    await factoryOf({ port: 1 }).destroy(socket)
  })

  test('called off says how far it had come', async () => {
    const lookup = () => {}
    const dial = new AbortController()
    const sockets: Socket[] = []
    const onSocket = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket)
    subscribe('net.client.socket', onSocket)
    const dialling = failure({ host: 'slow.example', port: 1, lookup }, dial.signal)
    const shaking = failure({ host: '127.0.0.1', port: silent.port, tls }, dial.signal)
    unsubscribe('net.client.socket', onSocket)
    await eventually(() => sockets.some(socket => !socket.connecting))
    // Once more: what follows on `connect` is under way.
    await turns(1)
    dial.abort(new Error('time is up'))
    for (const [failed, stage] of [
      [await dialling, /slow\.example:1: given up \(time is up\) before it was connected/],
      [await shaking, /given up \(time is up\) after TCP was connected, during the TLS handshake/],
    ] as const) {
      assert.ok(isPoolError(failed, 'POOL_CONNECT_FAILED'))
      assert.match(failed.message, stage)
      assert.equal(failed.cause, dial.signal.reason)
    }
    assert.equal((await failure({ port: silent.port }, dial.signal)).message, 'time is up')
  })

  test('called off between TCP and TLS does not go on for ever', async () => {
    const dial = new AbortController()
    const onSocket = (message: unknown): void => {
      const { socket } = message as { socket: Socket }
      // After the listeners of the adapter, before what it does next.
      process.nextTick(() => socket.once('connect', () => dial.abort()))
    }
    subscribe('net.client.socket', onSocket)
    const failed = failure({ host: '127.0.0.1', port: silent.port, tls }, dial.signal)
    unsubscribe('net.client.socket', onSocket)
    assert.equal((await settledWithin(failed, 1000)).state, 'fulfilled')
  })

  test('hundreds in a row leave no socket', { timeout: 60_000 }, async () => {
    const host = '127.0.0.1'
    const targets: SocketTarget[] = [
      { host, port: refusing.port },
      { host, port: secure.port, tls: true },
      { host, port: secure.port, tls: { ciphers: 'NONSENSE' } },
      { host, port: silent.port, tls },
      { path: '/nowhere/to.sock' },
    ]
    const failAll = async () => {
      const dial = new AbortController()
      const impatient = setTimeout(() => dial.abort(), 15)
      await Promise.all(targets.map(target => failure(target, dial.signal)))
      clearTimeout(impatient)
    }
    await failAll()
    await turns(5)
    const before = countSockets()
    for (let round = 0; round < 60; round += 1) await failAll()
    await turns(2)
    assert.deepEqual(countSockets(), before)
  })

  test('called off at any moment leaves no socket', async () => {
    const before = countSockets()?.sockets
    for (const target of [
      { host: 'localhost', port: secure.port, tls: { ca: tlsCertificate } },
      { host: 'localhost', port: silent.port },
    ]) {
      const factory = factoryOf(target)
      for (const moment of [() => nextTurn(), () => Promise.resolve()]) {
        for (let steps = 0; steps < 30; steps += 1) {
          const dial = new AbortController()
          const made = Promise.resolve(factory.create(dial.signal)).then(
            socket => factory.destroy(socket),
            error => assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'), error),
          )
          for (let step = 0; step < steps; step += 1) await moment()
          dial.abort()
          assert.equal((await settledWithin(made, 1000)).state, 'fulfilled')
        }
      }
    }
    // A lookup of a name that nobody waits for any more has a socket of its own for a moment.
    await eventually(() => countSockets()?.sockets === before)
  })
})
