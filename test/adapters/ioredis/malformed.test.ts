import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { eventually } from '../../support/factories.ts'
import { type Answer, bulk, type FakeRedis, handshake, withFake } from './fake-redis.ts'
import { startFakeSentinel } from './fake-sentinel.ts'
import { poolOf, versions } from './versions.ts'

/*
 * What ioredis would throw at, out of the socket's event or a tick of its own: that would fail these tests, as it would
 * end a process.
 */

const list = (...entries: string[]): string => `*${entries.length}\r\n${entries.join('')}`
const push = (...entries: string[]): string => `>${entries.length}\r\n${entries.join('')}`
const NULL = '$-1\r\n'
const news = bulk('news')

/** None of them is a reply to SUBSCRIBE. */
const NO_REPLIES: Readonly<Record<string, string>> = {
  'a null': NULL,
  'a null list': '*-1\r\n',
  'a number': ':1\r\n',
  'a single letter': '+O\r\n',
  'an empty list': list(),
  'a list of a null': list(NULL),
  'a reply of which half is missing': list(bulk('subscribe')),
  'a reply without a channel': list(bulk('subscribe'), NULL, ':1\r\n'),
  'a map of nulls': '%1\r\n_\r\n_\r\n',
  'the answer to an UNSUBSCRIBE': list(bulk('unsubscribe'), NULL, ':0\r\n'),
  'a list of something else': list(bulk('x'), bulk('y'), bulk('z')),
}

/** For a subscriber by the older protocol. */
const NO_MESSAGES: Readonly<Record<string, string>> = {
  'a list of a null': list(NULL),
  'an empty list': list(),
  'half a message': list(bulk('message')),
  'a message of nulls': list(bulk('message'), NULL, NULL),
  'half a message of a pattern': list(bulk('pmessage'), bulk('p*')),
  'a message of a shard without a channel': list(bulk('smessage'), NULL, bulk('text')),
  'an answer that nobody asked for': list(bulk('subscribe'), NULL, ':1\r\n'),
}

/** By the newer protocol, at any time. */
const NO_PUSHES: Readonly<Record<string, string>> = {
  'of a null': push('_\r\n'),
  'of an older null': push(NULL),
  'of half a message': push(bulk('pmessage'), bulk('p*')),
  'of half a subscription': push(bulk('subscribe')),
  'of a subscription that nobody asked for': push(bulk('subscribe'), news, ':1\r\n'),
}

/** At which the parser itself fails. */
const NO_RESP: Readonly<Record<string, string>> = {
  'a list that is too long': '*99999999999\r\n',
  'a list that is too deep': `${'*1\r\n'.repeat(20_000)}:1\r\n`,
  'a list that is too deep, and has no end': '*1\r\n'.repeat(20_000),
  'a length below zero': '$-7\r\n',
  'a length that is no number': '*x\r\n',
  'the answer of another protocol': 'HTTP/1.1 400 Bad Request\r\n\r\n',
  'a text that is longer than it says': '$1\r\nlonger\r\n',
}

const say = ({ sockets }: FakeRedis, text: string): void => {
  for (const socket of sockets) socket.write(text)
}

/** Lends a client; what comes of it must be one error, and the end of its connection. */
async function ends(
  Client: typeof Redis,
  options: object,
  fake: FakeRedis,
  act: (client: Redis, told: string[]) => Promise<unknown>,
): Promise<string> {
  const pool = poolOf(Client, { port: fake.port, ...options }, { max: 1 })
  const client = await pool.acquire()
  const ended = new Promise<void>(resolve => client.once('end', () => resolve()))
  const errors: string[] = []
  client.on('error', ({ message }) => errors.push(message))
  await act(client, errors)
  await ended
  assert.equal(errors.length, 1)
  await pool.release(client)
  assert.equal(pool.available, 0)
  assert.equal(await pool.use(next => next.ping()), 'PONG')
  await pool.close()
  return errors[0] ?? ''
}

for (const { name, Client } of versions) {
  const protocols = name === 'ioredis 5' ? [2] : [2, 3]

  describe(`${name}: an answer to SUBSCRIBE that is none`, () => {
    const ways: Readonly<Record<string, (client: Redis) => Promise<unknown>>> = {
      directly: client => client.subscribe('news'),
      'by call, of a pattern': client => client.call('PSUBSCRIBE', 'news*') as Promise<unknown>,
      'by call': client => client.call('SUBSCRIBE', 'news') as Promise<unknown>,
      'in a pipeline, behind another command': client => client.pipeline().ping().subscribe('news').exec(),
    }
    for (const [what, reply] of Object.entries(NO_REPLIES))
      for (const [way, subscribe] of Object.entries(ways))
        test(`${what}, ${way}, closes the connection and throws nothing`, async () => {
          const answer: Answer = command => (command[0]?.endsWith('SUBSCRIBE') ? reply : handshake(command))
          for (const protocol of protocols)
            await withFake(answer, async fake => {
              const error = await ends(Client, { protocol }, fake, async client => {
                const outcome = await subscribe(client).catch((reason: Error) => reason)
                // The caller is told, too.
                assert.match(JSON.stringify(outcome, textOf), /clos|abort/i)
              })
              assert.match(error, /the server sent an invalid reply to|the server sent half a/)
            })
        })
  })

  describe(`${name}: a message that is none`, () => {
    const confirmed: Answer = command =>
      command[0] === 'SUBSCRIBE' ? list(bulk('subscribe'), news, ':1\r\n') : handshake(command)
    for (const [what, message] of Object.entries(NO_MESSAGES))
      test(`${what}, to a subscriber, closes the connection and throws nothing`, async () => {
        for (const glued of [false, true])
          await withFake(
            command =>
              `${confirmed(command, undefined as never)}${glued && command[0] === 'SUBSCRIBE' ? message : ''}`,
            async fake => {
              await ends(Client, { protocol: 2 }, fake, async client => {
                for (const event of ['message', 'pmessage', 'smessage']) client.on(event, assert.fail)
                await client.subscribe('news')
                if (!glued) say(fake, message)
              })
            },
          )
      })

    test('messages that are some are heard, also in pieces of one byte', async () => {
      const told = [
        list(bulk('message'), news, bulk('first')),
        list(bulk('message'), news, bulk('')),
        list(bulk('pmessage'), bulk('n*'), news, bulk('third\r\n')),
      ]
      await withFake(
        (command, socket) => {
          if (command[0] !== 'SUBSCRIBE') return handshake(command)
          for (const byte of list(bulk('subscribe'), news, ':1\r\n') + told.join('')) socket.write(byte)
          return undefined
        },
        async fake => {
          const pool = poolOf(Client, { port: fake.port, protocol: 2 })
          const client = await pool.acquire()
          const heard: unknown[] = []
          client.on('message', (...message) => heard.push(message))
          client.on('pmessage', (...message) => heard.push(message))
          assert.equal(await client.subscribe('news'), 1)
          await eventually(() => heard.length === 3)
          assert.deepEqual(heard, [
            ['news', 'first'],
            ['news', ''],
            ['n*', 'news', 'third\r\n'],
          ])
          await pool.release(client)
          await pool.close()
        },
      )
    })
  })

  describe(`${name}: a push message that is none`, { skip: name === 'ioredis 5' && 'no RESP3' }, () => {
    for (const [what, message] of Object.entries(NO_PUSHES)) {
      test(`${what} closes an idle connection, and throws nothing`, async () => {
        for (const protocol of protocols)
          await withFake(handshake, async fake => {
            const pool = poolOf(Client, { port: fake.port, protocol })
            await pool.use(client => client.ping())
            say(fake, message)
            await eventually(() => pool.size === 0)
            await pool.close()
          })
      })

      test(`${what} closes a lent connection, and answers no command`, async () => {
        const silent: Answer = command => (command[0] === 'GET' ? undefined : handshake(command))
        for (const protocol of protocols)
          await withFake(silent, async fake => {
            await ends(Client, { protocol }, fake, async client => {
              const [before, get] = [client.ping(), client.get('x')]
              assert.equal(await before, 'PONG')
              say(fake, message)
              await assert.rejects(get, /closed/)
            })
          })
      })
    }

    test('of a kind that nobody knows is let pass', { skip: name === 'iovalkey' && 'no RESP3' }, async () => {
      await withFake(handshake, async fake => {
        const pool = poolOf(Client, { port: fake.port, protocol: 3 })
        await pool.use(async client => {
          say(fake, push(bulk('invalidate'), '_\r\n') + push() + push(bulk('other'), ':1\r\n'))
          assert.equal(await client.ping(), 'PONG')
        })
        assert.equal(pool.available, 1)
        await pool.close()
      })
    })
  })

  describe(`${name}: what is no RESP`, () => {
    const states: Readonly<Record<string, (client: Redis) => Promise<unknown>>> = {
      'as an answer': client => client.get('x'),
      'within a MULTI': client => client.multi().get('x').exec(),
      'to one who waits': client => client.blpop('x', 0),
    }
    for (const [what, text] of Object.entries(NO_RESP)) {
      for (const [state, send] of Object.entries(states))
        test(`${what}, ${state}, closes the connection and throws nothing`, async () => {
          const answer: Answer = command =>
            ['GET', 'BLPOP'].includes(command[0] as string) ? text : handshake(command)
          await withFake(answer, async fake => {
            const error = await ends(Client, {}, fake, client => assert.rejects(send(client), /clos|abort/i))
            assert.match(error, /which is not the Redis protocol/)
          })
        })

      test(`${what} on an idle connection closes it, and throws nothing`, async () => {
        await withFake(handshake, async fake => {
          const pool = poolOf(Client, { port: fake.port })
          await pool.use(client => client.ping())
          say(fake, text)
          await eventually(() => pool.size === 0)
          await pool.close()
        })
      })
    }
  })

  describe(`${name}: a reply to SCAN that is none`, () => {
    const replies = {
      'a null': NULL,
      'a list of nulls': list(NULL, NULL),
      'a text': '+OK\r\n',
      'half of it': list(bulk('0')),
    }
    for (const [what, reply] of Object.entries(replies))
      test(`${what}, to a stream, is an error of that, and throws nothing`, async () => {
        const answer: Answer = command => (command[0]?.endsWith('SCAN') ? reply : handshake(command))
        await withFake(answer, async fake => {
          const pool = poolOf(Client, { port: fake.port })
          await pool.use(async client => {
            for (const stream of [
              client.scanStream(),
              client.hscanStream('x'),
              client.zscanBufferStream('x'),
            ])
              await assert.rejects(stream.toArray(), /the reply to [HZ]?SCAN.* is not a cursor and a list/)
          })
          assert.equal(pool.available, 1)
          await pool.close()
        })
      })
  })

  describe(`${name}: a sentinel that sends what is no answer`, () => {
    const strays = { 'a null': NULL, 'a list of a null': list(NULL), 'no RESP': 'x\r\n' }
    for (const [what, stray] of Object.entries(strays))
      test(`${what}, to the one who listens to it, costs that connection and throws nothing`, async () => {
        await withFake(handshake, async server => {
          const word = { host: '127.0.0.1', port: server.port, epoch: 1 }
          const sentinel = await startFakeSentinel('mine', word)
          const pool = poolOf(Client, { sentinels: [sentinel.endpoint], name: 'mine', protocol: 2 })
          await pool.use(client => client.ping())
          await eventually(() => sentinel.listeners === 1)
          const before = sentinel.server.accepted
          say(sentinel.server, stray)
          await eventually(() => sentinel.server.accepted > before && sentinel.listeners === 1)
          assert.equal(await pool.use(client => client.ping()), 'PONG')
          await pool.close()
          await sentinel.stop()
        })
      })
  })
}

const textOf = (_: string, value: unknown): unknown => (value instanceof Error ? value.message : value)
