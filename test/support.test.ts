import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../examples/support/embedded-redis.ts'
import { addressOf, ping } from '../examples/support/ping.ts'
import { findRedis, startRedis } from '../examples/support/redis-server.ts'
import { connectFaultClient, kernelTruth } from './support/fault-client.ts'
import { type FaultServerOptions, startFaultServer, startFaultServerProcess } from './support/fault-server.ts'
import { countSockets } from './support/fds.ts'
import { withRedis } from './support/redis.ts'
import { runRedisScript } from './support/redis-script.ts'
import { tlsCertificate, tlsKey } from './support/tls.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A process that has ended but whose parent has not taken note yet still counts for kill().
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ''
    return !/\) Z /.test(stat)
  } catch {
    return false
  }
}

/** For what another process does in its own time. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!condition()) {
    assert.ok(performance.now() < deadline, `not within 10 s: ${what}`)
    await delay(5)
  }
}

describe('the launcher of redis-server', { skip }, () => {
  test('a stopped server leaves neither its process nor its directory', async () => {
    const server = await startRedis({}, { unixsocket: true })
    const path = server.unixsocket as string
    assert.equal(await ping({ path }), '+PONG')
    await server.stop()
    await server.stop()
    assert.equal(isAlive(server.pid), false)
    assert.equal(existsSync(path), false)
  })

  test('a server that is stopped by SIGSTOP ends all the same', async () => {
    const server = await startRedis()
    process.kill(server.pid, 'SIGSTOP')
    await server.stop()
    assert.equal(isAlive(server.pid), false)
  })

  for (const end of ['SIGKILL', 'SIGTERM', 'uncaught exception'] as const) {
    test(`a process that ends by ${end} leaves neither server nor files behind`, async () => {
      const launcher = new URL(`../examples/support/redis-server${extname(import.meta.url)}`, import.meta.url)
      const code = `const { startRedis } = await import(${JSON.stringify(launcher.href)})
        const { pid, unixsocket } = await startRedis({}, { unixsocket: true })
        console.log(pid + ' ' + unixsocket)
        if (${end === 'uncaught exception'}) throw new Error('wanted')
        setInterval(() => {}, 1000)`
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const [pid, path] = line.toString().trim().split(' ') as [string, string]
      assert.equal(existsSync(path), true)
      if (end !== 'uncaught exception') child.kill(end)
      await until(() => child.exitCode !== null || child.signalCode !== null, 'the launcher ends')
      await until(() => !isAlive(Number(pid)), 'its server ends')
      await until(() => !existsSync(dirname(dirname(path))), 'its directory is removed')
    })
  }

  test('directives with spaces and repeated ones reach the server', async t => {
    const server = await startRedis({ 'rename-command': ['FLUSHALL ""', 'CONFIG HIDDEN'], timeout: '7' })
    t.after(server.stop)
    const client = new Redis(server.url)
    t.after(() => client.disconnect())
    assert.deepEqual(await client.call('HIDDEN', 'GET', 'timeout'), ['timeout', '7'])
    await assert.rejects(client.flushall(), /unknown command/)
    await server.stop()
  })

  test('a server that refuses its arguments says why', async () => {
    await assert.rejects(startRedis({ nonsense: 'yes' }), /nonsense/)
  })

  test('a server can come back on the port of an earlier one', async () => {
    const first = await startRedis()
    await first.stop()
    const second = await startRedis({ port: String(first.port) })
    assert.equal(second.port, first.port)
    await second.stop()
  })

  test('a server behind TLS answers', async t => {
    const server = await startRedis({}, { tls: { key: tlsKey, cert: tlsCertificate } })
    const client = new Redis(server.url, { tls: { ca: tlsCertificate, servername: 'localhost' } })
    t.after(() => client.disconnect())
    assert.equal(await client.ping(), 'PONG')
    await server.stop()
  })

  test('REDIS_URL comes first, and an unreachable one is named with the remedy', async () => {
    const before = process.env.REDIS_URL
    try {
      process.env.REDIS_URL = redis.url
      const found = await findRedis()
      assert.equal(found.url, redis.url)
      assert.match(found.how, /REDIS_URL/)
      process.env.REDIS_URL = 'redis://:secret@127.0.0.1:1'
      await assert.rejects(findRedis(), /no Redis answers at 127\.0\.0\.1:1 .*unset REDIS_URL/)
    } finally {
      if (before === undefined) delete process.env.REDIS_URL
      else process.env.REDIS_URL = before
    }
  })
})

describe('the embedded server', () => {
  for (const version of [5, 6] as const) {
    for (const protocol of [2, 3] as const) {
      if (version === 5 && protocol === 3) continue
      test(`answers ioredis ${version}, RESP${protocol}, as Redis does`, async t => {
        const embedded = await startEmbeddedRedis()
        t.after(embedded.stop)
        await runRedisScript(embedded.url, version, protocol)
        await until(() => embedded.clients() === 0, 'all clients are gone')
      })
      // The same script: otherwise it would only tell what the embedded server happens to do.
      test(`is held to what a real one answers ioredis ${version}, RESP${protocol}`, { skip }, () =>
        runRedisScript(redis.url, version, protocol),
      )
    }
  }

  test('a password is asked for', async t => {
    const embedded = await startEmbeddedRedis({ password: 'open' })
    t.after(embedded.stop)
    assert.match(await ping(addressOf(embedded.url)), /^-NOAUTH/)
    const client = new Redis(embedded.url, { password: 'open' })
    t.after(() => client.disconnect())
    assert.equal(await client.ping(), 'PONG')
    const stranger = new Redis(embedded.url, {
      password: 'wrong',
      retryStrategy: () => null,
      lazyConnect: true,
    })
    const [[error]] = await Promise.all([once(stranger, 'error'), stranger.connect().catch(() => {})])
    assert.match(String(error), /WRONGPASS/)
    stranger.disconnect()
  })

  test('serves as the last resort of the examples', async () => {
    const embedded = await startEmbeddedRedis()
    assert.equal(await ping(addressOf(embedded.url)), '+PONG')
    await embedded.stop()
    await assert.rejects(ping(addressOf(embedded.url)))
  })
})

const socketPath = (name: string) => join(tmpdir(), `lifeguard-fault-${process.pid}-${name}.sock`)

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
      for (let i = 0; i < 50; i++) {
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
      server.waitForClosed(50)
      await server.stop()
    })

    test('a reset lies in the kernel when rst() returns', async () => {
      const server = await startFaultServer(options)
      for (let i = 0; i < 50; i++) {
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
      assert.equal(server.closed(), 50)
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
