import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInThisContext } from 'node:vm'
import type { Redis } from 'ioredis'
import { type Handle, LOAN } from '../../../src/adapters/ioredis/handle/loan.ts'
import { isPoolError } from '../../../src/api/errors.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { madeHere, poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

const isRefusal = (error: unknown): boolean => isPoolError(error, 'POOL_LEASE_ENDED')

/** A method that TypeScript does not know, such as that of a script. */
const method = (client: Redis, name: string) =>
  (client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[name]?.bind(client) as (
    ...args: unknown[]
  ) => Promise<unknown>

/** Have both the same fields in the same places? If not, V8 has to tell them apart wherever they are used. */
setFlagsFromString('--allow-natives-syntax')
const isAlike = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: object, b: object) => boolean

const clientOf = (handle: Redis): Redis =>
  (handle as unknown as Handle)[LOAN].lender.client as unknown as Redis

for (const { name, Client } of versions) {
  describe(`${name}: the handle of a loan`, { skip }, () => {
    const withPool = async (
      run: (pool: Pool<Redis>) => Promise<void>,
      options: object = {},
      client: object = {},
    ) => {
      const pool = poolOf(Client, { port: redis.server.port, ...client }, options)
      try {
        await run(pool)
      } finally {
        await pool.close()
      }
    }

    test('is a Redis to everybody who looks, and another one for each loan of one connection', async () => {
      await withPool(async pool => {
        const first = await pool.acquire()
        assert.ok(first instanceof Client)
        assert.equal(first.constructor.name, new Client({ lazyConnect: true }).constructor.name)
        assert.deepEqual(
          [first.status, first.isCluster, first.mode, first.options.port],
          ['ready', false, 'normal', redis.server.port],
        )
        const id = await first.client('ID')
        await pool.release(first)
        const second = await pool.acquire()
        assert.notEqual(second, first)
        assert.equal(await second.client('ID'), id)
        assert.equal(pool.isBorrowedResource(first), false)
        assert.equal(pool.isBorrowedResource(second), true)
        await pool.release(second)
      })
    })

    test('does what a client does', async () => {
      await withPool(
        async pool => {
          const key = redis.key('all')
          await pool.use(async client => {
            assert.equal(await client.set(key, 'a'), 'OK')
            assert.equal(await client.call('GET', key), 'a')
            assert.deepEqual(await client.getBuffer(key), Buffer.from('a'))
            assert.equal(await new Promise(resolve => client.get(key, (_, value) => resolve(value))), 'a')
            assert.deepEqual(await client.pipeline().get(key).exists(key).exec(), [
              [null, 'a'],
              [null, 1],
            ])
            assert.deepEqual(await client.pipeline([['get', key]]).exec(), [[null, 'a']])
            assert.deepEqual(await client.multi().set(key, 'b').get(key).exec(), [
              [null, 'OK'],
              [null, 'b'],
            ])
            await client.multi({ pipeline: false })
            void client.set(key, 'c')
            assert.deepEqual(await client.exec(), [[null, 'OK']])
            await client.hset(key.concat('h'), { x: '1', y: '2' })
            assert.deepEqual(await client.hgetall(key.concat('h')), { x: '1', y: '2' })
            const found: string[] = []
            for await (const keys of client.scanStream({ match: `${key}*` })) found.push(...keys)
            assert.deepEqual(found.sort(), [key, `${key}h`])
            assert.equal(await method(client, 'tail')(key, '!'), 'c!')
            assert.equal(await client.eval('return redis.call("GET", KEYS[1])', 1, key), 'c')
          })
          assert.deepEqual([pool.stats().totals.created, pool.available], [1, 1])
        },
        {},
        { scripts: { tail: { lua: 'return redis.call("GET", KEYS[1]) .. ARGV[1]', numberOfKeys: 1 } } },
      )
    })

    test('is refused for whatever it is used after the return, and the next borrower sees nothing of it', async () => {
      await withPool(async pool => {
        const key = redis.key('stale')
        const stale = await pool.acquire()
        stale.defineCommand('mine', { lua: 'return redis.call("INCR", KEYS[1])', numberOfKeys: 1 })
        const pipeline = stale.pipeline().incr(key)
        const multi = stale.multi().incr(key)
        const stream = stale.scanStream()
        await pool.release(stale)
        const next = await pool.acquire()
        const uses: (() => unknown)[] = [
          () => stale.incr(key),
          () => stale.call('INCR', key),
          () => method(stale, 'mine')(key),
          () => stale.eval('return redis.call("INCR", KEYS[1])', 1, key),
          () => stale.multi({ pipeline: false }),
          () => stale.watch(key),
          () => multi.exec(),
          () => stale.multi().incr(key).exec(),
          () => stale.subscribe('news'),
          () => stale.quit(),
          () => stale.connect(),
          async () => stale.disconnect(),
          async () => stale.end(),
          async () => stale.duplicate(),
          async () => stale.monitor(),
          async () => stale.stream,
          async () => stale.condition,
          async () => stale.on('message', () => {}),
          async () => stale.once('end', () => {}),
          async () => stale.defineCommand('mine', { lua: '' }),
          () => new Promise((_, reject) => stale.get(key, reject)),
          () => stale.sendCommand(new Client.Command('incr', [key])),
          () => (Object.create(stale) as Redis).incr(key),
          () =>
            once(
              stream.on('data', () => {}),
              'end',
            ),
        ]
        for (const use of uses) {
          const error = await rejection(use())
          assert.ok(isRefusal(error), `${use}: ${error}`)
        }
        for (const [error] of (await pipeline.exec()) ?? []) assert.ok(isRefusal(error))
        assert.equal(stale.status, 'end')
        assert.deepEqual(await rejection(pool.release(stale)).then(error => error.code), 'POOL_NOT_BORROWED')
        assert.deepEqual(await rejection(pool.destroy(stale)).then(error => error.code), 'POOL_NOT_BORROWED')
        assert.equal(await next.get(key), null)
        assert.equal(next.status, 'ready')
        await pool.release(next)
        assert.equal(pool.stats().totals.created, 1)
        stale.off('message', () => {}).removeAllListeners()
      })
    })

    test('ends with a forced close of the pool, too', async () => {
      const pool = poolOf(Client, redis.url)
      const client = await pool.acquire()
      await pool.close({ timeoutMillis: 1 }).catch(() => {})
      assert.ok(isRefusal(await rejection(client.get('x'))))
    })

    test('keeps the listeners of its borrower to itself and its time', async () => {
      await withPool(
        async pool => {
          const client = await pool.acquire()
          const heard: string[] = []
          client.on('message', (_, message) => heard.push(message))
          client.on('error', () => heard.push('error'))
          assert.deepEqual(client.eventNames(), ['message', 'error'])
          await client.subscribe(redis.key('news'))
          await pool.use(publisher => publisher.publish(redis.key('news'), 'hello'))
          await eventually(() => heard.length === 1)
          client.removeAllListeners('error')
          await pool.release(client)
          for (let loan = 0; loan < 20; loan += 1) {
            await pool.use(async next => {
              assert.deepEqual(next.eventNames(), [])
              next.on('select', () => {}).once('end', () => {})
            })
          }
          await pool.use(next => next.publish(redis.key('news'), 'again'))
          await nextTurn()
          assert.deepEqual(heard, ['hello'])
        },
        { max: 2 },
      )
    })

    test('keeps a script that its borrower defines from the next one, but not its text from the server', async () => {
      await withPool(async pool => {
        const define = (client: Redis, lua: string) => client.defineCommand('mine', { lua, numberOfKeys: 0 })
        const evals = async (client: Redis) =>
          /cmdstat_eval:calls=(\d+)/.exec(await client.info('commandstats'))?.[1]
        for (const text of ['one', 'two', 'one']) {
          await pool.use(async client => {
            assert.equal(method(client, 'mine'), undefined)
            define(client, `return '${text}'`)
            assert.equal(await method(client, 'mine')(), text)
            assert.deepEqual(
              await (client.pipeline() as unknown as { mine(): { exec(): unknown } }).mine().exec(),
              [[null, text]],
            )
          })
        }
        await pool.use(async client => {
          const before = await evals(client)
          define(client, `return 'one'`)
          assert.equal(await method(client, 'mine')(), 'one')
          assert.equal(await evals(client), before)
          await client.script('FLUSH')
          // NOSCRIPT, and the text is sent again by way of the handle.
          assert.equal(await method(client, 'mine')(), 'one')
          assert.notEqual(await evals(client), before)
        })
        assert.equal(pool.stats().totals.created, 1)
      })
    })

    test('is duplicated to an ordinary client with the options of the user, and nobody closes that', {
      skip: !madeHere.some(made => made.Client === Client) && 'its clients are made by a function',
    }, async () => {
      await withPool(
        async pool => {
          const copy = await pool.use(client => client.duplicate({ connectionName: 'copy' }))
          assert.equal(pool.stats().totals.created, 1)
          await pool.clear()
          assert.equal(await copy.get('x'), null)
          assert.deepEqual(
            [copy.options.db, copy.options.connectionName, copy.options.enableOfflineQueue],
            [3, 'copy', true],
          )
          assert.deepEqual([typeof copy.options.retryStrategy, copy.options.lazyConnect], ['function', false])
          assert.ok(copy instanceof Client)
          copy.disconnect()
        },
        {},
        { db: 3 },
      )
      const pool = poolOf(Client, () => new Client(redis.url, { db: 2, keepAlive: 7 }))
      const copy = await pool.use(client => client.duplicate())
      assert.deepEqual(
        [copy.options.db, copy.options.keepAlive, copy.options.retryStrategy === null],
        [2, 7, false],
      )
      copy.disconnect()
      await pool.close()
    })

    test('ends its connection and no more by quit() or disconnect()', async () => {
      await withPool(
        async pool => {
          for (const bring of [
            (client: Redis) => client.quit(),
            async (client: Redis) => client.disconnect(),
            async (client: Redis) => client.end(),
          ]) {
            const [ending, other] = await Promise.all([pool.acquire(), pool.acquire()])
            await bring(ending)
            assert.equal(pool.borrowed, 2)
            assert.equal(await other.ping(), 'PONG')
            await eventually(() => ending.status === 'end')
            assert.match((await rejection(ending.connect())).message, /^Connection is closed/)
            await rejection(ending.get('x'))
            await Promise.all([pool.release(ending), pool.release(other)])
            await eventually(() => pool.available === 1)
            assert.equal(pool.size, 1)
          }
        },
        { max: 2 },
      )
    })

    test('of a class of the user has its methods', async () => {
      class Mine extends Client {
        async twice(key: string): Promise<(string | null)[]> {
          return [await this.get(key), await this.get(key)]
        }
      }
      const pool = poolOf(Client, () => new Mine(redis.url)) as unknown as Pool<Mine>
      const stale = await pool.acquire()
      assert.deepEqual(await stale.twice('none'), [null, null])
      await pool.release(stale)
      assert.ok(isRefusal(await rejection(stale.twice('none'))))
      await pool.close()
    })

    test('has what its client has by then, and keeps to itself what its borrower sets', async () => {
      class Mine extends Client {
        tag = 'of the client'
      }
      let made = 0
      const pool = poolOf(Client, () => new Mine(redis.url), {
        max: 2,
        prepare: client => {
          made += 1
          // Only one of the two has it.
          if (made === 2) client.defineCommand('two', { lua: 'return 2', numberOfKeys: 0 })
        },
      }) as unknown as Pool<Mine>
      for (const round of [1, 2]) {
        const both = await Promise.all([pool.acquire(), pool.acquire()])
        assert.deepEqual(
          both.map(client => typeof method(client, 'two')).sort(),
          ['function', 'undefined'],
          `round ${round}`,
        )
        for (const client of both) {
          assert.equal(client.tag, 'of the client')
          client.tag = 'of the borrower'
          client.setMaxListeners(3)
          assert.deepEqual([client.tag, client.getMaxListeners()], ['of the borrower', 3])
          if (method(client, 'two')) assert.equal(await method(client, 'two')(), 2)
          await pool.release(client)
        }
      }
      await pool.close()
    })

    test('is of one hidden class with those of other connections, and so are the clients', async () => {
      await withPool(
        async pool => {
          const handles = await Promise.all([1, 2, 3].map(() => pool.acquire()))
          for (const client of handles) {
            await client.multi().set(redis.key('alike'), 1).exec()
            client.duplicate({ lazyConnect: true })
          }
          const [first, ...others] = handles as [Redis, ...Redis[]]
          for (const other of others) {
            assert.ok(isAlike(first, other), 'handles')
            assert.ok(isAlike(clientOf(first), clientOf(other)), 'clients')
          }
          await Promise.all(handles.map(client => pool.release(client)))
        },
        { max: 3 },
      )
    })
  })
}
