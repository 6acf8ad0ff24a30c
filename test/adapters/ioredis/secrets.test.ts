import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, describe, test } from 'node:test'
import { inspect, promisify } from 'node:util'
import type { Redis } from 'ioredis'
import { withRedis } from '../../support/redis.ts'
import { startRedis } from '../../support/redis-server.ts'
import { type Answer, handshake, withFake } from './fake-redis.ts'
import { poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

const SECRET = 'hunter2-s3cret'
/** All there is of it, hidden fields, causes and stacks included. */
const everything = (value: unknown): string =>
  inspect(value, { depth: 20, showHidden: true, maxStringLength: null })
const isFree = (value: unknown, what: string): void =>
  assert.ok(!everything(value).includes(SECRET), `${what}: ${everything(value)}`)

for (const { name, Client } of versions) {
  describe(`${name}: a password`, () => {
    /** Fails to connect, and looks at all that the pool says about it. */
    const failing = async (
      options: object,
      poolOptions: object = {},
    ): Promise<Error & { cause?: unknown }> => {
      const pool = poolOf(Client, options, { acquireTimeoutMillis: 300, ...poolOptions })
      const told: unknown[] = []
      for (const event of ['factoryCreateError', 'breaker', 'destroy', 'dirty'] as const)
        pool.on(event, (what: unknown) => told.push(what))
      const error = await rejection(pool.acquire())
      await pool.close()
      isFree(error, 'the error')
      assert.ok(told.length > 0)
      isFree(told, 'events')
      isFree(pool.report(), 'the report')
      isFree(pool.stats(), 'stats')
      return error
    }

    test('that is wrong stands in no error, event or report', { skip }, async () => {
      const server = await startRedis({ requirepass: 'right' })
      try {
        for (const credentials of [{ password: SECRET }, { username: 'me', password: SECRET }]) {
          const error = await failing({ port: server.port, ...credentials })
          assert.match(everything(error), /WRONGPASS/)
          assert.match(everything(error), /name: '(?:auth|hello)'/i)
        }
      } finally {
        await server.stop()
      }
    })

    test('that the server quotes, as it does not know the command, stands in no error', async () => {
      const quoting: Answer = ([command = '', ...args]) => {
        if (command !== 'HELLO' && command !== 'AUTH') return handshake([command])
        const quoted = args.map(arg => `'${arg}'`).join(' ')
        return `-ERR unknown command '${command}', with args beginning with: ${quoted}\r\n`
      }
      await withFake(quoting, async ({ port }) => {
        await failing({ port, password: SECRET })
      })
      const inside: Answer = ([command = '', ...args]) =>
        command === 'HELLO' || command === 'AUTH'
          ? `-ERR Error in ${command} modifier '${args.at(-1)}': Syntax error\r\n`
          : handshake([command])
      await withFake(inside, async ({ port }) => {
        await failing({ port, password: SECRET, username: 'me' })
      })
    })

    test('of the sentinels stands in no error', { skip }, async () => {
      const server = await startRedis({ requirepass: 'right' })
      const sentinels = [{ host: '127.0.0.1', port: server.port }]
      await failing({ sentinels, name: 'mine', sentinelPassword: SECRET })
      await server.stop()
    })

    test('that prepare sends stands in no error, not even when the connection is lost', async () => {
      const refusing: Answer = ([command = ''], socket) => {
        if (command !== 'AUTH') return handshake([command])
        socket.end('-WRONGPASS no\r\n')
        return undefined
      }
      await withFake(refusing, async ({ port }) => {
        await failing({ port }, { prepare: (client: Redis) => client.auth(SECRET).then(() => {}) })
        const cut = async (client: Redis) => {
          const [, second] = await Promise.all([client.ping(), ...pipelined(client)])
          if (second instanceof Error) throw second
        }
        await failing({ port }, { prepare: cut })
      })
    })

    /** The error of the second command of a pipeline that is cut off behind its first. */
    const pipelined = (client: Redis): Promise<unknown>[] => [
      client
        .pipeline()
        .auth('first')
        .auth(SECRET)
        .exec()
        .then(results => results?.[1]?.[0]),
    ]

    test('that a borrower sends stands in no error of his, nor in an event', { skip }, async () => {
      const pool = poolOf(Client, redis.url)
      const told: unknown[] = []
      pool.on('dirty', what => told.push(what))
      pool.on('destroy', ({ reason, detail }) => told.push(reason, detail))
      for (let times = 0; times < 2; times += 1) {
        await pool.use(async client => {
          // One after the other: Valkey 8.0.1 loses a reply if a HELLO follows at once on an AUTH that fails.
          const errors: unknown[] = []
          for (const send of [
            () => rejection(client.auth(SECRET)),
            () => rejection(client.call('AUTH', 'nobody', SECRET)),
            () => rejection(client.call('HELLO', '3', 'AUTH', 'nobody', SECRET)),
            () => rejection(client.call('ACL', 'SETUSER', 'me', `|${SECRET}`)),
            () => rejection(client.config('SET', SECRET, SECRET)),
            () => rejection(client.call('MIGRATE', '127.0.0.1', '1', 'x', '0', 'soon', 'AUTH', SECRET)),
            () => rejection(client.call('SENTINEL', 'SET', 'mine', 'auth-pass', SECRET)),
            () => rejection(client.call('MODULE', 'LOADEX', '/nowhere', 'CONFIG', 'key', SECRET)),
            () => new Promise(resolve => client.call('AUTH', SECRET, resolve)),
          ])
            errors.push(await send())
          isFree(errors, 'errors')
          const results = await client.pipeline().auth(SECRET).call('CONFIG', 'NONE', SECRET).exec()
          isFree(results, 'a pipeline')
        })
      }
      isFree(told, 'events')
      await pool.close()
    })

    test('that a client was given is not shown with it: in an event, in a log line, as JSON', {
      skip,
    }, async () => {
      const server = await startRedis({ requirepass: SECRET })
      const tls = { key: SECRET, passphrase: SECRET }
      const unused = { sentinelPassword: SECRET, sentinelTLS: tls }
      for (const options of [
        { password: SECRET, ...unused },
        `redis://:${SECRET}@127.0.0.1:${server.port}`,
      ]) {
        const given = typeof options === 'string' ? options : { ...options, port: server.port }
        const pool = poolOf(Client, given, { acquireTimeoutMillis: 1000 })
        const told: unknown[] = []
        for (const event of ['connect', 'acquire', 'release', 'destroy'] as const)
          pool.on(event, (what: unknown) => told.push(what))
        const client = await pool.acquire()
        const shown = [
          inspect(client),
          `${inspect({ client })}`,
          JSON.stringify({ client }),
          JSON.stringify(told),
        ]
        await pool.release(client)
        await pool.close()
        assert.equal(told.length, 4)
        isFree(told, 'events')
        isFree([client, ...shown, JSON.stringify(told)], 'the client')
        assert.match(shown[0] ?? '', /^Redis \{ status: 'ready', host: '[\w.]+', port: \d+, db: 0 \}$/)
        assert.deepEqual(JSON.parse(JSON.stringify(client)).status, 'end')
      }
      await server.stop()
    })

    test('that a borrower sends in a pipeline which is cut off stands in no error of his', async () => {
      const cutting: Answer = ([command = ''], socket) => {
        if (command !== 'AUTH') return handshake([command])
        socket.destroy()
        return undefined
      }
      await withFake(cutting, async ({ port }) => {
        const pool = poolOf(Client, { port })
        const results = await pool.use(client => client.pipeline().ping().auth(SECRET).exec())
        assert.match(everything(results), /aborted|closed/)
        isFree(results, 'the results')
        await pool.close()
      })
    })

    test('stands in no line of the log', { skip }, async () => {
      const server = await startRedis({ requirepass: 'right' })
      const here = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
      const code = `
        import { poolOf, versions } from ${here('./versions.js')}
        const { Client } = versions.find(({ name }) => name === ${JSON.stringify(name)})
        const port = ${server.port}
        const sentinels = [{ host: '127.0.0.1', port, password: '${SECRET}' }]
        for (const options of [{ port, password: '${SECRET}' }, { sentinels, name: 'x', sentinelPassword: '${SECRET}' }]) {
          const pool = poolOf(Client, options, { acquireTimeoutMillis: 500 })
          await pool.acquire().catch(error => console.log(error))
          await pool.close()
        }`
      const env = { ...process.env, DEBUG: 'lifeguard-pool:*', DEBUG_DEPTH: '10' }
      const { stdout, stderr } = await promisify(execFile)(
        process.execPath,
        ['--input-type=module', '-e', code],
        { env, timeout: 30_000 },
      )
      await server.stop()
      assert.match(stderr, /WRONGPASS/)
      isFree(stdout + stderr, 'the log')
    })
  })
}
