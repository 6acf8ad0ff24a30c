import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { eventually } from '../../support/factories.ts'
import { bulk, butFor, withFake } from './fake-redis.ts'
import { poolOf, versions } from './versions.ts'

/** What a server may send without having been asked; ioredis throws at some of it where nobody can catch that. */
const STRAYS: Readonly<Record<string, string>> = {
  'a null': '$-1\r\n',
  'a null list': '*-1\r\n',
  'a null of RESP3': '_\r\n',
  'an empty list': '*0\r\n',
  'a list of a null': '*1\r\n$-1\r\n',
  'a number': ':1\r\n',
  'an error': '-ERR stray\r\n',
}

for (const { name, Client } of versions) {
  describe(`${name}: a reply that nobody asked for`, () => {
    for (const [what, stray] of Object.entries(STRAYS)) {
      test(`${what} on an idle connection closes it, and throws nothing`, async t => {
        if (name !== 'ioredis 6' && stray === '_\r\n') return t.skip('no RESP3')
        await withFake(butFor({}), async fake => {
          const pool = poolOf(Client, { port: fake.port }, { max: 2 })
          const ends: string[] = []
          pool.on('destroy', ({ reason }) => ends.push(reason))
          await pool.use(client => client.ping())
          assert.equal(pool.available, 1)
          for (const socket of fake.sockets) socket.write(stray)
          await eventually(() => pool.size === 0)
          assert.equal(ends.length, 1)
          assert.equal(await pool.use(client => client.ping()), 'PONG')
          await pool.close()
        })
      })

      test(`${what} on a lent connection, alone or behind an answer, ends it and answers nothing`, async t => {
        if (name !== 'ioredis 6' && stray === '_\r\n') return t.skip('no RESP3')
        for (const glued of [false, true]) {
          const answer = `${bulk('mine')}${glued ? stray + stray : ''}`
          await withFake(butFor({ ECHO: answer }), async fake => {
            const pool = poolOf(Client, { port: fake.port }, { max: 1 })
            const client = await pool.acquire()
            const ended = new Promise<void>(resolve => client.once('end', () => resolve()))
            const errors: string[] = []
            client.on('error', ({ message }) => errors.push(message))
            assert.equal(await client.echo('mine'), 'mine')
            if (!glued) for (const socket of fake.sockets) socket.write(stray)
            await ended
            assert.equal(errors.length, 1)
            assert.match(errors[0] ?? '', /a reply that nobody asked for/)
            await pool.release(client)
            assert.equal(pool.available, 0)
            await pool.close()
          })
        }
      })
    }

    test('a null before the handshake is through fails the connect, and throws nothing', async () => {
      await withFake(
        (_, socket) => {
          socket.write('$-1\r\n'.repeat(20))
          return undefined
        },
        async fake => {
          const pool = poolOf(Client, { port: fake.port }, { acquireTimeoutMillis: 100 })
          await assert.rejects(pool.acquire() as Promise<unknown>)
          await pool.close()
        },
      )
    })

    test('a null on a subscribed connection is no message, and throws nothing', async () => {
      const confirmed = `*3\r\n${bulk('subscribe')}${bulk('news')}:1\r\n`
      await withFake(butFor({ SUBSCRIBE: confirmed }), async fake => {
        const pool = poolOf(Client, { port: fake.port, protocol: 2 })
        const client = await pool.acquire()
        const ended = new Promise<void>(resolve => client.once('end', () => resolve()))
        client.on('error', () => {})
        await client.subscribe('news')
        for (const socket of fake.sockets) socket.write('$-1\r\n')
        await ended
        await pool.release(client)
        await pool.close()
      })
    })
  })
}
