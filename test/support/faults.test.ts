import assert from 'node:assert/strict'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { connectFaultClient, kernelTruth } from './fault-client.ts'
import { type FaultServerOptions, startFaultServer, startFaultServerProcess } from './fault-server.ts'
import { countSockets } from './fds.ts'
import { ping } from './ping.ts'
import { isAlive } from './processes.ts'

const socketPath = (name: string) => join(tmpdir(), `lifeguard-fault-${process.pid}-${name}.sock`)

/** How often each fault is tried: once would show a race at times only. */
const ROUNDS = process.env.LIFEGUARD_LONG ? 50 : 20

const transports: Record<string, FaultServerOptions> = {
  TCP: {},
  'TLS 1.2': { tls: { version: '1.2' } },
  'TLS 1.3': { tls: { version: '1.3' } },
  'TLS 1.3 without close_notify': { tls: { version: '1.3', closeNotify: false } },
  'TLS 1.2 without close_notify': { tls: { version: '1.2', closeNotify: false } },
  'a Unix socket': { path: socketPath('worker') },
}

for (const [name, options] of Object.entries(transports)) {
  describe(`the fault server on ${name}`, () => {
    // A close_notify lies in front of the FIN: that is what the kernel has for the reader.
    const endsWithData = options.tls !== undefined && options.tls.closeNotify !== false

    test('a FIN lies in the kernel when fin() returns, and the event loop does not know', async () => {
      const server = await startFaultServer(options)
      for (let i = 0; i < ROUNDS; i++) {
        const { socket, raw } = await connectFaultClient(server)
        server.waitForConnections(i + 1)
        if (options.path === undefined) assert.equal(server.indexOf(raw.localPort as number), i)
        assert.equal(kernelTruth(raw), 'healthy')
        server.fin(i)
        assert.equal(kernelTruth(raw), endsWithData ? 'data' : 'fin')
        assert.equal(socket.destroyed || socket.readableEnded, false)
        socket.destroy()
        raw.destroy()
      }
      server.waitForClosed(ROUNDS)
      await server.stop()
    })

    test('a reset lies in the kernel when rst() returns', async () => {
      const server = await startFaultServer(options)
      for (let i = 0; i < ROUNDS; i++) {
        const { socket, raw } = await connectFaultClient(server)
        server.waitForConnections(i + 1)
        assert.equal(kernelTruth(raw), 'healthy')
        if (options.path !== undefined) {
          // A Unix socket resets only what it has not read.
          server.pause(i)
          await new Promise(resolve => socket.write('unread', resolve))
        }
        server.rst(i)
        assert.equal(kernelTruth(raw), 'reset')
        socket.destroy()
        raw.destroy()
      }
      assert.equal(server.closed(), ROUNDS)
      await server.stop()
    })

    test('data and the FIN behind it arrive together', async () => {
      const server = await startFaultServer(options)
      const { socket, raw } = await connectFaultClient(server)
      server.waitForConnections(1)
      server.dataThenFin(0, 'xyz')
      if (options.tls === undefined) {
        const seen = [1, 2, 3, 4].map(() => kernelTruth(raw))
        assert.deepEqual(seen, ['data', 'data', 'data', 'fin'])
      } else {
        const chunks: Buffer[] = []
        socket.on('data', chunk => chunks.push(chunk))
        await once(socket, 'end')
        assert.equal(Buffer.concat(chunks).toString(), 'xyz')
      }
      socket.destroy()
      await server.stop()
    })

    test('echo, greeting and finAll do what they say', async () => {
      const server = await startFaultServer({ ...options, mode: 'echo' })
      const clients = [await connectFaultClient(server), await connectFaultClient(server)]
      server.waitForConnections(2)
      clients[0]?.socket.write('hello')
      assert.deepEqual(await once(clients[0]!.socket, 'data'), [Buffer.from('hello')])
      assert.equal(server.received(0), 5)
      server.finAll()
      for (const { socket, raw } of clients) {
        assert.notEqual(kernelTruth(raw), 'healthy')
        socket.destroy()
      }
      assert.equal(server.connections(), 2)
      await server.stop()

      const greeter = await startFaultServer({ ...options, mode: 'greeting', greeting: 'welcome' })
      const { socket } = await connectFaultClient(greeter)
      assert.deepEqual(await once(socket, 'data'), [Buffer.from('welcome')])
      socket.destroy()
      await greeter.stop()
    })
  })
}

describe('the fault server', () => {
  test('names the operation that cannot be done', async () => {
    const server = await startFaultServer()
    assert.throws(() => server.fin(0), /fin: no connection 0 of 0/)
    assert.equal(server.connections(), 0)
    await server.stop()
  })

  test('a paused connection takes no more than the kernel buffers', async () => {
    const server = await startFaultServer()
    const { socket } = await connectFaultClient(server)
    server.waitForConnections(1)
    server.pause(0)
    socket.write(Buffer.alloc(16 << 20))
    await new Promise(resolve => setImmediate(resolve))
    assert.ok(socket.writableLength > 0)
    assert.equal(server.received(0), 0)
    socket.destroy()
    await server.stop()
  })

  test('a refusing server refuses', async () => {
    const server = await startFaultServer()
    server.refuse()
    await assert.rejects(ping({ host: server.host, port: server.port, tls: false }), { code: 'ECONNREFUSED' })
    await server.stop()
  })

  test('in a process of its own it adds nothing to the sockets of this one', async t => {
    const server = await startFaultServerProcess()
    const before = countSockets()
    const { socket } = await connectFaultClient(server, { allowHalfOpen: true })
    await server.waitForConnections(1)
    await server.fin(0)
    const half = countSockets()
    if (before === undefined || half === undefined) t.diagnostic('no /proc: file descriptors not counted')
    else {
      assert.equal(half.sockets, before.sockets + 1)
      assert.equal(half.tcp.CLOSE_WAIT, 1)
    }
    socket.destroy()
    assert.deepEqual(countSockets(), before)
    await server.waitForClosed(1)
    await server.stop()
    assert.equal(isAlive(server.pid), false)
  })
})
