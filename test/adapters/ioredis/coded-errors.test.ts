import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPoolError } from '../../../src/api/errors.ts'
import { rejection } from '../../support/rejection.ts'
import { readSources } from '../../support/sources.ts'
import { type Answer, bulk, handshake, withFake } from './fake-redis.ts'
import { poolOf, versions } from './versions.ts'

/* Every error that a caller gets from this package has a code. Those that ioredis makes keep their class and message. */

const silent: Answer = command => (/GET|SUBSCRIBE/.test(command[0] ?? '') ? undefined : handshake(command))

for (const { name, Client } of versions) {
  describe(`${name}: a caller can tell errors of a handle by their codes`, () => {
    test('a command that is refused before it is sent has a code, and the pool', async () => {
      await withFake(silent, async ({ port }) => {
        const pool = poolOf(Client, { port }, { name: 'orders' })
        const client = await pool.acquire()
        const subscribed = client.subscribe('news').catch(() => {})
        for (const refused of [client.get('x'), client.connect()]) {
          const error = await rejection(refused)
          assert.ok(isPoolError(error, 'POOL_COMMAND_REFUSED'), String(error))
          assert.equal(error.pool, 'orders')
        }
        assert.equal((await rejection(client.connect())).message, 'Redis is already connecting/connected')
        await pool.destroy(client)
        await subscribed
        await pool.close()
      })
    })

    test('commands whose connection is lost keep the error of ioredis; its cause has a code, the pool and the server', async () => {
      await withFake(silent, async fake => {
        const pool = poolOf(Client, { port: fake.port }, { name: 'orders' })
        const client = await pool.acquire()
        const lost = Promise.all([rejection(client.get('a')), rejection(client.get('b'))])
        while (fake.sockets.size === 0) await client.ping()
        for (const socket of fake.sockets) socket.resetAndDestroy()
        for (const error of await lost) {
          assert.deepEqual([error.constructor, error.message], [Error, 'Connection is closed.'])
          const { cause } = error
          assert.ok(isPoolError(cause, 'POOL_CONNECTION_LOST'), String(cause))
          assert.equal(cause.pool, 'orders')
          assert.match(
            cause.message,
            new RegExp(`^pool 'orders': the connection to [\\w.:\\[\\]]+:${fake.port} `),
          )
          assert.match(cause.message, /may have run/)
        }
        const never = await rejection(client.get('c'))
        assert.deepEqual([never.constructor, never.message], [Error, 'Connection is closed.'])
        assert.ok(isPoolError(never.cause, 'POOL_CONNECTION_LOST'))
        assert.match(
          never.cause.message,
          /^GET was not sent: its connection, of pool 'orders', has been closed/,
        )
        await pool.release(client)
        await pool.close()
      })
    })

    test('so do those that wait as their loan ends, and those behind a reply that is none', async () => {
      const broken: Answer = command =>
        command[0] === 'GET' ? '*x\r\n' : silent(command, undefined as never)
      await withFake(broken, async ({ port }) => {
        const pool = poolOf(Client, { port }, { name: 'orders' })
        const left = await pool.use(client => ({ popped: rejection(client.subscribe('news')) }))
        assert.ok(isPoolError((await left.popped).cause, 'POOL_CONNECTION_LOST'))
        await pool.use(async client => {
          const told: unknown[] = []
          client.on('error', error => told.push(error))
          assert.ok(isPoolError((await rejection(client.get('x'))).cause, 'POOL_CONNECTION_LOST'))
          assert.ok(isPoolError(told[0], 'POOL_BAD_REPLY'), String(told[0]))
        })
        await pool.close()
      })
    })

    test('a page of a scan that is none has a code, and the pool', async () => {
      await withFake(
        command => (command[0] === 'SCAN' ? bulk('text') : handshake(command)),
        async ({ port }) => {
          const pool = poolOf(Client, { port }, { name: 'orders' })
          const error = await rejection(pool.use(client => client.scanStream().toArray()))
          assert.ok(isPoolError(error, 'POOL_BAD_REPLY') && error.pool === 'orders', String(error))
          await pool.close()
        },
      )
    })
  })
}

/** Errors without a code, which no caller gets: what they are for. */
const PLAIN: Readonly<Record<string, string>> = {
  'client/lost-commands.ts': 'the error of ioredis itself',
  'handle/custom-commands.ts': 'for ioredis',
  'handle/client-lender.ts': 'why a connection was not cleaned: in the detail of its event',
  'client/role.ts': 'as the one above',
  'failover/sentinels.ts': 'a cause: what a sentinel says',
  'failover/direct.ts': 'a cause, for ioredis',
  'failover/sentinel-watch.ts': 'ends a connection to a sentinel',
  'cluster/node-waits.ts': 'ends a wait, which goes on at another node',
  'client/credentials.ts': 'the cause of a POOL_CONNECT_FAILED, and the reason of a signal of our own',
  'cluster/node-link.ts': 'the reason of a signal of our own',
  'cluster/questions.ts': 'the same',
  'cluster/follow.ts': 'the cause of a POOL_MOVED',
}

test('no file makes errors without a code, but those which no caller gets', () => {
  const room = 'adapters/ioredis/'
  const found = readSources()
    .filter(({ name, code }) => name.startsWith(room) && /new (?:Type|Range)?Error\(/.test(code))
    .map(({ name }) => name.slice(room.length))
  assert.deepEqual(found.sort(), Object.keys(PLAIN).sort())
})
