import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { isPoolError } from '../../../src/api/errors.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { handshake, withFake } from './fake-redis.ts'
import { factoryOf, heldTimers, noSignal, noTimers, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

for (const { name, Client } of versions) {
  describe(`${name}: a client that the user makes`, () => {
    const made = (make: () => unknown) => factoryOf(Client, make)
    const refusal = (make: () => unknown) => rejection(made(make).create(noSignal()))

    test('is taken whether it waits, connects or is ready', { skip }, async () => {
      const { port } = redis.server
      const ready = new Client(port)
      await once(ready, 'ready')
      const connected = new Client(port)
      await once(connected, 'connect')
      for (const client of [new Client(port, { lazyConnect: true }), new Client(port), connected, ready]) {
        const factory = made(() => client)
        assert.equal(await factory.create(noSignal()), client)
        assert.equal(client.options.retryStrategy, null)
        await factory.destroy(client)
        assert.equal(client.status, 'end')
      }
    })

    test('reports its errors as any other', async () => {
      assert.equal((await refusal(() => new Client(1, '127.0.0.1'))).code, 'ECONNREFUSED')
      assert.match((await refusal(() => assert.fail('of the user'))).message, /of the user/)
    })

    test('is refused if a pool has it already, and stays usable there', { skip }, async () => {
      const client = new Client(redis.server.port)
      const factory = made(() => client)
      await factory.create(noSignal())
      assert.match((await refusal(() => client)).message, /a client that a pool already has/)
      assert.equal(await client.ping(), 'PONG')
      await factory.destroy(client)
    })

    test('is closed when it is refused', async () => {
      await withFake(handshake, async ({ port }) => {
        for (const [options, issue] of [
          [{ enableAutoPipelining: true }, /enableAutoPipelining must be false .* got true/],
          [
            { monitor: true, enableReadyCheck: false },
            /enableReadyCheck must be true.*; monitor must be false/,
          ],
          [{ reconnectOnError: () => true }, /reconnectOnError must be null .* got a function/],
          [{ failoverDetector: true }, /failoverDetector must be false/],
        ] as const) {
          const client = new Client({ port, ...options })
          const error = await refusal(() => client)
          assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
          assert.match(error.message, issue)
          await eventually(() => client.status === 'end')
        }
        const cluster = new Client.Cluster([{ port }])
        assert.match((await refusal(() => cluster)).message, /not a cluster/)
        // A cluster without nodes stays so; it has neither a socket nor a timer.
        assert.equal(cluster.status, 'disconnecting')
        const late = new Client(port)
        assert.match((await refusal(async () => late)).message, /not a promise/)
        await eventually(() => late.status === 'end')
        const ended = new Client(port, { lazyConnect: true })
        ended.disconnect()
        assert.match((await refusal(() => ended)).message, /is 'end'/)
        for (const other of [undefined, null, 'redis://h', {}, new EventTarget()]) {
          assert.match((await refusal(() => other)).message, /must return an ioredis client, not/)
        }
      })
    })

    test('with options of another client is refused where they would lead elsewhere, and nowhere else', {
      skip,
    }, async () => {
      const { port } = redis.server
      const wrong = (options: object) => () => new Client({ lazyConnect: true, ...options } as object)
      assert.match(
        (await refusal(wrong({ url: 'redis://10.1.2.3' }))).message,
        /url is not an option of ioredis/,
      )
      assert.match((await refusal(wrong({ port, database: 3 }))).message, /database .* it is called db/)
      assert.match((await refusal(wrong({ port, user: 'me' }))).message, /user .* it is called username/)
      const factory = made(wrong({ port, db: 1, database: 1, url: redis.url, hostname: 'x' }))
      await factory.destroy((await factory.create(noSignal())) as never)
    })

    test('that keeps reconnecting is refused and does so no more', async () => {
      await noTimers()
      const client = new Client(1, '127.0.0.1', { retryStrategy: () => 60_000 })
      client.on('error', () => {})
      await new Promise(resolve => client.once('reconnecting', () => resolve(undefined)))
      assert.equal(heldTimers(), 1)
      assert.match((await refusal(() => client)).message, /is 'reconnecting'/)
      assert.equal(heldTimers(), 0)
    })
  })
}
