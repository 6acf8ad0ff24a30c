// A lent Redis client that nobody uses is told by default. What waits on purpose must never be.
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { redisFactory } from '../../../src/adapters/ioredis/open-redis-pool.ts'
import { RedisPoolContext } from '../../../src/adapters/ioredis/redis-pool-context.ts'
import { splitOptions } from '../../../src/adapters/ioredis/redis-pool-options.ts'
import type { LeakEvent, PoolOptions } from '../../../src/index.ts'
import { openPool } from '../../../src/pool/create-pool.ts'
import type { Pool } from '../../../src/pool/pool.ts'
import { FakeClock } from '../../support/clock.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

const MINUTE = 60_000

interface Watched {
  readonly pool: Pool<Redis>
  readonly leaks: LeakEvent<Redis>[]
  readonly clock: FakeClock
}

/** Real connections, on a clock that the test moves. */
async function watched(
  Client: (typeof versions)[number]['Client'],
  run: (watched: Watched) => Promise<void>,
  options: PoolOptions = {},
): Promise<void> {
  const context = new RedisPoolContext(splitOptions(undefined).adapter)
  const factory = redisFactory(
    () => new Client(redis.url, { lazyConnect: true }) as unknown as Redis,
    context,
  )
  const clock = new FakeClock()
  const pool = openPool(factory, { name: 'cache', max: 3, ...options }, false, { clock, random: () => 0.5 })
  const leaks: LeakEvent<Redis>[] = []
  pool.on('leak', leak => leaks.push(leak))
  try {
    await run({ pool, leaks, clock })
  } finally {
    const closed = pool.close({ timeoutMillis: 10 })
    closed.catch(() => {})
    for (let turn = 0; turn < 50; turn += 1) await clock.advance(100)
    await closed.catch(() => {})
  }
}

for (const { name, Client } of versions) {
  describe(`${name}: a lent client`, { skip }, () => {
    test('that has sent nothing for half a minute is told once, with what shows it, and is not taken away', async () => {
      await watched(Client, async ({ pool, leaks, clock }) => {
        async function forgets() {
          return await pool.acquire()
        }
        const client = await forgets()
        await client.ping()
        await clock.advance(29_000)
        assert.equal(leaks.length, 0)
        await clock.advance(10 * MINUTE)
        assert.equal(leaks.length, 1)
        assert.equal(
          leaks[0]?.saw,
          'nothing was sent or received on it, no command on it waits for an answer',
        )
        assert.equal(leaks[0]?.reclaimed, false)
        assert.match(leaks[0]?.stack ?? '', /forgets .*forgotten\.test\.js/)
        assert.ok((leaks[0]?.unusedMillis ?? 0) < 40_000)
        assert.match(pool.report(), /1 of 1 leases look forgotten/)
        assert.equal(await client.ping(), 'PONG')
        // It is used again: told once, and no longer said to be forgotten.
        await clock.advance(10_000)
        assert.doesNotMatch(pool.report(), /look forgotten|FORGOTTEN/)
        assert.equal(leaks.length, 1)
        await pool.release(client)
      })
    })

    const USES: Readonly<Record<string, (client: Redis) => unknown>> = {
      'that waits in BLPOP': client => client.blpop(redis.key('nothing'), 0),
      'that waits in BZPOPMIN, sent by call': client => client.call('BZPOPMIN', redis.key('nothing'), 0),
      'that waits in XREAD': client => client.xread('BLOCK', 0, 'STREAMS', redis.key('nothing'), '$'),
      'that waits for messages': client => client.subscribe(redis.key('quiet')),
      'that waits for messages of a pattern': client => client.psubscribe(redis.key('quiet*')),
      'that waits for messages of a shard': client => client.ssubscribe(redis.key('quiet')),
      'that monitors': client => client.call('MONITOR'),
      'that waits behind a script': client => client.call('WAIT', '1', '0'),
    }
    for (const [what, begin] of Object.entries(USES))
      test(`${what} is in use, however long`, async () => {
        await watched(Client, async ({ pool, leaks, clock }) => {
          const client = await pool.acquire()
          const begun = Promise.resolve(begin(client)).catch(() => {})
          const isSubscription = /messages|monitors/.test(what)
          if (isSubscription) await begun
          else await eventually(() => client.commandQueue.length === 1)
          await clock.advance(10 * MINUTE)
          assert.deepEqual(leaks, [])
          assert.doesNotMatch(pool.report(), /look forgotten|FORGOTTEN/)
          await pool.destroy(client)
        })
      })

    test('that sends something now and then is in use', async () => {
      await watched(Client, async ({ pool, leaks, clock }) => {
        const client = await pool.acquire()
        for (let time = 0; time < 20; time += 1) {
          await client.ping()
          await clock.advance(20_000)
        }
        assert.deepEqual(leaks, [])
        await pool.release(client)
      })
    })

    test('that thinks for long after a WATCH is told, with the WATCH', async () => {
      for (const [begin, open] of [
        [async (client: Redis) => client.watch('x'), 'WATCH'],
        [async (client: Redis) => client.call('MULTI'), 'MULTI'],
      ] as const)
        await watched(Client, async ({ pool, leaks, clock }) => {
          const client = await pool.acquire()
          await begin(client)
          await clock.advance(MINUTE)
          assert.match(leaks[0]?.saw ?? '', new RegExp(`its ${open} has not been ended`))
          await pool.destroy(client)
        })
    })

    test('that came out of a stall of a minute is not told', async () => {
      await watched(Client, async ({ pool, leaks, clock }) => {
        const client = await pool.acquire()
        await clock.stall(MINUTE)
        await clock.advance(10_000)
        assert.deepEqual(leaks, [])
        await pool.release(client)
      })
    })
  })
}

test('where nobody listens, a process warning says it once for each place', { skip }, async () => {
  const Client = versions.at(-1)?.Client as (typeof versions)[number]['Client']
  const warnings: string[] = []
  const onWarning = (warning: Error & { code?: string }): void => {
    if (warning.code === 'LIFEGUARD_POOL_LEAK') warnings.push(warning.message)
  }
  process.on('warning', onWarning)
  try {
    for (const isHeard of [false, true])
      await watched(Client, async ({ pool, clock }) => {
        if (!isHeard) pool.removeAllListeners('leak')
        for (let time = 0; time < 3; time += 1) await pool.acquire()
        await clock.advance(2 * MINUTE)
      })
  } finally {
    process.off('warning', onWarning)
  }
  await eventually(() => warnings.length > 0)
  assert.equal(warnings.length, 1, warnings.join('\n'))
  assert.match(
    warnings[0] ?? '',
    /^pool 'cache': connection #\d has been lent for 3\d s, and not used for 3\d s: nothing was sent or received on it, .*\. It was taken at .*forgotten\.test\.js.*leakThresholdMillis \(0: off\)/,
  )
})

test('in fake time it sets no timer, which would never end', { skip }, async () => {
  const Client = versions.at(-1)?.Client as (typeof versions)[number]['Client']
  const context = new RedisPoolContext(splitOptions(undefined).adapter)
  const factory = redisFactory(
    () => new Client(redis.url, { lazyConnect: true }) as unknown as Redis,
    context,
  )
  const clock = Object.assign(new FakeClock(), { isFake: () => true })
  const pool = openPool(factory, { max: 1, serverIdleTimeoutMillis: 'none' }, false, {
    clock,
    random: () => 0,
  })
  const client = await pool.acquire()
  assert.doesNotMatch(clock.describe(), /in 30000 ms/)
  await pool.destroy(client)
  await pool.close()
})

test('whoever says what he wants gets that, and nothing is reclaimed by default', () => {
  const thresholdOf = (options: PoolOptions | undefined) => splitOptions(options).adapter.leakThresholdMillis
  assert.equal(thresholdOf(undefined), 30_000)
  assert.equal(thresholdOf({}), 30_000)
  assert.equal(thresholdOf({ leakThresholdMillis: undefined }), 30_000)
  assert.equal(thresholdOf({ leakThresholdMillis: 0 }), undefined)
  assert.equal(thresholdOf({ leakThresholdMillis: 5000 }), undefined)
  assert.equal(thresholdOf({ leakReclaim: true }), undefined)
})
