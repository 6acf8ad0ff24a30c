import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { bulk, butFor, withFake } from './fake-redis.ts'
import { poolOf, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

interface Order {
  readonly name: string
  /** All in one go, unless it awaits an answer. @returns what is still to be answered */
  readonly send: (client: Redis, key: string) => unknown[] | Promise<unknown[]>
  /** Behind what, in the error of the first command that is not sent. */
  readonly behind: RegExp
}

const pipelined = (client: Redis, ...commands: unknown[][]): Promise<unknown> =>
  client.pipeline(commands).exec()

/** Orders in which ioredis 5, ioredis 6 or both throw out of their data handler, and so end the process. */
const orders: readonly Order[] = [
  {
    name: 'CLIENT REPLY SKIP swallows the answer of one more command, then SUBSCRIBE within a MULTI, then an EXEC',
    send: (client, key) => [
      client.client('REPLY', 'SKIP'),
      client.call('MULTI'),
      client.subscribe(key),
      pipelined(client, ['multi'], ['exec'], ['multi']),
    ],
    behind: /^SUBSCRIBE was not sent: .* behind CLIENT REPLY\./,
  },
  {
    name: 'CLIENT REPLY SKIP, then UNSUBSCRIBE before a key that is not there',
    send: (client, key) => [
      client.client('REPLY', 'SKIP'),
      client.get(key),
      client.unsubscribe(),
      client.get(key),
      client.get(key),
    ],
    behind: /^UNSUBSCRIBE was not sent: .* behind CLIENT REPLY\./,
  },
  {
    name: 'RESET, which turns answers on again behind CLIENT REPLY OFF and SUBSCRIBE',
    send: (client, key) => [
      client.client('REPLY', 'OFF'),
      client.subscribe(key),
      client.call('RESET'),
      client.get(key),
      client.get(key),
    ],
    behind: /^SUBSCRIBE was not sent: .* behind CLIENT REPLY\./,
  },
  {
    name: 'MONITOR, whose lines come between the answers',
    send: async (client, key) => {
      await client.call('MONITOR')
      return [client.multi().select(2).exec(), client.subscribe(key)]
    },
    behind: /^(?:MULTI|EXEC) was not sent: .* behind MONITOR\./,
  },
  {
    name: 'SUBSCRIBE within a MULTI that is discarded, then a list that is empty',
    send: (client, key) => [
      client.call('MULTI'),
      client.subscribe(key),
      client.discard(),
      client.lrange(key, 0, -1),
    ],
    behind: /^DISCARD was not sent: .* behind SUBSCRIBE, which has no answer yet\./,
  },
  {
    name: 'UNSUBSCRIBE within a MULTI, then a key that is not there',
    send: (client, key) => [client.call('MULTI'), client.unsubscribe(), client.exec(), client.get(key)],
    behind: /^EXEC was not sent: .* behind UNSUBSCRIBE, which has no answer yet\./,
  },
  {
    name: 'RESET behind SUBSCRIBE, then a list that is empty',
    send: (client, key) => [client.subscribe(key), client.call('RESET'), client.lrange(key, 0, -1)],
    behind: /^RESET was not sent: .* behind SUBSCRIBE, which has no answer yet\./,
  },
  {
    name: 'a PING whose answer is a single letter, behind a SUBSCRIBE within a MULTI',
    send: (client, key) => [client.call('MULTI'), client.subscribe(key), client.ping('x'), client.exec()],
    behind: /^PING was not sent: .* behind SUBSCRIBE, which has no answer yet\./,
  },
  {
    name: 'UNSUBSCRIBE from all channels while patterns are left, then a key that is not there',
    send: async (client, key) => {
      await client.subscribe(key)
      await client.psubscribe(`${key}*`)
      const ends = [client.unsubscribe(), client.punsubscribe()]
      // ioredis waits for the last subscription to end, and so one of them for ever.
      await eventually(() => client.condition?.subscriber === false)
      return [...ends, client.get(key)]
    },
    behind: /^GET was not sent: .* behind P?UNSUBSCRIBE, which has no answer yet\./,
  },
  {
    name: 'SUNSUBSCRIBE behind SUBSCRIBE, and the message that ioredis then takes for an answer',
    send: async (client, key) => {
      await client.subscribe(key)
      return [client.sunsubscribe(), client.punsubscribe(), client.subscribe(`${key}:other`)]
    },
    behind: /^SUNSUBSCRIBE was not sent: .* behind SUBSCRIBE\./,
  },
]

const endOf = (client: Redis): Promise<void> => new Promise(resolve => client.once('end', resolve))

/** The errors, in order. What has no answer when the connection has come to its end is none. */
async function errorsOf(sent: readonly unknown[]): Promise<string[]> {
  const outcomes = await Promise.allSettled(sent)
  return outcomes.flatMap(outcome => {
    if (outcome.status === 'rejected') return [String(outcome.reason.message)]
    // Of a pipeline.
    const replies = Array.isArray(outcome.value) ? (outcome.value as unknown[]) : []
    return replies.flatMap(reply =>
      Array.isArray(reply) && reply[0] instanceof Error ? [reply[0].message] : [],
    )
  })
}

for (const { name, Client } of versions) {
  describe(`${name}: orders of commands that ioredis cannot stand`, { skip }, () => {
    for (const { name: order, send, behind } of orders) {
      // What is thrown out of an event of a socket would fail the test, as it would end a process.
      test(order, async () => {
        const pool = poolOf(Client, { port: redis.server.port })
        const client = await pool.acquire()
        const ended = endOf(client)
        const errors = errorsOf(await send(client, redis.key('order')))
        // Half-closed: all answers to what has been sent still come.
        client.disconnect()
        await ended
        const [first = 'none'] = (await errors).filter(message => message.includes('was not sent'))
        assert.match(first, behind)
        await pool.release(client)
        assert.equal(await pool.use(next => next.echo('mine')), 'mine')
        await pool.close()
      })
    }

    test('a pipeline of which ioredis sends nothing, as a subscriber may not send all of it', async () => {
      const pool = poolOf(Client, { port: redis.server.port, protocol: 2 })
      const key = redis.key('partly')
      const client = await pool.acquire()
      const ended = endOf(client)
      await client.subscribe(key)
      const sent: unknown[] = [pipelined(client, ['ping'], ['get', key], ['subscribe', `${key}:other`])]
      // Its answer is taken for that of the PING.
      sent.push(client.unsubscribe(key), client.get(key), client.get(key))
      const errors = errorsOf(sent)
      client.disconnect()
      await ended
      assert.match((await errors).join('\n'), /behind SUBSCRIBE, which has no answer yet/)
      await pool.release(client)
      await pool.close()
    })

    test('SUBSCRIBE in capitals, by call, is answered as any other, and does not end the process', async () => {
      const key = redis.key('capitals')
      const ways: ((client: Redis) => Promise<unknown>)[] = [
        client => client.call('SUBSCRIBE', key) as Promise<unknown>,
        client => client.call('Psubscribe', `${key}*`) as Promise<unknown>,
        client => new Promise(resolve => client.call('SSUBSCRIBE', [key], (_, count) => resolve(count))),
        async client => (await client.pipeline().ping().call('SUBSCRIBE', key).exec())?.[1]?.[1],
      ]
      for (const protocol of name === 'ioredis 5' ? [2] : [2, 3])
        for (const subscribe of ways) {
          const pool = poolOf(Client, { port: redis.server.port, protocol })
          await pool.use(async client => {
            assert.equal(await subscribe(client), 1)
          })
          await pool.close()
        }
    })

    test('a command that was not sent ends no process though nobody awaits it, and the others are answered', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const key = redis.key('others')
      await pool.use(async client => {
        const subscribed = client.subscribe(key)
        void client.get(key)
        assert.equal(await subscribed, 1)
        assert.equal(await client.unsubscribe(key), 0)
        assert.equal(await client.get(key), null)
      })
      await pool.close()
    })

    test('a pipeline with a command that cannot be sent ends the connection, and no caller waits', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const key = redis.key('pipeline')
      const client = await pool.acquire()
      const before = client.get(key)
      const replies = await client
        .pipeline([
          ['set', key, '1'],
          ['subscribe', key],
          ['get', key],
        ])
        .exec()
      const errors = (replies ?? []).map(([error]) => error?.message)
      assert.match(errors[2] ?? '', /^GET was not sent: .* behind SUBSCRIBE, which has no answer yet/)
      assert.deepEqual(errors.slice(0, 2), ['Connection is closed.', 'Connection is closed.'])
      assert.match(String(await before.catch((error: Error) => error.message)), /Connection is closed|null/)
      await pool.release(client)
      assert.equal(await pool.use(next => next.get(key)), null)
      await pool.close()
    })

    test('orders in which each answer finds its command are left alone', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const key = redis.key('alone')
      await pool.use(async client => {
        // A transaction that is under way has all its answers before the subscription.
        const done = client.multi().set(key, 'alone', 'PX', 60_000).get(key).exec()
        const [subscribed, both] = [client.subscribe(key), client.psubscribe(`${key}*`)]
        assert.deepEqual((await done)?.[1], [null, 'alone'])
        assert.deepEqual([await subscribed, await both], [1, 2])
        const [ping, ended] = [client.ping(), client.unsubscribe(key)]
        assert.ok(await ping)
        assert.deepEqual([await ended, await client.punsubscribe(`${key}*`)], [1, 0])
        assert.equal(await client.get(key), 'alone')
        await client.client('REPLY', 'ON')
        assert.equal(await client.get(key), 'alone')
      })
      await pool.close()
    })
  })

  describe(`${name}: answers behind the one at which a client was ended`, () => {
    const strays = { 'a null': '$-1\r\n', 'an empty list': '*0\r\n', 'an error': '-ERR stray\r\n' }
    for (const [what, stray] of Object.entries(strays)) {
      test(`${what} that comes in one piece with it goes to nobody, and throws nothing`, async () => {
        // Nobody has asked for the second, which ends the connection; nor for those behind it.
        const answer = `$4\r\nmine\r\n+stray\r\n${stray}${stray}`
        await withFake(butFor({ ECHO: answer }), async fake => {
          const pool = poolOf(Client, { port: fake.port })
          const client = await pool.acquire()
          const ended = endOf(client)
          const errors: string[] = []
          client.on('error', ({ message }) => errors.push(message))
          assert.equal(await client.echo('mine'), 'mine')
          await ended
          assert.equal(errors.length, 1)
          assert.match(errors[0] ?? '', /Command queue state error/)
          await pool.release(client)
          assert.equal(pool.available, 0)
          await pool.close()
        })
      })
    }

    test('a loan that is ended by a listener hears of nothing that comes in one piece with the message', async () => {
      const channel = bulk('news')
      const confirmed = `*3\r\n${bulk('subscribe')}${channel}:1\r\n`
      const message = `*3\r\n${bulk('message')}${channel}${bulk('text')}`
      await withFake(butFor({ SUBSCRIBE: `${confirmed}${message}*0\r\n${message}` }), async fake => {
        const pool = poolOf(Client, { port: fake.port, protocol: 2 })
        const client = await pool.acquire()
        let heard = 0
        const released = new Promise(resolve => {
          client.on('message', () => {
            heard += 1
            resolve(pool.release(client))
          })
        })
        await client.subscribe('news')
        await released
        assert.equal(heard, 1)
        await pool.close()
      })
    })
  })
}
