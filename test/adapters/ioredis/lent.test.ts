import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { settledWithin } from '../../support/factories.ts'
import { countSockets } from '../../support/fds.ts'
import { kernelStates } from '../../support/kernel.ts'
import { withRedis } from '../../support/redis.ts'
import { type Answer, butFor, handshake, startFakeRedis } from './fake-redis.ts'
import { everyClient, factoryOf, heldTimers, noSignal, noTimers, rejection } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

/** Commands that the server swallows. */
const silentFor =
  (...names: string[]): Answer =>
  command =>
    names.includes(command[0] ?? '') ? undefined : handshake(command)

for (const { name, Client } of everyClient) {
  const connect = async (options: unknown) => {
    const factory = factoryOf(Client, options)
    const client = await factory.create(noSignal())
    return {
      client,
      alive: (signal = noSignal()) => Promise.resolve(factory.validate?.(client, signal)),
      busy: () => factory.busy?.(client),
      socket: () => factory.socket?.(client),
      destroy: async () => factory.destroy(client),
    }
  }

  describe(`${name}: asking whether a connection is alive`, () => {
    test('says yes to a clean one, also where the user may not PING', { skip }, async () => {
      const admin = new Client(redis.url)
      await admin.call('ACL', 'SETUSER', 'minimal', 'on', '>secret', '~*', '+get', '+hello')
      for (const options of [
        redis.url,
        { port: redis.server.port, username: 'minimal', password: 'secret' },
      ]) {
        const { client, alive, busy, destroy } = await connect(options)
        assert.equal(busy(), false)
        assert.equal(await alive(), true)
        assert.equal(await client.get('x'), null)
        await destroy()
      }
      admin.disconnect()
    })

    test('goes by the error that the server gives to a PING', async t => {
      const answers = {
        'NOPERM no permissions to run the ping command': true,
        'MISCONF Redis is configured to save RDB snapshots': true,
        'BUSY Redis is busy running a script': true,
        "ERR unknown command 'PING'": true,
        'LOADING Redis is loading the dataset in memory': false,
        'MASTERDOWN Link with MASTER is down': false,
        'READONLY You can not write': false,
        'NOAUTH Authentication required.': false,
        'BUSYGROUP no such thing': false,
        'ERR upstream failure': false,
      }
      for (const [error, expected] of Object.entries(answers)) {
        const fake = await startFakeRedis(butFor({ PING: `-${error}\r\n` }))
        t.after(() => fake.stop())
        const { alive, destroy } = await connect({ port: fake.port })
        assert.equal(await alive(), expected, error)
        await destroy()
      }
    })

    test('says no to one with a MULTI left open, a subscription, or unanswered commands', {
      skip,
    }, async () => {
      const dirty: ((client: Redis) => Promise<unknown>)[] = [
        client => client.call('MULTI'),
        client => client.subscribe('news'),
        async client => void client.blpop('none', 0).catch(() => {}),
      ]
      for (const soil of dirty) {
        const { client, alive, destroy } = await connect(redis.url)
        await soil(client)
        assert.equal(await alive(), false)
        await destroy()
      }
    })

    test('does not wait for a server that went silent, nor leave an unhandled rejection', async t => {
      const fake = await startFakeRedis(silentFor('PING'))
      t.after(() => fake.stop())
      const { alive, destroy } = await connect({ port: fake.port })
      const patience = new AbortController()
      const answer = alive(patience.signal)
      await nextTurn()
      patience.abort()
      assert.deepEqual(await settledWithin(answer, 100), { state: 'fulfilled', value: false })
      await destroy()
      assert.equal(await alive(), false)
    })
  })

  describe(`${name}: ending a connection`, () => {
    test('rejects a pending BLPOP, and an abandoned one brings nothing down', { skip }, async () => {
      const { client, busy, destroy } = await connect(redis.url)
      const awaited = client.blpop('none', 0)
      // Nobody awaits this one: unhandled, its rejection would end the process.
      void client.blpop('none', 0)
      void client.multi({ pipeline: false })
      assert.equal(busy(), 'BLPOP')
      const socket = client.stream
      await noTimers()
      const ended = destroy()
      assert.equal(socket.destroyed, true, 'in the same tick')
      await ended
      assert.match((await rejection(awaited)).message, /Connection is closed/)
      assert.equal(client.status, 'end')
      assert.equal(heldTimers(), 0)
      await nextTurn()
    })

    test('works in subscriber mode, after the server closed, and twice', { skip }, async () => {
      await noTimers()
      const admin = new Client(redis.url)
      const states: ((client: Redis) => Promise<unknown>)[] = [
        client => client.subscribe('news'),
        async client => {
          const ended = once(client, 'end')
          await admin.client('KILL', 'ID', await client.client('ID'))
          await ended
        },
        async client => client.disconnect(),
        client => client.quit(),
        async client => client.stream.removeAllListeners(),
      ]
      for (const [index, bring] of states.entries()) {
        const { client, destroy } = await connect(redis.url)
        await bring(client)
        for (const ended of [destroy(), destroy()]) {
          assert.equal((await settledWithin(ended, 500)).state, 'fulfilled', `state ${index}`)
        }
        assert.equal(heldTimers(), 0)
      }
      admin.disconnect()
    })

    test('works while it is still connecting', { skip }, async () => {
      const factory = factoryOf(Client, redis.url)
      for (const turns of [0, 1, 2]) {
        const client = new Client(redis.url, { retryStrategy: null })
        for (let turn = 0; turn < turns; turn += 1) await nextTurn()
        await factory.destroy(client)
        assert.equal(client.status, 'end')
      }
    })

    test('resets what cannot be delivered to a server that stopped reading', async t => {
      const pausing: Answer = (command, socket) => {
        if (command[0] === 'GET') socket.pause()
        return handshake(command)
      }
      const fake = await startFakeRedis(pausing)
      t.after(() => fake.stop())
      const { client, destroy } = await connect({ host: '127.0.0.1', port: fake.port })
      await client.get('x').catch(() => {})
      const unsent = client.set('x', Buffer.alloc(32 * 2 ** 20))
      assert.ok(client.stream.writableLength > 0)
      const states = kernelStates(client.stream)
      await destroy()
      assert.match((await rejection(unsent)).message, /Connection is closed/)
      // A plain close leaves the kernel a connection in FIN_WAIT1 that nobody owns.
      assert.deepEqual(await states(), [])
    })
  })

  describe(`${name}: a connection on its own`, () => {
    test('is closed after a reply that nobody asked for, instead of shifting the ones that follow', async t => {
      const fake = await startFakeRedis()
      t.after(() => fake.stop())
      const { client, destroy } = await connect({ port: fake.port })
      const socket = client.stream
      const closed = once(socket, 'close')
      for (const server of fake.sockets) server.write('+STRAY\r\n')
      await closed
      assert.equal((await rejection(client.get('x'))).message.length > 0, true)
      await destroy()
    })

    test('does not stay in CLOSE_WAIT because it has unsent data', async t => {
      const closing: Answer = (command, socket) => {
        if (command[0] !== 'GET') return handshake(command)
        socket.pause()
        setImmediate(() => socket.end())
        return undefined
      }
      const fake = await startFakeRedis(closing)
      t.after(() => fake.stop())
      const { client } = await connect({ host: '127.0.0.1', port: fake.port })
      const ended = once(client, 'end')
      const lost = [client.get('x'), client.set('x', Buffer.alloc(32 * 2 ** 20))].map(rejection)
      await ended
      for (const { message } of await Promise.all(lost)) assert.match(message, /Connection is closed/)
      assert.equal(countSockets()?.tcp.CLOSE_WAIT ?? 0, 0)
    })

    test('keeps its options from the borrower, who can still do all that they allow', { skip }, async () => {
      const key = redis.key('frozen')
      const lua = 'return redis.call("GET", KEYS[1]) .. ARGV[1]'
      const { client, destroy } = await connect({
        port: redis.server.port,
        keyPrefix: 'p:',
        scripts: { tail: { lua, numberOfKeys: 1 } },
        commandTimeout: 1000,
        connectionName: 'frozen',
      })
      assert.throws(() => Object.assign(client.options, { enableAutoPipelining: true }), TypeError)
      await client.watch(key)
      assert.deepEqual(await client.multi().set(key, 'a').get(key).exec(), [
        [null, 'OK'],
        [null, 'a'],
      ])
      assert.deepEqual(await client.pipeline().get(key).exists(key).exec(), [
        [null, 'a'],
        [null, 1],
      ])
      assert.equal(
        await (client as unknown as Record<string, (...args: string[]) => unknown>).tail?.(key, '!'),
        'a!',
      )
      client.defineCommand('head', { lua, numberOfKeys: 1 })
      assert.equal(await client.eval(lua, 1, key, '?'), 'a?')
      await client.select(1)
      assert.equal(await client.get(key), null)
      await client.subscribe('news')
      await client.unsubscribe()
      const copy = client.duplicate()
      await copy.connect()
      assert.equal(await copy.get(key), 'a')
      copy.disconnect()
      await noTimers()
      await destroy()
      assert.equal(heldTimers(), 0)
    })

    test('leaves no timer of a socketTimeout or a blockingTimeout behind', { skip }, async () => {
      await noTimers()
      const options = { socketTimeout: 60_000, blockingTimeout: 60_000, commandTimeout: 60_000 }
      const { client, destroy } = await connect({ port: redis.server.port, ...options })
      void client.blpop('none', 0)
      await nextTurn()
      assert.ok(heldTimers() > 0)
      await destroy()
      assert.equal(heldTimers(), 0)
    })
  })
}
