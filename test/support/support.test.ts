import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname, extname } from 'node:path'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from './embedded-redis.ts'
import { addressOf, ping } from './ping.ts'
import { isAlive, until } from './processes.ts'
import { withRedis } from './redis.ts'
import { runRedisScript } from './redis-script.ts'
import { findRedis, startRedis } from './redis-server.ts'
import { tlsCertificate, tlsKey } from './tls.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

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
      const launcher = new URL(`./redis-server${extname(import.meta.url)}`, import.meta.url)
      const code = `const { startRedis } = await import(${JSON.stringify(launcher.href)})
        const { pid, unixsocket } = await startRedis({}, { unixsocket: true })
        console.log(pid + ' ' + unixsocket)
        process.stdin.on('data', () => { throw new Error('wanted') })`
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
        stdio: ['pipe', 'pipe', 'ignore'],
      })
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const [pid, path] = line.toString().trim().split(' ') as [string, string]
      assert.equal(existsSync(path), true)
      if (end === 'uncaught exception') child.stdin.write('now')
      else child.kill(end)
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
