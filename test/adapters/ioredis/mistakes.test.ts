import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { createRedisClusterPool, createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { eventually } from '../../support/factories.ts'
import { rejection } from '../../support/rejection.ts'
import { tlsCertificate, tlsKey } from '../../support/tls.ts'
import { butFor, startFakeRedis } from './fake-redis.ts'

/* What a newcomer passes to createRedisPool by mistake, and what a wrong server says: each is named. */

const MOST_CHARACTERS = 400

const messageOf = (target: unknown): string => {
  try {
    createRedisPool(target as string, { autostart: false })
  } catch (error) {
    const { message } = error as Error
    assert.ok(message.length < MOST_CHARACTERS)
    return message
  }
  return 'no error'
}

describe('a target that is none', () => {
  const TARGETS: readonly [name: string, target: unknown, message: RegExp][] = [
    [
      'an environment variable that is not set',
      undefined,
      /got undefined: is the environment variable set\?/,
    ],
    ['an environment variable that is empty', '', /got "": is the environment variable set\?/],
    [
      'a password with a #, which would cut the URL off there',
      'redis://:se#cret@db.example',
      /the URL contains a #: write # .* of a password percent-encoded/,
    ],
    ['the nodes of a cluster', { nodes: ['a:1'] }, /call createRedisClusterPool\(nodes, options\)/],
  ]
  for (const [name, target, message] of TARGETS) {
    test(name, () => {
      const text = messageOf(target)
      assert.match(text, message)
      assert.doesNotMatch(text, /se#cret/)
    })
  }

  test('a # in the path of a Unix socket is none', () =>
    assert.equal(messageOf('/run/redis#1.sock'), 'no error'))
})

test('a server that answers MOVED is named as a node of a cluster, once for the pool', async () => {
  const server = await startFakeRedis(butFor({ GET: '-MOVED 12182 10.0.0.2:6379\r\n' }))
  const pool = createRedisPool({ host: '127.0.0.1', port: server.port }, { name: 'moved' })
  const warnings: string[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', onWarning)
  for (const _ of [1, 2]) {
    const error = await rejection(pool.use(redis => redis.get('foo')))
    assert.match(error.message, /^MOVED 12182/)
  }
  await eventually(() => warnings.length > 0)
  process.off('warning', onWarning)
  assert.equal(warnings.length, 1)
  assert.match(
    warnings[0] ?? '',
    /pool 'moved': the server replied 'MOVED 12182 10\.0\.0\.2:6379'.* createRedisClusterPool/,
  )
  await pool.close()
  await server.stop()
})

test('a promise that a pool of a cluster is asked about, or given back, is named', async t => {
  const pool = createRedisClusterPool(['127.0.0.1:1'], { name: 'nodes' })
  t.after(() => pool.close())
  const warnings: string[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', onWarning)
  const promise = Promise.resolve() as never
  assert.equal(pool.isBorrowedResource(promise), false)
  assert.equal(pool.isBorrowedResource(undefined as never), false)
  await eventually(() => warnings.length > 0)
  process.off('warning', onWarning)
  assert.match(
    warnings.join('\n'),
    /^isBorrowedResource of pool 'nodes' was given a promise, and answered false\. Await/,
  )
  for (const method of ['release', 'destroy'] as const)
    assert.match((await rejection(pool[method](promise))).message, /was given a promise/)
})

describe('TLS on one side only', () => {
  test('a client without TLS at a server with TLS is told of rediss://', async t => {
    const server = createTlsServer({ key: tlsKey, cert: tlsCertificate })
    server.on('tlsClientError', () => {}).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const pool = createRedisPool({ host: '127.0.0.1', port }, { acquireTimeoutMillis: 1000 })
    t.after(() => pool.close())
    const { message } = await rejection(pool.acquire())
    assert.match(message, /If it expects TLS, use rediss:\/\/ or the option tls/)
  })

  test('a client with TLS at a server that closes on what is no command is told so', async t => {
    const server = createServer(socket => void socket.on('error', () => {}).on('data', () => socket.end()))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const pool = createRedisPool({ host: '127.0.0.1', port, tls: {} }, { acquireTimeoutMillis: 1000 })
    t.after(() => pool.close())
    const { message } = await rejection(pool.acquire())
    assert.match(message, /does not seem to speak TLS at this port: check the port, or leave TLS out/)
  })

  test('a client with TLS at a server that waits for the end of a command is told of TLS', async t => {
    const server = createServer(socket => void socket.on('error', () => {}).resume())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const options = { acquireTimeoutMillis: 1000, createTimeoutMillis: 150 }
    const pool = createRedisPool({ host: '127.0.0.1', port, tls: {} }, options)
    t.after(() => pool.close())
    const { message } = await rejection(pool.acquire())
    assert.match(message, /whether both sides use TLS/)
  })
})

test('a password that is missing is said in fewer than 400 characters, with what to do', async t => {
  const said =
    '-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option ' +
    'can be used to authenticate the client and select the RESP protocol version at the same time\r\n'
  const server = await startFakeRedis(() => said)
  t.after(() => server.stop())
  const pool = createRedisPool({ host: '127.0.0.1', port: server.port }, { name: 'orders-and-invoices' })
  t.after(() => pool.close())
  const { message } = await rejection(pool.acquire())
  assert.match(
    message,
    /NOAUTH HELLO must be called .*The server asks for a password: set the option password/,
  )
  assert.ok(message.length < MOST_CHARACTERS, message)
})
