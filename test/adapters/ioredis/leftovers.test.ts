import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { isPoolError } from '../../../src/api/errors.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { soilings } from './commands-that-soil.ts'
import { poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

interface Watched {
  readonly pool: Pool<Redis>
  /** Why connections were destroyed, in order. */
  readonly destroyed: string[]
  readonly created: () => number
}

for (const { name, Client } of versions) {
  describe(`${name}: what a borrower leaves behind`, { skip }, () => {
    const watched = async (
      run: (watched: Watched) => Promise<void>,
      options: object = {},
      more: object = {},
    ) => {
      // A name would cost a lookup and a dial of IPv6 for each of thousands of connections.
      const pool = poolOf(Client, { host: '127.0.0.1', port: redis.server.port, ...more }, options)
      const destroyed: string[] = []
      pool.on('destroy', ({ reason, detail }) => destroyed.push(`${reason}: ${detail}`))
      try {
        await run({ pool, destroyed, created: () => pool.stats().totals.created })
      } finally {
        await pool.close()
      }
    }

    /** The next borrower of the one connection looks at everything that could be wrong with it. */
    const assertClean = (pool: Pool<Redis>, key: string, home = 0) =>
      pool.use(async next => {
        const token = `token ${Math.random()}`
        assert.equal(await next.echo(token), token)
        assert.deepEqual([next.eventNames(), next.mode, next.condition?.subscriber], [[], 'normal', false])
        const info = String(await next.client('INFO'))
        const field = (what: string) => new RegExp(`(?:^| )${what}=(\\S*)`).exec(info)?.[1]
        assert.deepEqual(
          ['db', 'multi', 'sub', 'psub', 'flags', 'name', 'user'].map(field),
          [String(home), '-1', '0', '0', 'N', '', 'default'],
          info,
        )
        assert.equal(next.condition?.select, home)
        // Had an old WATCH survived, this write by another would make the transaction fail.
        await admin.set(key, token)
        assert.deepEqual(await next.multi().ping().exec(), [[null, 'PONG']])
        assert.equal(next.commandQueue.length, 0)
      })

    const admin = skip ? (undefined as never) : new Redis(redis.url)
    after(() => admin?.disconnect())

    for (const { name: what, fate, soil } of soilings) {
      test(`${what}: the next borrower has a clean connection`, async () => {
        await watched(async ({ pool, destroyed, created }) => {
          const key = redis.key('left')
          await pool.use(client => soil(client, key))
          await eventually(() => pool.stats().resetting === 0)
          if (fate === 'undone') assert.deepEqual([destroyed, created()], [[], 1])
          else assert.match(destroyed.join(), fate)
          await assertClean(pool, key)
          assert.equal(created(), fate === 'undone' ? 1 : 2)
        })
      })
    }

    test('each together with each other: the next borrower has a clean connection', async () => {
      await watched(async ({ pool }) => {
        const key = redis.key('left')
        // All pairs take ten seconds; each with its next ten, two.
        const partners = process.env.LIFEGUARD_LONG ? soilings.length : 10
        for (const [index, first] of soilings.entries()) {
          for (const second of [...soilings, ...soilings].slice(index, index + partners)) {
            await pool.use(async client => {
              // Some leave nothing that could still be soiled.
              void Promise.resolve(first.soil(client, key)).catch(() => {})
              await Promise.race([
                Promise.resolve(second.soil(client, key)).catch(() => {}),
                new Promise(resolve => setImmediate(resolve)),
              ])
            })
            await assertClean(pool, key)
          }
        }
      })
    })

    test('a database other than 0 is the home of a pool that has it', async () => {
      await watched(
        async ({ pool, created }) => {
          await pool.use(async client => {
            await client.select(0)
            await client.select(5)
          })
          assert.equal(pool.stats().idle, 1, 'at home again, and nothing to undo')
          await pool.use(client => client.select(0))
          await assertClean(pool, redis.key('left'), 5)
          assert.equal(created(), 1)
        },
        {},
        { db: 5 },
      )
    })

    test('fifty clean transactions keep their one connection, and no round trip is added', async () => {
      await watched(async ({ pool, created }) => {
        const key = redis.key('clean')
        await admin.del(key)
        for (let loan = 0; loan < 50; loan += 1) {
          await pool.use(async client => {
            await client.watch(key)
            const value = Number(await client.get(key))
            assert.deepEqual(
              await client
                .multi()
                .set(key, value + 1)
                .exec(),
              [[null, 'OK']],
            )
          })
          assert.equal(pool.stats().idle, 1)
        }
        assert.equal(created(), 1)
        assert.equal(await admin.get(key), '50')
        await pool.use(async client => {
          await client.watch(key)
          await admin.set(key, 'other')
          assert.equal(await client.multi().set(key, 0).exec(), null)
          await client.watch(key)
          await client.unwatch()
          await client.multi({ pipeline: false })
          await client.discard()
          assert.match((await rejection(client.multi().call('NOSUCH').exec())).message, /^EXECABORT/)
          await client.client('ID')
          await client.script('EXISTS', 'abc')
        })
        // NOSUCH is not known.
        assert.equal(pool.stats().idle, 0)
      })
    })

    test('a transaction given up for a reason of the business keeps its connection', async () => {
      await watched(async ({ pool, created }) => {
        const key = redis.key('business')
        for (let loan = 0; loan < 20; loan += 1) {
          await rejection(
            pool.use(async client => {
              await client.watch(key)
              throw new Error('not enough money')
            }),
          )
          await rejection(pool.use(client => client.lpush(key, 1).then(() => client.get(key))))
        }
        assert.equal(created(), 1)
      })
    })

    test('a callback that releases at once is judged by the reply that it has got', async () => {
      await watched(async ({ pool, created }) => {
        for (let loan = 0; loan < 5; loan += 1) {
          const client = await pool.acquire()
          await client.watch('k')
          await client.multi({ pipeline: false })
          await new Promise<void>(resolve => {
            client.exec(() => {
              pool.release(client)
              resolve()
            })
          })
          assert.equal(pool.stats().idle, 1)
        }
        assert.equal(created(), 1)
      })
    })

    test('an UNWATCH that the server refuses costs the connection', async () => {
      await watched(
        async ({ pool, destroyed }) => {
          await admin.call('ACL', 'SETUSER', 'watcher', 'on', '>secret', '~*', '+@all', '-unwatch')
          await pool.use(client => client.watch('k'))
          await eventually(() => destroyed.length === 1)
          assert.match(destroyed.join(), /^dirty: left behind: WATCH, not undone: NOPERM/)
        },
        {},
        { username: 'watcher', password: 'secret' },
      )
    })

    test('commands that are known to be clean cost nothing, once they are named', async () => {
      await watched(
        async ({ pool, created }) => {
          for (const command of ['MYMODULE.GET', 'JSON.GET', 'ft.search']) {
            await pool.use(client => client.call(command).catch(() => {}))
          }
          assert.equal(created(), 1)
          await pool.use(client => client.call('MYMODULE.SET').catch(() => {}))
          assert.equal(pool.available, 0)
        },
        { cleanCommands: ['MyModule.Get'] },
      )
    })

    test('whoever leaves the same again and again is named, once', async () => {
      await watched(async ({ pool }) => {
        const named: { left: string; times: number; stack: string }[] = []
        pool.on('dirty', event => named.push(event))
        const forgetsExec = (client: Redis) => client.multi({ pipeline: false })
        const forgetsToWait = async (client: Redis) => void client.blpop('none', 0).catch(() => {})
        for (let loan = 0; loan < 5; loan += 1) {
          await pool.use(forgetsExec)
          await pool.use(client => client.multi().ping().exec())
          await pool.use(forgetsToWait)
          await pool.use(client => client.ping())
        }
        assert.deepEqual(
          named.map(({ left, times }) => [left, times]),
          [
            ['MULTI', 2],
            ['BLPOP without an answer', 2],
          ],
        )
        assert.match(named[0]?.stack ?? '', /^ *at forgetsExec .*leftovers/)
        assert.match(named[1]?.stack ?? '', /^ *at forgetsToWait .*leftovers/)
      })
    })

    test('a pending BLPOP is closed and not waited for, and its caller is told', async () => {
      await watched(async ({ pool }) => {
        const client = await pool.acquire()
        const popped = client.blpop('none', 0)
        await pool.release(client)
        assert.match((await rejection(popped)).message, /Connection is closed/)
        assert.ok(isPoolError(await rejection(client.get('x')), 'POOL_LEASE_ENDED'))
      })
    })
  })
}
