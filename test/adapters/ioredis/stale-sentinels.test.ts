import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { eventually } from '../../support/factories.ts'
import { ensureRedisBinary, type RedisServer, startRedis } from '../../support/redis-server.ts'
import { type Fleet, startFleet, startLoneSentinel } from '../../support/sentinels.ts'
import { bulk, type FakeRedis, handshake, startFakeRedis } from './fake-redis.ts'
import { type FakeSentinel, startFakeSentinel, type Word } from './fake-sentinel.ts'
import { poolOf, versions } from './versions.ts'

const binary = await ensureRedisBinary()
const skip = 'missing' in binary && binary.missing
const host = '127.0.0.1'
const portOf = (client: Redis): Promise<number | undefined> =>
  client.set('x', '1').then(() => client.stream.remotePort)

for (const { name, Client } of versions) {
  describe(`${name}: the first of the sentinels`, { skip, timeout: 120_000 }, () => {
    let fleet: Fleet
    let hung: RedisServer
    const lone: Awaited<ReturnType<typeof startLoneSentinel>>[] = []
    const startLone = async (port: number) => {
      const sentinel = await startLoneSentinel(fleet.name, port)
      lone.push(sentinel)
      return { host, port: sentinel.port }
    }
    before(async () => {
      fleet = await startFleet()
      hung = await startRedis()
    })
    after(async () => {
      for (const { child } of lone) child.kill('SIGKILL')
      hung.child.kill('SIGCONT')
      await Promise.all([fleet.stop(), hung.stop()])
    })

    const heads: Readonly<Record<string, () => Promise<{ host: string; port: number }>>> = {
      'names a server that is gone': () => startLone(1),
      'names a server that hangs': async () => {
        const sentinel = await startLone(hung.port)
        hung.child.kill('SIGSTOP')
        return sentinel
      },
      'names a server that is a replica': async () => {
        // It would find the others through the replica, and learn.
        const fake = await startFakeSentinel(fleet.name, { host, port: fleet.replica.port, epoch: 0 })
        after(() => fake.stop())
        return fake.endpoint
      },
      'is gone': async () => ({ host, port: 1 }),
      hangs: async () => {
        const endpoint = await startLone(fleet.primary.port)
        lone.at(-1)?.child.kill('SIGSTOP')
        return endpoint
      },
      'does not resolve': async () => ({ host: 'nowhere.invalid', port: 26_379 }),
      'knows no master of this name': async () => {
        const endpoint = await startLoneSentinel('another', fleet.primary.port)
        lone.push(endpoint)
        return { host, port: endpoint.port }
      },
    }
    for (const [what, start] of Object.entries(heads)) {
      test(`${what}: the next ones are asked, for each connection`, async () => {
        const head = await start()
        const good = fleet.sentinels.map(({ host, port }) => ({ host, port }))
        for (const sentinels of [
          [head, ...good],
          [head, good[0] as (typeof good)[0]],
        ]) {
          const pool = poolOf(Client, { sentinels, name: fleet.name }, { max: 3, acquireTimeoutMillis: 3000 })
          for (let round = 0; round < 2; round += 1) {
            const ports = await Promise.all([1, 2, 3].map(() => pool.use(portOf)))
            assert.deepEqual(ports, Array(3).fill(fleet.primary.port))
            await pool.clear()
          }
          assert.equal(pool.stats().totals.createErrors, 0)
          await pool.close()
        }
      })
    }

    test('is wrong, and asked by a client that a function made: the next ones are asked all the same', async () => {
      const head = await startLone(1)
      const sentinels = [head, ...fleet.sentinels.map(({ host, port }) => ({ host, port }))]
      for (const lazyConnect of [true, false]) {
        const make = () => new Client({ sentinels, name: fleet.name, lazyConnect })
        const pool = poolOf(Client, make, { max: 2, acquireTimeoutMillis: 3000 })
        assert.deepEqual(
          await Promise.all([pool.use(portOf), pool.use(portOf)]),
          Array(2).fill(fleet.primary.port),
        )
        await pool.close()
      }
    })

    test('names gone replicas: another is asked for one that serves', async () => {
      const head = await startLone(1)
      const sentinels = [head, ...fleet.sentinels.map(({ host, port }) => ({ host, port }))]
      const pool = poolOf(
        Client,
        { sentinels, name: fleet.name, role: 'slave' },
        { max: 2, acquireTimeoutMillis: 3000 },
      )
      const read = (client: Redis) => client.get('x').then(() => client.stream.remotePort)
      assert.deepEqual(await Promise.all([pool.use(read), pool.use(read)]), [
        fleet.replica.port,
        fleet.replica.port,
      ])
      await pool.close()
    })
  })

  describe(`${name}: a sentinel that is behind`, () => {
    const MASTER = 'mine'
    /** Two servers, both of which say that they are a primary, and sentinels that name the first. */
    const withSentinels = async (
      words: readonly Partial<Word>[],
      run: (world: {
        a: number
        b: number
        sentinels: FakeSentinel[]
        pool: ReturnType<typeof poolOf>
        port(): Promise<number | undefined>
        servers: [FakeRedis, FakeRedis]
      }) => Promise<void>,
      options: object = {},
    ): Promise<void> => {
      const [a, b] = await Promise.all([startFakeRedis(), startFakeRedis()])
      const sentinels = await Promise.all(
        words.map(word => startFakeSentinel(MASTER, { host, port: a.port, epoch: 4, ...word })),
      )
      const made = typeof options === 'function' ? options(a.port, b.port) : options
      const pool = poolOf(
        Client,
        { sentinels: sentinels.map(({ endpoint }) => endpoint), name: MASTER, ...made },
        { max: 2, acquireTimeoutMillis: 3000 },
      )
      const port = () => pool.use(async client => client.stream.remotePort)
      try {
        await run({ a: a.port, b: b.port, sentinels, pool, port, servers: [a, b] })
      } finally {
        await pool.close({ timeoutMillis: 1000 }).catch(() => {})
        await Promise.all([a, b, ...sentinels].map(one => one.stop()))
      }
    }
    /** It tells of a switch, and says nothing else of it. */
    const lie = (sentinel: FakeSentinel | undefined, port: number, to?: string): void => {
      const word = { ...sentinel?.word }
      sentinel?.switchTo(port, to)
      Object.assign(sentinel?.word ?? {}, word)
    }
    const listenedTo = (sentinels: readonly FakeSentinel[]): number =>
      sentinels.findIndex(({ listeners }) => listeners > 0)

    test('does not bring back the old primary, neither by the watch nor by a new connection', async () => {
      await withSentinels([{}, {}, {}], async ({ b, sentinels, pool, port }) => {
        await port()
        await eventually(() => listenedTo(sentinels) === 0)
        // The others have not heard of it, and the first is lost: the watch goes on with one that is behind.
        sentinels[0]?.switchTo(b)
        await eventually(() => pool.stats().generation === 1)
        assert.equal(await port(), b)
        const kept = await pool.acquire()
        await sentinels[0]?.stop()
        for (let round = 0; round < 5; round += 1) {
          await pool.use(async client => assert.equal(client.stream.remotePort, b))
          await pool.destroy(await pool.acquire())
        }
        assert.equal(kept.status, 'ready', 'what is lent is not cut')
        await pool.release(kept)
        assert.equal(pool.stats().generation, 1)
        // The next has learnt of it.
        for (const sentinel of sentinels.slice(1)) Object.assign(sentinel.word, { port: b, epoch: 5 })
        await eventually(() => listenedTo(sentinels) > 0, { within: 10_000 })
        assert.equal(await port(), b)
        assert.equal(pool.stats().generation, 1)
      })
    })

    test('is not the one that is listened to, as it would hear of nothing', async () => {
      await withSentinels([{}, { epoch: 5 }, { epoch: 5 }], async ({ a, b, sentinels, pool, port }) => {
        for (const sentinel of sentinels.slice(1)) sentinel.word.port = b
        assert.equal(await port(), b)
        await eventually(() => listenedTo(sentinels) === 1)
        sentinels[1]?.switchTo(a)
        await eventually(() => pool.stats().generation === 1)
      })
    })

    test('as it hangs, is left for another one that tells of a switch', async () => {
      await withSentinels([{}, {}, {}], async ({ b, sentinels, pool, port }) => {
        await port()
        await eventually(() => listenedTo(sentinels) === 0)
        const [first, second, third] = sentinels as [FakeSentinel, FakeSentinel, FakeSentinel]
        first.word.hangs = true
        for (const sentinel of [second, third]) sentinel.switchTo(b)
        await eventually(() => pool.stats().generation === 1, { within: 10_000 })
        assert.equal(await port(), b)
      })
    })

    test('that catches up tells of a switch the pool has been through, which is none', async () => {
      await withSentinels([{}, {}, {}], async ({ a, b, sentinels, pool, port }) => {
        await port()
        await eventually(() => listenedTo(sentinels) === 0)
        sentinels[0]?.switchTo(b)
        await eventually(() => pool.stats().generation === 1)
        for (const sentinel of sentinels.slice(1)) sentinel.switchTo(b)
        // The same once more, from the one that is listened to: and one from before.
        const first = sentinels[0] as FakeSentinel
        first.word.port = a
        first.switchTo(b)
        assert.equal(await port(), b)
        assert.equal(pool.stats().generation, 1)
      })
    })

    test('is the majority at first: whoever knows of a later failover is believed', async () => {
      await withSentinels(
        [{}, {}, { epoch: 5 }],
        async ({ b, sentinels, pool, port }) => {
          ;(sentinels[2] as FakeSentinel).word.port = b
          // The old primary is gone.
          await eventually(async () => (await port().catch(() => 0)) === b, { within: 10_000 })
          assert.ok(pool.stats().generation <= 1)
        },
        { sentinelCommandTimeout: 500 },
      )
    })

    test('is not mistaken for one that has gone through a switch back', async () => {
      await withSentinels([{}, {}, {}], async ({ a, b, sentinels, pool, port }) => {
        await port()
        await eventually(() => listenedTo(sentinels) === 0)
        for (const sentinel of sentinels) sentinel.switchTo(b)
        await eventually(() => pool.stats().generation === 1)
        assert.equal(await port(), b)
        await eventually(() => listenedTo(sentinels) === 0)
        for (const sentinel of sentinels) sentinel.switchTo(a)
        await eventually(() => pool.stats().generation === 2)
        assert.equal(await port(), a)
      })
    })

    for (const [what, named] of [
      ['is gone', { port: 1 }],
      ['does not resolve', { host: 'nowhere.invalid' }],
      ['is a replica', undefined],
    ] as const)
      for (const others of [2, 1])
        test(`has a higher number from an earlier life, and its server ${what}: ${others} that can be reached goes before`, async () => {
          const replica = await startFakeRedis(([command = '']) =>
            command === 'INFO' ? bulk('role:slave\r\n') : handshake([command]),
          )
          const stale = { port: replica.port, ...named, epoch: 100 }
          await withSentinels([stale, ...Array(others).fill({})], async ({ a, b, sentinels, pool, port }) => {
            const leadsTo = (wanted: number) => async () => (await port().catch(() => 0)) === wanted
            await eventually(leadsTo(a))
            await pool.clear()
            await eventually(leadsTo(a))
            // Nor does it hide what comes next, by the numbers of the others.
            for (const sentinel of sentinels.slice(1)) sentinel.switchTo(b)
            await eventually(leadsTo(b))
          })
          await replica.stop()
        })

    test('names what is no address: the others are asked', async () => {
      for (const wrong of [{ host: 'null', port: 0 }, { host: '' }, { port: Number.NaN }, { port: 70_000 }])
        await withSentinels([{ ...wrong, epoch: 9 }, {}], async ({ a, sentinels, pool, port }) => {
          await eventually(async () => (await port().catch(() => 0)) === a)
          await eventually(() => listenedTo(sentinels) === 1)
          lie(sentinels[1], Number.NaN)
          lie(sentinels[1], a, '')
          assert.deepEqual([await port(), pool.stats().generation], [a, 0])
        })
    })

    test('tells of a switch back that has not been: nobody is cut, and the old primary is not taken', async () => {
      await withSentinels([{}, {}, {}], async ({ a, b, sentinels, pool, port }) => {
        await port()
        await eventually(() => listenedTo(sentinels) >= 0)
        for (const sentinel of sentinels) sentinel.switchTo(b)
        await eventually(() => pool.stats().generation === 1)
        const kept = await pool.acquire()
        await eventually(() => listenedTo(sentinels) >= 0)
        lie(sentinels[listenedTo(sentinels)], a)
        for (let round = 0; round < 3; round += 1) {
          await pool.destroy(await pool.acquire())
          assert.equal(await port(), b)
        }
        assert.deepEqual([kept.status, pool.stats().generation], ['ready', 1])
        await pool.release(kept)
      })
    })

    test('is all there is while the new primary cannot be reached: the old one is not taken again', async () => {
      await withSentinels([{}, {}, {}], async ({ pool, port, sentinels, servers }) => {
        await port()
        await eventually(() => listenedTo(sentinels) >= 0)
        const [old] = servers
        const before = old.accepted
        // Nobody listens there, and the others have not heard of it.
        sentinels[listenedTo(sentinels)]?.switchTo(1)
        await eventually(() => pool.stats().generation === 1)
        await assert.rejects(pool.acquire({ timeoutMillis: 2000 }) as Promise<unknown>)
        assert.equal(old.accepted, before)
      })
    })

    test('has lost its number, as all of them: they are believed again', async () => {
      await withSentinels([{}, {}, {}], async ({ a, b, sentinels, pool, port }) => {
        await port()
        for (const sentinel of sentinels) Object.assign(sentinel.word, { port: b, epoch: 0 })
        // Where one of them answers late, the word of the others alone is not enough yet.
        await eventually(async () => {
          await pool.clear()
          return (await port()) === b
        })
        assert.notEqual(a, b)
      })
    })

    for (const [how, epoch] of [
      ['by numbers', 4],
      ['without numbers', undefined],
    ] as const) {
      test(`${how}: names and natMap are no reason to cut what leads to the new primary`, async () => {
        const byName = (a: number, b: number) => ({
          natMap: { [`first:${a}`]: { host, port: a }, [`second:${b}`]: { host: 'localhost', port: b } },
        })
        await withSentinels(
          [{ epoch }, { epoch }, { epoch }].map(word => ({ ...word, host: 'first' })),
          async ({ a, b, sentinels, pool, port }) => {
            assert.equal(await port(), a)
            await eventually(() => listenedTo(sentinels) === 0)
            const old = await pool.acquire()
            for (const sentinel of [...sentinels].reverse()) sentinel.switchTo(b, 'second')
            await eventually(() => old.status === 'end')
            await pool.release(old)
            const next = await pool.acquire()
            assert.equal(next.stream.remotePort, b)
            // Told again, by one that was behind.
            const first = sentinels[0] as FakeSentinel
            Object.assign(first.word, { host: 'first', port: a })
            first.switchTo(b, 'second')
            assert.equal(await next.ping(), 'PONG')
            await pool.release(next)
            assert.equal(pool.stats().generation, 1)
          },
          byName as unknown as object,
        )
      })
    }
  })
}
