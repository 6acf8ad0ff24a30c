import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../src/api/errors.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { aged, eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { factoryOf, madeHere, noSignal, rejection } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

function issuesOf(run: () => unknown): readonly string[] {
  try {
    run()
  } catch (error) {
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'), String(error))
    return error.issues ?? []
  }
  throw new Error('should have been refused')
}

for (const { name, Client } of madeHere) {
  describe(`${name}: options`, () => {
    const issues = (given: unknown) => issuesOf(() => factoryOf(Client, given))

    test('that would make a client reconnect, queue or reorder are refused, all at once, with the reasons', () => {
      const found = issues({
        host: 'localhost',
        lazyConnect: false,
        retryStrategy: () => 100,
        enableOfflineQueue: true,
        maxRetriesPerRequest: null,
        enableAutoPipelining: true,
        monitor: true,
      })
      assert.equal(found.length, 6)
      for (const issue of found) assert.match(issue, /^\w+ must be \w+ on a pooled client, got .+: .{20,}/)
      assert.match(found.join(), /maxRetriesPerRequest must be 0 on a pooled client, got null/)
    })

    test('that say what is forced anyway are taken', { skip }, async () => {
      const forced = {
        lazyConnect: true,
        retryStrategy: null,
        reconnectOnError: null,
        enableOfflineQueue: false,
        autoResubscribe: false,
        autoResendUnfulfilledCommands: false,
        maxRetriesPerRequest: 0,
        enableAutoPipelining: false,
        enableReadyCheck: true,
        disconnectTimeout: 100,
        sentinelRetryStrategy: null,
        failoverDetector: false,
        monitor: false,
        db: undefined,
      }
      const factory = factoryOf(Client, { ...forced, port: redis.server.port })
      const client = await factory.create(noSignal())
      for (const [option, value] of Object.entries(forced)) {
        if (option !== 'db') assert.equal((client.options as Record<string, unknown>)[option], value, option)
      }
      assert.deepEqual(
        [client.options.keepAlive, client.options.noDelay, client.options.connectTimeout],
        [10_000, true, 0],
      )
      await factory.destroy(client)
    })

    test('of the query of a URL are refused as well, and cannot sneak in as strings', { skip }, async () => {
      assert.match(
        issues('redis://h?enableAutoPipelining=true&lazyConnect=').join(),
        /lazyConnect.*enableAuto/,
      )
      assert.match(
        issues('/tmp/redis.sock?enableOfflineQueue=true').join(),
        /enableOfflineQueue must be false/,
      )
      assert.match(issues('h:6379?maxRetriesPerRequest=3#x').join(), /maxRetriesPerRequest must be 0/)
      // ioredis takes the string 'false' for true.
      const factory = factoryOf(Client, `${redis.url}/2?enableAutoPipelining=false&connectionName=x%3F`)
      const client = await factory.create(noSignal())
      assert.equal(client.options.enableAutoPipelining, false)
      assert.equal(client.options.db, 2)
      assert.equal(client.options.connectionName, 'x?')
      await factory.destroy(client)
    })

    test('are the own of the user where they do no harm, and are read once', { skip }, async () => {
      const options = { port: redis.server.port, keepAlive: 1, noDelay: false, connectTimeout: 5000, db: 1 }
      const factory = factoryOf(Client, options)
      Object.assign(options, { db: 99, retryStrategy: () => 1 })
      const client = await factory.create(noSignal())
      assert.deepEqual(
        [client.options.keepAlive, client.options.noDelay, client.options.connectTimeout, client.options.db],
        [1, false, 5000, 1],
      )
      assert.equal(client.options.retryStrategy, null)
      await factory.destroy(client)
    })

    test('of other clients, which would mean localhost or database 0, are refused by their right name', () => {
      const foreign: readonly [given: object, expected: RegExp][] = [
        [
          { url: 'redis://:s3cret@10.1.2.3' },
          /^url is not an option of ioredis: pass the URL itself as the first/,
        ],
        [
          { socket: { host: '10.1.2.3' } },
          /^socket is not an option of ioredis: pass its host, port, path and tls/,
        ],
        [{ hostname: '10.1.2.3' }, /^hostname .* it is called host$/],
        [{ database: 3 }, /^database .* it is called db$/],
        [{ user: 'me' }, /^user .* it is called username$/],
        [{ auth_pass: 'x' }, /^auth_pass .* it is called password$/],
        [{ nodes: [{ host: 'x' }] }, /^nodes .* createRedisClusterPool\(nodes, options\)$/],
        [{ rootNodes: [] }, /^rootNodes .* createRedisClusterPool\(nodes, options\)$/],
        [{ unixSocket: '/tmp/x' }, /^unixSocket .* it is called path$/],
        [{ DB: 3 }, /^DB .* it is called db$/],
        [{ redis: { host: '10.1.2.3' } }, /^redis .* pass what is in it by itself$/],
        [{ connection_string: 'redis://10.1.2.3' }, /^connection_string .* pass the URL itself/],
        [{ host: 'h', 'database-number': 3 }, /^database-number .* it is called db$/],
        [{ host: 'h', useTLS: true }, /^useTLS .* it is called tls$/],
        [{ host: 'h', rejectUnauthorized: false }, /^rejectUnauthorized .* it belongs in tls/],
        [{ servers: ['10.1.2.3'] }, /^servers .* make a pool for each of them/],
        // Whatever it is called: nothing else says where to.
        [
          { redisServiceHost: '10.1.2.3', db: 1 },
          /^redisServiceHost .* would connect to localhost: set host/,
        ],
        [{ sentinels: ['10.1.2.3:1'], name: 'x' }, /^sentinels\[0\] must be \{ host, port \}$/],
        [{ sentinels: '10.1.2.3:1', name: 'x' }, /^sentinels must be a list of \{ host, port \}$/],
        [
          { sentinels: [{ hostname: '10.1.2.3' }], name: 'x' },
          /^sentinels\[0\].hostname .* it is called host$/,
        ],
        [{ userName: 'me', Host: 'x' }, /^userName .* it is called username,Host .* it is called host$/],
      ]
      for (const [given, expected] of foreign) {
        const found = issues(given).join()
        assert.match(found, expected)
        assert.doesNotMatch(found, /s3cret|10\.1\.2\.3/, 'values may be secrets')
      }
      assert.match(issues('redis://h:1/?database=2').join(), /^database .* it is called db$/)
      // Those of ioredis need no target: it may be localhost.
      const own = {
        db: 1,
        password: 'x',
        tls: {},
        commandTimeout: 5,
        scripts: {},
        showFriendlyErrorStack: true,
      }
      assert.ok(factoryOf(Client, own))
      // What ioredis itself does not know, but does no harm, is the user's business.
      assert.ok(factoryOf(Client, { host: 'h', database: undefined, whatever: 1, servername: 'x' } as object))
    })

    test('that are none are refused', () => {
      for (const nothing of [undefined, null, '', 6379, true, []]) {
        assert.match(issues(nothing).join(), /must be RedisOptions, a URL, or a function/)
      }
      const cluster = new (Client as unknown as typeof Redis).Cluster([{ port: 1 }], { lazyConnect: true })
      for (const nothing of [
        new Map(),
        new Date(),
        Promise.resolve(),
        new String('redis://h'),
        ' ',
        cluster,
      ]) {
        assert.match(issues(nothing).join(), /must be RedisOptions, a URL, or a function/)
      }
      assert.match(issues(new URL('redis://:s3cret@10.1.2.3')).join(), /pass url\.href$/)
      assert.match(issues(new Client({ lazyConnect: true })).join(), /pass \(\) => new Redis/)
      assert.match(issues('redis://h:port').join(), /ioredis refuses the options: .*Invalid URL/)
      assert.match(issues({ sentinels: [] }).join(), /ioredis refuses the options: /)
    })
  })
}

for (const { name, Client } of madeHere) {
  describe(`${name}: options with which it would do something else, or end the process`, () => {
    const wrong: readonly [option: string, ...values: unknown[]][] = [
      ['db', Number.NaN, 'x', -1, 1.5],
      ['port', Number.NaN, 'abc', 99_999],
      ['connectTimeout', Number.POSITIVE_INFINITY, -1, 'x', 2 ** 31],
      ['commandTimeout', Number.POSITIVE_INFINITY, Number.NaN],
      ['socketTimeout', -1, 2 ** 31],
    ]
    for (const [option, ...values] of wrong) {
      test(`${option} is checked`, async () => {
        for (const value of values) {
          const given = { [option]: value } as object
          assert.match(issuesOf(() => factoryOf(Client, given)).join(), new RegExp(`^${option} must be `))
          // In ioredis 5 a client with a port that is none throws by itself.
          if (option === 'port') continue
          const made = () => new Client({ lazyConnect: true, ...given })
          const refused = await rejection(factoryOf(Client, made).create(noSignal()))
          assert.match(refused.message, new RegExp(`${option} must be `))
        }
      })
    }

    test('of a URL as well', () => {
      for (const url of ['redis://h/abc', 'redis://h/?db=abc'])
        assert.match(issuesOf(() => factoryOf(Client, url)).join(), /^db must be a whole number/)
    })

    test('are read where they are inherited, or getters of a class', () => {
      class Settings {
        get host(): string {
          return '10.1.2.3'
        }
        get retryStrategy(): () => number {
          return () => 1
        }
      }
      assert.match(issuesOf(() => factoryOf(Client, new Settings())).join(), /^retryStrategy must be null/)
      assert.match(
        issuesOf(() => factoryOf(Client, Object.create({ monitor: true }))).join(),
        /^monitor must/,
      )
    })
  })
}

describe('createRedisPool', () => {
  test('lends clients, and replaces one that the server closed', { skip }, async () => {
    const pool: Pool<Redis> = createRedisPool(redis.url, { max: 2 })
    const [id, name] = await pool.use(
      async client => [await client.client('ID'), await client.ping()] as const,
    )
    assert.equal(name, 'PONG')
    await pool.use(async client => {
      assert.equal(await client.client('ID'), id)
    })
    const admin = new Redis(redis.url)
    await admin.client('KILL', 'ID', id)
    // A FIN that is still under way is beyond any pool.
    await eventually(() => pool.available === 0)
    assert.notEqual(await pool.use(client => client.client('ID')), id)
    admin.disconnect()
    await pool.close()
  })

  test('takes a function, and its clients keep their type', { skip }, async () => {
    class Mine extends Redis {
      readonly mine = true
    }
    const pool: Pool<Mine> = createRedisPool(() => new Mine(redis.url))
    assert.equal(await pool.use(async client => client.mine && client.ping()), 'PONG')
    await pool.close()
  })

  test('takes a hook that is a method of its options', { skip }, async () => {
    class Settings {
      readonly max = 2
      prepare(client: Redis): Promise<void> {
        return client.client('SETNAME', 'prepared').then(() => {})
      }
    }
    const pool = createRedisPool(redis.url, new Settings())
    assert.equal(await pool.use(client => client.client('GETNAME')), 'prepared')
    await pool.close()
  })

  test('a failed connect is the cause of the failed acquire', async () => {
    const pool = createRedisPool({ port: 1, host: '127.0.0.1' }, { acquireTimeoutMillis: 100, max: 5 })
    const error = await pool.acquire().catch(reason => reason)
    assert.equal(error.cause?.code, 'ECONNREFUSED')
    await pool.close()
  })

  test('asks a connection that has been idle for half a second, unless told otherwise', {
    skip,
  }, async t => {
    const pings = async () => {
      const text = await admin.info('commandstats')
      return Number(/cmdstat_ping:calls=(\d+)/.exec(text)?.[1] ?? 0)
    }
    const admin = new Redis(redis.url)
    t.after(() => admin.disconnect())
    const [usual, eager] = [
      createRedisPool(redis.url),
      createRedisPool(redis.url, { validateAfterIdleMillis: 1 }),
    ]
    t.after(() => Promise.all([usual.close(), eager.close()]))
    for (const pool of [usual, eager]) await pool.use(client => client.get('x'))
    const before = await pings()
    await aged(eager, 100)
    await usual.use(client => client.get('x'))
    assert.equal(await pings(), before)
    await eager.use(client => client.get('x'))
    assert.equal(await pings(), before + 1)
    await aged(usual, 750)
    await usual.use(client => client.get('x'))
    assert.equal(await pings(), before + 2)
  })

  test('refuses what is wrong with the client and with the pool in one error', () => {
    const bad = { max: 0, nonsense: 1 } as object
    assert.equal(issuesOf(() => createRedisPool({ monitor: true }, bad)).length, 3)
    assert.equal(issuesOf(() => createRedisPool({ port: 1 }, bad)).length, 2)
    assert.equal(issuesOf(() => createRedisPool({ port: 1 }, 7 as never)).length, 1)
    const worse = { ...bad, instances: 0, role: Object.create(null), prepare: 5 } as object
    assert.equal(issuesOf(() => createRedisPool({ monitor: true, db: Number.NaN }, worse)).length, 7)
  })

  test('can be required by CommonJS, and holds no process once it is closed', { skip }, async () => {
    const entry = new URL('../../../src/adapters/ioredis/index.js', import.meta.url).pathname
    const code = `const { createRedisPool } = require(${JSON.stringify(entry)})
      const pool = createRedisPool(${JSON.stringify(redis.url)})
      pool.use(client => client.ping()).then(console.log).then(() => pool.close())`
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', code], { timeout: 30_000 })
    assert.equal(stdout, 'PONG\n')
  })
})
