import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { startRedis } from '../../support/redis-server.ts'
import { type Answer, bulk, handshake, withFake } from './fake-redis.ts'
import { poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis
const host = '127.0.0.1'

const REPLICA: Answer = command =>
  command[0] === 'INFO' ? bulk('role:slave\r\nloading:0\r\n') : handshake(command)

/** In which ways a command is sent. Each gives the message of its error, or undefined. */
const WAYS: Readonly<Record<string, (client: Redis) => Promise<string | undefined>>> = {
  directly: client => client.get('x').then(() => undefined, messageOf),
  'by call': client => client.call('GET', 'x').then(() => undefined, messageOf),
  'with a callback': client => new Promise(resolve => client.get('x', error => resolve(error?.message))),
  'in a pipeline': async client => (await client.pipeline().get('x').exec())?.[0]?.[0]?.message,
  'in a MULTI': client =>
    client
      .multi()
      .get('x')
      .exec()
      .then(() => undefined, messageOf),
}
const messageOf = (error: Error): string => error.message

for (const { name, Client } of versions) {
  describe(`${name}: a reply that condemns its connection`, () => {
    const cases: readonly [reply: string, role: 'primary' | 'replica' | 'any'][] = [
      ['NOAUTH Authentication required.', 'primary'],
      ['NOAUTH Authentication required.', 'any'],
      ['MASTERDOWN Link with MASTER is down', 'replica'],
      ['LOADING Redis is loading the dataset in memory', 'replica'],
      ['MASTERDOWN Link with MASTER is down', 'any'],
      ["READONLY You can't write against a read only replica.", 'primary'],
    ]
    for (const [reply, role] of cases) {
      for (const [way, send] of Object.entries(WAYS)) {
        test(`${reply.split(' ')[0]}, ${way}, in a pool of role ${role}: nobody gets that connection again`, async () => {
          let isWell = false
          const wellAt = role === 'replica' ? REPLICA : handshake
          const answer: Answer = ([command = '', ...args], socket) => {
            if (command === 'GET') return isWell ? bulk('value') : `-${reply}\r\n`
            if (command === 'EXEC')
              return isWell
                ? `*1\r\n${bulk('value')}`
                : '-EXECABORT Transaction discarded because of previous errors.\r\n'
            return wellAt([command, ...args], socket)
          }
          await withFake(answer, async fake => {
            const pool = poolOf(Client, { port: fake.port }, { max: 4, role })
            const lent = await Promise.all([1, 2].map(() => pool.acquire()))
            const idle = await Promise.all([1, 2].map(() => pool.acquire()))
            await Promise.all(idle.map(client => pool.release(client)))
            assert.match((await send(lent[0] as Redis)) ?? '', /NOAUTH|MASTERDOWN|LOADING|READONLY|EXECABORT/)
            isWell = true
            // The one that heard it, those that lie idle, and the other that is lent: they lead to the same server.
            await eventually(() => pool.available === 0)
            await Promise.all(lent.map(client => pool.release(client)))
            await eventually(() => pool.size === 0)
            assert.equal(await pool.use(client => client.get('x')), 'value')
            await pool.close()
          })
        })
      }
    }

    test('is believed of a server only: not of a borrower who has changed the user himself', async () => {
      const answer: Answer = ([command = '', ...args], socket) => {
        if (command === 'RESET') return '+RESET\r\n'
        return command === 'GET'
          ? '-NOAUTH Authentication required.\r\n'
          : (handshake([command, ...args]) ?? String(socket))
      }
      await withFake(answer, async ({ port }) => {
        const pool = poolOf(Client, { port }, { max: 2 })
        const [mine, other] = await Promise.all([pool.acquire(), pool.acquire()])
        await pool.release(other)
        await mine.reset()
        await rejection(mine.get('x'))
        await pool.release(mine)
        // The other one may be asked for the server's idle limit at this moment.
        await eventually(() => pool.available === 1)
        assert.deepEqual([pool.stats().generation, pool.size], [0, 1])
        await pool.close()
      })
    })

    test('of replicas, one that has lost its primary is left, and not taken again before it serves', {
      skip,
    }, async () => {
      const primary = await startRedis()
      const replica = await startRedis({
        replicaof: `${host} ${primary.port}`,
        'replica-serve-stale-data': 'no',
        'repl-diskless-sync-delay': '0',
      })
      const admin = new Redis(replica.port)
      const pool = poolOf(
        Client,
        { port: replica.port },
        { role: 'replica', max: 4, acquireTimeoutMillis: 1000 },
      )
      const reads = () =>
        pool
          .use(client => client.get('x'))
          .then(
            () => true,
            () => false,
          )
      try {
        await eventually(reads, { within: 10_000 })
        const lent = await Promise.all([1, 2, 3, 4].map(() => pool.acquire()))
        await primary.stop()
        await eventually(async () => /master_link_status:down/.test(await admin.info('replication')), {
          within: 10_000,
        })
        assert.match((await rejection(lent[0]?.get('x'))).message, /^MASTERDOWN/)
        await Promise.all(lent.map(client => pool.release(client)))
        await eventually(() => pool.size === 0)
        const refused = (await rejection(pool.acquire())) as Error & { cause?: unknown }
        assert.match(String(refused.cause), /the replica does not serve now: MASTERDOWN/)
        await admin.config('SET', 'replica-serve-stale-data', 'yes')
        await eventually(reads, { within: 10_000, what: 'it is taken as soon as it serves' })
      } finally {
        admin.disconnect()
        await pool.close()
        await Promise.all([primary.stop(), replica.stop()])
      }
    })
  })

  describe(`${name}: what a script says`, { skip }, () => {
    const WORDS = "READONLY You can't write against a read only replica."

    test('is not the word of the server: the pool is not purged, and the connection is kept', async () => {
      const pool = poolOf(Client, redis.url)
      const admin = new Redis(redis.url)
      await admin.call(
        'FUNCTION',
        'LOAD',
        'REPLACE',
        `#!lua name=mine\nredis.register_function('mine', function() return redis.error_reply('${WORDS.replace("'", "\\'")}') end)`,
      )
      const scripts = [
        "return redis.error_reply('READONLY mine')",
        `return redis.error_reply("${WORDS}")`,
        "return {err = 'MASTERDOWN mine'}",
        "error({err = 'LOADING mine'})",
        "return redis.error_reply('NOAUTH mine')",
      ]
      for (const script of scripts) {
        const says: ((client: Redis) => Promise<unknown>)[] = [
          client => client.eval(script, 0),
          client => client.call('EVAL', script, '0'),
          async client => {
            client.defineCommand('own', { lua: script, numberOfKeys: 0 })
            await (client as unknown as { own(): Promise<unknown> }).own()
          },
          client =>
            client
              .multi()
              .eval(script, 0)
              .exec()
              .then(results => Promise.reject(results?.[0]?.[0])),
          client =>
            client
              .pipeline()
              .eval(script, 0)
              .exec()
              .then(results => Promise.reject(results?.[0]?.[0])),
          client => client.fcall('mine', 0),
        ]
        for (const say of says) {
          const error = await rejection(pool.use(say))
          assert.match(error.message, /READONLY|MASTERDOWN|LOADING|NOAUTH/)
        }
      }
      assert.deepEqual([pool.stats().generation, pool.stats().totals.created], [0, 1])
      admin.disconnect()
      await pool.close()
    })

    test('of a primary that is none any more is found to be true: the connection is left, and all others', async () => {
      const [server, other] = await Promise.all([startRedis(), startRedis()])
      const admin = new Redis(server.url)
      try {
        for (const say of [
          (client: Redis) => client.eval("return redis.call('SET', 'x', '1')", 0),
          (client: Redis) => client.eval("return redis.pcall('SET', 'x', '1')", 0),
        ]) {
          await admin.replicaof('NO', 'ONE')
          const pool = poolOf(Client, server.url, { max: 2, acquireTimeoutMillis: 2000 })
          const idle = await pool.acquire()
          const busy = await pool.acquire()
          await pool.release(idle)
          await admin.replicaof(host, other.port)
          assert.match((await rejection(say(busy))).message, /READONLY|read.?only/i)
          await pool.release(busy)
          await eventually(() => pool.size === 0)
          assert.equal(pool.stats().generation, 1)
          await pool.close()
        }
      } finally {
        admin.disconnect()
        await Promise.all([server.stop(), other.stop()])
      }
    })

    test('NOSCRIPT within a MULTI, after a flush, costs one transaction and not the rest of the connection', async () => {
      const lua = "return redis.call('INCR', KEYS[1])"
      const pool = poolOf(
        Client,
        { port: redis.server.port, scripts: { given: { lua, numberOfKeys: 1 } } },
        {
          prepare: client => client.defineCommand('prepared', { lua: `${lua} -- prepared`, numberOfKeys: 1 }),
        },
      )
      const admin = new Redis(redis.url)
      const key = redis.key(`noscript-${name}`)
      type Scripted = { [command: string]: (key: string) => Scripted } & { exec(): Promise<[Error | null][]> }
      const run = (command: string) =>
        pool.use(async client => {
          client.defineCommand('defined', { lua: `${lua} -- defined`, numberOfKeys: 1 })
          const multi = client.multi() as unknown as Scripted
          const [[error] = []] = (await multi[command]?.(key).exec()) ?? []
          return error?.message
        })
      for (const command of ['given', 'prepared', 'defined']) {
        assert.equal(await run(command), undefined)
        assert.equal(await run(command), undefined)
        await admin.script('FLUSH')
        assert.match((await run(command)) ?? '', /^NOSCRIPT/)
        for (let times = 0; times < 3; times += 1) assert.equal(await run(command), undefined, command)
      }
      assert.equal(pool.stats().totals.created, 1)
      admin.disconnect()
      await pool.close()
    })
  })

  describe(`${name}: a pipeline that has run`, { skip }, () => {
    test('may have a transaction within, whose EXEC has no arguments', async () => {
      const pool = poolOf(Client, redis.url)
      const results = await pool.use(client => {
        interface Inline {
          multi(): Inline
          set(key: string, value: string): Inline
          exec(): Inline & Promise<unknown[]>
        }
        return (client.pipeline() as unknown as Inline).multi().set(redis.key('inline'), '1').exec().exec()
      })
      assert.deepEqual(results.at(-1), [null, ['OK']])
      await pool.close()
    })

    test('is refused when it is run again after its loan, and does not give its old result', async () => {
      const pool = poolOf(Client, redis.url)
      const key = redis.key(`again-${name}`)
      const makes: ((client: Redis) => ReturnType<Redis['pipeline']>)[] = [
        client => client.pipeline().incr(key),
        client => client.multi().incr(key),
        client => client.pipeline([['incr', key]]),
        client => client.multi([['incr', key]]),
      ]
      for (const make of makes) {
        const pipeline = await pool.use(async client => {
          const made = make(client)
          await made.exec()
          return [made]
        })
        const [again] = pipeline
        assert.equal((await rejection(again?.exec())).code, 'POOL_LEASE_ENDED')
        const told = await new Promise(resolve => again?.exec(resolve))
        assert.equal((told as { code?: string }).code, 'POOL_LEASE_ENDED')
      }
      assert.equal(await pool.use(client => client.get(key)), String(makes.length))
      await pool.close()
    })
  })
}
