import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { Redis } from 'ioredis'
import { isPoolError } from '../../../src/api/errors.ts'
import { eventually, settledWithin } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { type Answer, bulk, handshake, startFakeRedis } from './fake-redis.ts'
import { poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis
const host = '127.0.0.1'

for (const { name, Client } of versions) {
  describe(`${name}: dangers of a lent client`, { skip }, () => {
    test('a database that prepare has selected is not taken away by the first loan', async () => {
      const prepare = async (client: Redis) => void (await client.select(3))
      const pool = poolOf(Client, { port: redis.server.port }, { prepare })
      const database = () =>
        pool.use(async client => / db=(\d+) /.exec(String(await client.client('INFO')))?.[1])
      for (let loan = 0; loan < 3; loan += 1) assert.equal(await database(), '3')
      await pool.use(client => client.select(0))
      assert.equal(await database(), '3', 'and comes back to it')
      assert.equal(pool.stats().totals.created, 1)
      await pool.close()
    })

    test('a pipeline with a script whose loan ends between its two steps is refused, and does not hang', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      // Only in one of these moments it has ended when the second step is about to be sent.
      for (let moments = 0; moments < 8; moments += 1) {
        const key = redis.key(`steps:${moments}`)
        const client = await pool.acquire()
        const lua = `return redis.call("INCR", KEYS[1]) -- ${moments}`
        client.defineCommand('bump', { lua, numberOfKeys: 1 })
        const pipeline = client.pipeline() as unknown as { bump(key: string): { exec(): Promise<unknown> } }
        // First it asks which scripts the server has, and goes on with the answer.
        const asked = client.sendCommand
        let answered: Promise<unknown> = Promise.resolve()
        client.sendCommand = function (this: Redis, command, stream) {
          const sent = Reflect.apply(asked, this, [command, stream])
          if (command.name === 'script') answered = command.promise as Promise<unknown>
          return sent
        } as typeof client.sendCommand
        const executed = settledWithin(pipeline.bump(key).exec(), 1000)
        await answered
        for (let moment = 0; moment < moments; moment += 1) await undefined
        await pool.release(client)
        const outcome = await executed
        assert.notEqual(outcome.state, 'pending', `after ${moments}`)
        assert.equal(await pool.use(next => next.echo('mine')), 'mine')
      }
      await pool.close()
    })

    test('a command that timed out is still to be answered, and its answer goes to nobody', async () => {
      const pool = poolOf(Client, { port: redis.server.port, commandTimeout: 200 })
      const admin = new Client(redis.url)
      await pool.use(client => client.set(redis.key('late'), 'late'))
      const client = await pool.acquire()
      await admin.call('CLIENT', 'PAUSE', '500', 'ALL')
      assert.match((await rejection(client.get(redis.key('late')))).message, /timed out/)
      await pool.release(client)
      await admin.ping()
      assert.equal(await pool.use(next => next.echo('mine')), 'mine')
      assert.equal(pool.stats().totals.created, 2)
      admin.disconnect()
      await pool.close()
    })

    test('arguments in lists and custom commands hide nothing that they leave behind', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const loose = (client: Redis) =>
        client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
      const ways: ((client: Redis) => unknown)[] = [
        client => loose(client).client?.(['SETNAME', 'x']),
        client => loose(client).call?.('client', ['setname', 'x']),
        client => client.sendCommand(new Client.Command('Client', ['setname', 'x'])),
        client => client.pipeline([['client', 'setname', 'x']]).exec(),
        client => client.multi([['client', 'setname', 'x']]).exec(),
        client => loose(client).clientBuffer?.('SETNAME', 'x'),
        client => loose(client).callBuffer?.('client', 'SETNAME', 'x'),
      ]
      for (const way of ways) {
        await pool.use(async client => void (await way(client)))
        assert.equal(pool.available, 0, String(way))
        assert.equal(await pool.use(client => client.client('GETNAME')), null, String(way))
      }
      await pool.close()
    })

    test('monitor() works on a client of its own, and costs the pool nothing', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const monitor = await pool.use(client => client.monitor())
      const seen = once(monitor, 'monitor')
      await pool.use(client => client.ping())
      await seen
      monitor.disconnect()
      assert.equal(pool.stats().totals.created, 1)
      await pool.close()
    })

    test('a handle that is shown, logged or compared after its loan does not throw', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const client = await pool.acquire()
      await pool.release(client)
      assert.ok(inspect(client, { depth: 1 }).length > 0)
      assert.equal(typeof JSON.stringify(client), 'string')
      assert.ok(`${client}`.length > 0 && client instanceof Client)
      await pool.close()
    })

    test('a method of the class, called on a stale handle by a tool that wraps it, reaches nobody', async () => {
      const pool = poolOf(Client, { port: redis.server.port })
      const key = redis.key('wrapped')
      const client = await pool.acquire()
      await pool.release(client)
      const next = await pool.acquire()
      const command = new Client.Command('incr', [key])
      const sent = (async () => Client.prototype.sendCommand.call(client, command))()
      assert.ok((await rejection(sent)).message.length > 0)
      assert.equal(await next.get(key), null)
      await pool.release(next)
      await pool.close()
    })

    test('a server that restarts costs its connections, and nobody more than the failed command', async () => {
      const { startRedis } = await import('../../support/redis-server.ts')
      const first = await startRedis()
      const pool = poolOf(Client, { port: first.port }, { max: 4, acquireTimeoutMillis: 5000 })
      const held = await Promise.all([1, 2, 3, 4].map(() => pool.acquire()))
      const blocked = held.map(client => rejection(client.blpop('none', 0)))
      await first.stop()
      for (const { message } of await Promise.all(blocked)) assert.match(message, /Connection is closed/)
      await Promise.all(held.map(client => pool.release(client)))
      const second = await startRedis({ port: String(first.port) })
      assert.equal(await pool.use(client => client.echo('back')), 'back')
      assert.equal(pool.size, 1)
      await pool.close()
      await second.stop()
    })

    test('a borrower who ends and uses his client in one go is told, and leaves no timer or socket', async () => {
      const pool = poolOf(Client, { port: redis.server.port }, { max: 2 })
      for (const end of [
        (client: Redis) => client.disconnect(true),
        (client: Redis) => void client.quit().catch(() => {}),
        (client: Redis) => client.stream.destroy(),
        (client: Redis) => client.stream.end(),
        (client: Redis) => client.stream.removeAllListeners(),
      ]) {
        const client = await pool.acquire()
        end(client)
        const used = settledWithin(client.blpop('none', 0), 2000)
        await pool.release(client)
        assert.equal((await used).state, 'rejected', String(end))
        assert.equal(await pool.use(next => next.echo('next')), 'next')
      }
      await pool.close()
    })
  })

  describe(`${name}: dangers of validation`, () => {
    test('a server that had closed the connection before it was asked is not called silent', async () => {
      const fake = await startFakeRedis()
      const pool = poolOf(Client, { port: fake.port }, { validateAfterIdleMillis: 0 })
      const ends: string[] = []
      pool.on('destroy', ({ reason }) => ends.push(reason))
      pool.on('half-close', ({ state }) => ends.push(`half-close while ${state}`))
      await pool.use(client => client.ping())
      // Its FIN is in the kernel when the PING is sent, and nobody has heard of it yet.
      for (const socket of fake.sockets) socket.destroy()
      assert.equal(await pool.use(client => client.ping()), 'PONG')
      assert.deepEqual(ends, ['half-close while validating', 'half-closed'])
      await pool.close()
      await fake.stop()
    })
  })

  describe(`${name}: dangers of sentinels`, () => {
    /** A sentinel that says what the test wants, and tells those that subscribe. */
    const startFakeSentinel = async (master: () => number, replicas: () => number[] = () => []) => {
      const listeners: ((message: string) => void)[] = []
      const fake = await startFakeRedis(([command = '', ...args], socket) => {
        if (command === 'SENTINEL') {
          const what = args[0]?.toLowerCase()
          if (what === 'get-master-addr-by-name') return `*2\r\n${bulk(host)}${bulk(String(master()))}`
          if (what !== 'slaves') return '*0\r\n'
          const entries = replicas().map(port => {
            const fields = ['ip', host, 'port', String(port), 'flags', 'slave']
            return `*${fields.length}\r\n${fields.map(bulk).join('')}`
          })
          return `*${entries.length}\r\n${entries.join('')}`
        }
        if (command === 'SUBSCRIBE') {
          listeners.push(message =>
            socket.write(`*3\r\n${bulk('message')}${bulk('+switch-master')}${bulk(message)}`),
          )
          return `*3\r\n${bulk('subscribe')}${bulk('+switch-master')}:1\r\n`
        }
        // No RESP3: a subscription then looks alike for both versions.
        if (command === 'HELLO') return "-ERR unknown command 'HELLO'\r\n"
        return handshake([command, ...args])
      })
      return { fake, listeners }
    }

    test('a primary that was replaced, and made primary again unheard, is not refused for ever', async () => {
      const [a, b] = await Promise.all([startFakeRedis(), startFakeRedis()])
      let master = a.port
      const { fake, listeners } = await startFakeSentinel(() => master)
      const sentinels = [{ host, port: fake.port }]
      const pool = poolOf(Client, { sentinels, name: 'flapping' }, { acquireTimeoutMillis: 2000 })
      try {
        const portOf = () => pool.use(async client => client.stream.remotePort)
        assert.equal(await portOf(), a.port)
        await eventually(() => listeners.length === 1)
        master = b.port
        // Right behind the answer to the question who is the primary: that is older, and must not undo it.
        listeners[0]?.(`flapping ${host} ${a.port} ${host} ${b.port}`)
        await eventually(() => pool.stats().generation === 1)
        assert.equal(await portOf(), b.port)
        assert.equal(pool.stats().generation, 1)
        // The last connection goes, and with it the watch.
        await pool.clear()
        await eventually(() => fake.sockets.size === 0)
        master = a.port
        assert.equal(await portOf(), a.port)
      } finally {
        await pool.close()
        await Promise.all([fake, a, b].map(server => server.stop()))
      }
    })

    test('a switch does not cut who reads from a replica, and the old primary may be one from then on', async () => {
      const asReplica: Answer = command =>
        command[0] === 'INFO' ? bulk('role:slave\r\nloading:0\r\n') : handshake(command)
      const [a, b] = await Promise.all([startFakeRedis(asReplica), startFakeRedis(asReplica)])
      let replicas = [b.port]
      const { fake, listeners } = await startFakeSentinel(
        () => a.port,
        () => replicas,
      )
      const sentinels = [{ host, port: fake.port }]
      const pool = poolOf(
        Client,
        { sentinels, name: 'readers', role: 'slave' },
        { max: 2, acquireTimeoutMillis: 2000 },
      )
      try {
        const reader = await pool.acquire()
        await eventually(() => listeners.length === 1)
        replicas = [a.port]
        listeners[0]?.(`readers ${host} ${a.port} ${host} 1`)
        await eventually(() => pool.stats().generation === 1)
        assert.equal(await reader.ping(), 'PONG')
        assert.equal(await pool.use(async client => client.stream.remotePort), a.port)
        await pool.release(reader)
        await eventually(() => pool.available === 1)
        assert.equal(pool.size, 1, 'it was of the old generation')
      } finally {
        await pool.close()
        await Promise.all([fake, a, b].map(server => server.stop()))
      }
    })
  })
}

describe('dangers of options', () => {
  test('a pool cannot be asked to validate what nobody can validate, not even at once', async () => {
    const { createPool } = await import('../../../src/index.ts')
    const factory = { create: async () => ({}), destroy: async () => {} }
    assert.throws(
      () => createPool(factory, { validateAfterIdleMillis: 0 }),
      error => isPoolError(error, 'POOL_BAD_OPTIONS'),
    )
  })
})
