import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { withRedis } from '../../support/redis.ts'
import { startRedis } from '../../support/redis-server.ts'
import { type Answer, bulk, handshake, withFake } from './fake-redis.ts'
import { factoryOf, noSignal, poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

/** How servers and proxies say that they do not have a command. */
const WORDS: Readonly<Record<string, (command: string) => string>> = {
  Redis: command => `ERR unknown command '${command}', with args beginning with: `,
  'Redis before 5': command => `ERR unknown command '${command.toLowerCase()}'`,
  Envoy: command => `ERR unsupported command '${command}'`,
  'an older Envoy': () => 'ERR invalid request',
  Codis: command => `ERR command '${command}' is not allowed`,
  'a managed service': command => `ERR Command is not available: '${command}'. See the documents`,
  'a gateway': command => `ERR ${command}: unimplemented`,
  'another gateway': command => `ERR access to '${command}' is forbidden`,
  'a third one': () => 'ERR illegal request',
  'another service': command => `ERR command '${command}' not support for normal user`,
  'an ACL': command => `NOPERM this user has no permissions to run the '${command.toLowerCase()}' command`,
}
const ASKED = ['INFO', 'CONFIG', 'CLIENT', 'HELLO', 'PING']

const warnings: { code?: string; message: string }[] = []
const listener = (warning: Error & { code?: string }): void => void warnings.push(warning)
process.on('warning', listener)
after(() => process.off('warning', listener))
const warned = async (code: string): Promise<string[]> => {
  await new Promise(resolve => setImmediate(resolve))
  return warnings.filter(warning => warning.code === code).map(({ message }) => message)
}

for (const { name, Client } of versions) {
  describe(`${name}: a server without ${ASKED.join(', ')}`, () => {
    for (const [whose, words] of Object.entries(WORDS)) {
      test(`in the words of ${whose}, is connected to, and what cannot be known is said once`, async () => {
        const answer: Answer = ([command = '', ...args]) => {
          if (command === 'AUTH') return '+OK\r\n'
          if (ASKED.includes(command)) return `-${words(command)}\r\n`
          return command === 'GET' ? bulk(String(args[0])) : handshake([command])
        }
        await withFake(answer, async fake => {
          warnings.length = 0
          const pool = poolOf(
            Client,
            { port: fake.port, password: 'secret' },
            { max: 3, acquireTimeoutMillis: 2000, validateAfterIdleMillis: 0 },
          )
          for (let round = 0; round < 2; round += 1) {
            const keys = await Promise.all([1, 2, 3].map(() => pool.use(client => client.get('key'))))
            assert.deepEqual(keys, ['key', 'key', 'key'])
          }
          assert.ok(pool.stats().totals.created <= 3, 'a PING that it does not know is an answer')
          assert.equal(pool.stats().totals.createErrors, 0)
          await pool.close()
          const told = await warned('LIFEGUARD_POOL_ROLE')
          assert.equal(told.length, 1)
          assert.match(
            told[0] ?? '',
            /reports its role neither in INFO nor in HELLO.*role: 'any' switches the check off/,
          )
          assert.ok(warnings.every(({ message }) => !message.includes('secret')))
        })
      })
    }

    test('that hangs up at what it does not know, as twemproxy, is connected to with fewer words', async () => {
      const known = ['AUTH', 'GET', 'SET', 'EXISTS']
      const seen = new Set<string>()
      const answer: Answer = ([command = '', ...args], socket) => {
        seen.add(command)
        if (!known.includes(command)) {
          socket.destroy()
          return undefined
        }
        if (command === 'EXISTS') return ':0\r\n'
        return command === 'GET' ? bulk(String(args[0])) : '+OK\r\n'
      }
      await withFake(answer, async fake => {
        warnings.length = 0
        const options = { port: fake.port, password: 'secret', connectionName: 'mine' }
        const pool = poolOf(Client, options, { max: 3, validateAfterIdleMillis: 0 })
        for (let round = 0; round < 3; round += 1) {
          const keys = await Promise.all([1, 2, 3].map(() => pool.use(client => client.get('key'))))
          assert.deepEqual(keys, ['key', 'key', 'key'])
        }
        // One that is quick may have served all, while the others were under way.
        assert.ok(pool.stats().totals.created <= 3)
        await pool.clear()
        const dialled = fake.accepted
        seen.clear()
        await pool.use(client => client.set('x', '1'))
        assert.equal(fake.accepted, dialled + 1, 'it is known by now')
        assert.deepEqual(
          [...seen].filter(command => !known.includes(command)),
          [],
        )
        await pool.close()
        assert.equal((await warned('LIFEGUARD_POOL_ROLE')).length, 1)
      })
    })

    test('that has answered a handshake before is none, also if it hangs up at the next ones', async () => {
      let cuts = 0
      const seen: string[] = []
      const answer: Answer = ([command = '', ...args], socket) => {
        seen.push(command)
        if (['HELLO', 'INFO'].includes(command) && cuts > 0) {
          cuts -= 1
          socket.destroy()
          return undefined
        }
        return command === 'GET' ? bulk(String(args[0])) : handshake([command])
      }
      await withFake(answer, async fake => {
        warnings.length = 0
        const pool = poolOf(Client, { port: fake.port }, { max: 2, validateAfterIdleMillis: 0 })
        assert.equal(await pool.use(client => client.get('key')), 'key')
        await pool.clear()
        cuts = 2
        assert.equal(await pool.use(client => client.get('key')), 'key')
        assert.equal(cuts, 0)
        assert.equal(await pool.use(client => client.get('key')), 'key')
        assert.ok(!seen.includes('EXISTS'), 'no connection has other checks than before')
        await pool.close()
        assert.deepEqual(await warned('LIFEGUARD_POOL_ROLE'), [])
      })
    })

    test('that hangs up at everything is none: the connect fails as before', async () => {
      const hangUp: Answer = (_, socket) => {
        socket.destroy()
        return undefined
      }
      await withFake(hangUp, async ({ port }) => {
        const pool = poolOf(Client, { port }, { acquireTimeoutMillis: 400 })
        const error = await rejection(pool.acquire())
        assert.match(String((error as { cause?: unknown }).cause), /closed|ECONNRESET|EPIPE/)
        assert.equal(pool.stats().totals.created, 0)
        await pool.close()
      })
    })

    test('whose commands are renamed, really', { skip }, async () => {
      const renamed = ['INFO ""', 'CONFIG ""', 'CLIENT ""', 'HELLO ""']
      const server = await startRedis({ 'rename-command': renamed })
      const pool = poolOf(Client, { port: server.port }, { acquireTimeoutMillis: 2000 })
      assert.equal(await pool.use(client => client.set('x', '1')), 'OK')
      await pool.close()
      await server.stop()
    })

    test('that has INFO but says nothing of a role there, is asked by HELLO', async () => {
      const answer: Answer = ([command = '', ...args]) => {
        if (command === 'INFO') return bulk('# proxy\r\nbackends:3\r\n')
        if (command === 'HELLO' && args.length === 0) return `*2\r\n${bulk('role')}${bulk('replica')}`
        return handshake([command, ...args])
      }
      await withFake(answer, async ({ port }) => {
        const pool = poolOf(Client, { port }, { acquireTimeoutMillis: 400 })
        const error = await rejection(pool.acquire())
        assert.match(String((error as { cause?: unknown }).cause), /the server is a replica/)
        await pool.close()
      })
    })

    test('is not taken for one whose errors speak against the connection', async () => {
      for (const reply of [
        'LOADING Redis is loading',
        'NOAUTH Authentication required.',
        'MASTERDOWN no link',
      ]) {
        const answer: Answer = ([command = '']) =>
          command === 'INFO' ? `-${reply}\r\n` : handshake([command])
        await withFake(answer, async ({ port }) => {
          const pool = poolOf(Client, { port }, { acquireTimeoutMillis: 400 })
          await rejection(pool.acquire())
          assert.equal(pool.stats().totals.created, 0, reply)
          await pool.close()
        })
      }
    })
  })

  describe(`${name}: what the server says against a connection`, () => {
    const refused = async (options: object): Promise<Error> => {
      const pool = poolOf(Client, options, { acquireTimeoutMillis: 400 })
      try {
        return (await rejection(pool.acquire())) as Error
      } finally {
        await pool.close()
      }
    }

    test('reaches the error, also where it hangs up before it is asked anything', async () => {
      const words = [
        'ERR max number of clients reached',
        'DENIED Redis is running in protected mode because protected mode is enabled',
        'ERR max number of clients + cluster connections reached',
      ]
      for (const said of words) {
        const hangUp: Answer = (_, socket) => {
          socket.end(`-${said}\r\n`)
          return undefined
        }
        await withFake(hangUp, async ({ port }) => {
          const error = await refused({ port })
          assert.ok(error.message.includes(said), error.message)
        })
      }
    })

    test('is read even if a write fails before it: a full server, thirty times', { skip }, async () => {
      const server = await startRedis({ maxclients: '10' })
      const others = Array.from({ length: 10 }, () => new Redis(server.port, { retryStrategy: null }))
      for (const client of others) client.on('error', () => {})
      await Promise.all(others.map(client => client.ping()))
      for (let times = 0; times < 30; times += 1) {
        const pool = poolOf(Client, { port: server.port, db: times % 2 }, { acquireTimeoutMillis: 10 })
        const failures: string[] = []
        pool.on('factoryCreateError', error => failures.push(String(error)))
        await rejection(pool.acquire())
        await pool.close()
        for (const failure of failures) assert.match(failure, /max number of clients reached|given up/)
      }
      for (const client of others) client.disconnect()
      await server.stop()
    })

    test('a wrong password, database or user is permanent, with what to do; a full or absent server is not', {
      skip,
    }, async () => {
      const server = await startRedis({ requirepass: 'right' })
      const admin = new Redis(server.port, { password: 'right' })
      await admin.call('ACL', 'SETUSER', 'reader', 'on', '>right', '~*', '+get', '+client')
      const { port } = server
      const cases: [object, RegExp][] = [
        [{ port, password: 'wrong' }, /WRONGPASS.*username or the password/s],
        [{ port }, /NOAUTH.*set the option password/s],
        [{ port, password: 'right', db: 99 }, /DB index is out of range.*option db/s],
        [{ port, username: 'reader', password: 'right', db: 1 }, /NOPERM.*connect as another/s],
      ]
      for (const [options, expected] of cases) {
        const factory = factoryOf(Client, options)
        const error = await rejection(factory.create(noSignal()))
        assert.match(`${error.message} ${factory.isPermanent?.(error)}`, expected)
      }
      const pool = poolOf(Client, { port, password: 'wrong' }, { acquireTimeoutMillis: 20_000 })
      const error = await rejection(pool.acquire())
      assert.match(error.message, /WRONGPASS.*Correct the username or the password/s)
      assert.equal(pool.stats().totals.createErrors, 1, 'told after the first')
      await pool.close()
      for (const options of [{ port: 1 }, { port, password: 'right', role: 'replica' }]) {
        const factory = factoryOf(Client, options)
        const error = await Promise.resolve(factory.create(noSignal())).catch(reason => reason)
        assert.equal(factory.isPermanent?.(error), false)
        if (!(error instanceof Error)) await factory.destroy(error)
      }
      admin.disconnect()
      await server.stop()
    })
  })
}
