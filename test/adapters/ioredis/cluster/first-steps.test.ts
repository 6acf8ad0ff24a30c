import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { keySlot } from '../../../../src/adapters/ioredis/cluster/keys.ts'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import { rejection } from '../../../support/rejection.ts'
import { clusterOfTests } from './cluster-of-tests.ts'

const { cluster, nodes, skip } = await clusterOfTests()

const SLOT = 12_182

describe('the name of a node', { skip }, () => {
  test('that the cluster does not use is answered with those that it uses, and why', async () => {
    await using pool = createRedisClusterPool(nodes, { name: 'orders' })
    const port = nodes[0]?.split(':')[1]
    await assert.rejects(
      pool.use({ node: `localhost:${port}` }, () => {}),
      error => {
        assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'))
        assert.match(
          error.message,
          /there is no node 'localhost:\d+'; the nodes known are (127\.0\.0\.1:\d+(, )?){6}\. /,
        )
        assert.match(error.message, /A node is called as the cluster reports it/)
        return true
      },
    )
  })
})

describe('min', { skip }, () => {
  for (const options of [{ min: 1 }, { min: 1, max: 1, maxTotal: 3 }, { min: 2, max: 2 }])
    test(`${JSON.stringify(options)} is never reached, as the first question has a place: three nodes, one of which alone was asked`, async () => {
      for (const seeds of [nodes, nodes.slice(0, 3), nodes.slice(5)]) {
        await using pool = createRedisClusterPool(seeds, options)
        await pool.ready()
        const sizes = pool.stats().nodes.map(({ stats }) => stats.size)
        assert.deepEqual(
          sizes,
          sizes.map(() => options.min),
        )
        assert.equal(sizes.length, 3)
        pool.resize({ min: 0 })
        await pool.clear()
        pool.resize({ min: 1 })
        await pool.ready()
      }
    })
})

describe('an error that concerns no node', { skip }, () => {
  test('has the name of the whole pool, not that of some node', async () => {
    const pool = createRedisClusterPool(nodes, { name: 'orders', max: 2 })
    const lent = [await pool.acquire({ key: 'foo' }), await pool.acquire({ key: 'bar' })]
    const given = await rejection(pool.release(undefined as never))
    assert.match(given.message, /pool 'orders':? /)
    const closing = pool.close()
    const late = await rejection(pool.acquire({ key: 'foo' }))
    assert.ok(isPoolError(late, 'POOL_CLOSED'))
    assert.match(late.message, /pool 'orders' is draining/)
    for (const redis of lent) await pool.release(redis)
    await closing
    const over = await rejection(pool.use({ key: 'foo' }, () => {}))
    assert.match(over.message, /pool 'orders' is closed/)
  })
})

describe('maxTotal', { skip }, () => {
  test('is called that in errors, reports and stats, and not a budget', async () => {
    await using pool = createRedisClusterPool(nodes, { name: 'orders', max: 5, maxTotal: 1 })
    await pool.use({ key: 'foo' }, async () => {
      await assert.rejects(
        pool.use({ key: 'bar' }, () => {}, { timeoutMillis: 100, detached: true }),
        error => {
          assert.ok(isPoolError(error, 'POOL_ACQUIRE_TIMEOUT'))
          assert.match(
            error.message,
            /maxTotal \(1\) of pool 'orders' is used up by pool orders 127.* raise maxTotal/,
          )
          assert.doesNotMatch(error.message, /budget/)
          return true
        },
      )
      assert.match(pool.report(), /maxTotal of 'orders': 1 of 1 connections in use/)
      assert.doesNotMatch(pool.report(), /budget/)
      assert.equal(pool.stats().nodes[0]?.stats.budget?.isMaxTotal, true)
    })
  })

  test('is what a deadlock across nodes names', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 5, maxTotal: 1 })
    await pool.use({ key: 'foo' }, async () => {
      await assert.rejects(
        pool.use({ key: 'bar' }, () => {}),
        error => {
          assert.ok(isPoolError(error, 'POOL_DEADLOCK'))
          assert.match(error.message, /0 lent and maxTotal of the cluster used up by/)
          assert.match(error.message, /or set maxTotal ≥ tasks/)
          assert.doesNotMatch(error.message, /budget/)
          return true
        },
      )
    })
  })
})

describe('keyPrefix', { skip }, () => {
  test('counts for key: the loan is that of the slot of the whole key', async () => {
    await using pool = createRedisClusterPool(nodes, { redisOptions: { keyPrefix: 'app:' } })
    await pool.use({ key: 'foo' }, redis => redis.set('foo', 1))
    await using plain = createRedisClusterPool(nodes)
    await eventually(async () => (await plain.use({ key: 'app:foo' }, redis => redis.get('app:foo'))) === '1')
  })

  test('does not count for slot: it is that of the whole key', async () => {
    await using pool = createRedisClusterPool(nodes, { redisOptions: { keyPrefix: 'app:' } })
    const whole = { slot: keySlot('app:foo') }
    assert.equal(await pool.use(whole, redis => redis.set('foo', 2)), 'OK')
    await assert.rejects(
      pool.use({ slot: keySlot('foo') }, redis => redis.get('foo')),
      /key 'app:foo' is in slot \d+/,
    )
  })

  test('with a hash tag puts all keys into one slot', async () => {
    await using pool = createRedisClusterPool(nodes, { redisOptions: { keyPrefix: '{app}:' } })
    const done = await pool.use({ key: 'any' }, redis =>
      redis.multi().set('a', 1).set('b', 2).mget('a', 'b').exec(),
    )
    assert.deepEqual(done?.at(-1), [null, ['1', '2']])
  })
})

describe('a cluster that is down, as one slot has no node', { skip }, () => {
  /** Whether slots without a node keep the others from being served. */
  const needAll = (value: 'yes' | 'no') =>
    Promise.all(
      cluster.servers.map(server =>
        cluster.admin(server).config('SET', 'cluster-require-full-coverage', value),
      ),
    )
  const isOk = async (): Promise<boolean> => {
    const infos = await Promise.all(cluster.servers.map(server => cluster.admin(server).cluster('INFO')))
    return infos.every(info => String(info).includes('cluster_state:ok'))
  }
  const takeSlotAway = () =>
    Promise.all(
      cluster.servers.map(server =>
        cluster
          .admin(server)
          .call('CLUSTER', 'DELSLOTS', SLOT)
          .catch(() => {}),
      ),
    )
  /** How the call fails. A node that hears an old message believes it, and serves for a moment. */
  const failureOf = async (call: () => Promise<unknown>): Promise<Error & { previousErrors?: Error[] }> => {
    let failure: unknown
    await eventually(async () => {
      await takeSlotAway()
      failure = await call().then(
        () => undefined,
        error => error,
      )
      return failure !== undefined
    })
    return failure as Error
  }

  test('callers of other slots are told CLUSTERDOWN, nothing is repeated or executed, and the pool goes on after it', async () => {
    await using pool = createRedisClusterPool(nodes, { acquireTimeoutMillis: 20_000 })
    await pool.use({ key: 'bar' }, redis => redis.set('bar', 0))
    const owner = await cluster.ownerOf(SLOT)
    let runs = 0
    let done = 0
    const increment = () =>
      pool.use(
        { key: 'bar' },
        async redis => {
          runs += 1
          await redis.multi().incr('bar').exec()
          done += 1
        },
        { retryMoved: true },
      )
    await needAll('yes')
    try {
      for (const role of ['primary', 'replica'] as const) {
        const { name, message } = await failureOf(() =>
          pool.use({ key: 'bar', role }, redis => redis.get('bar')),
        )
        assert.deepEqual([name, message], ['ReplyError', 'CLUSTERDOWN The cluster is down'])
      }
      const { message, previousErrors } = await failureOf(increment)
      assert.match(message, /^EXECABORT/)
      assert.match(String(previousErrors?.[0]?.message), /^CLUSTERDOWN/)
      assert.equal(runs, done + 1)
    } finally {
      await cluster.admin(owner).call('CLUSTER', 'ADDSLOTS', SLOT)
      await needAll('no')
      await eventually(isOk)
    }
    assert.equal(await pool.use({ key: 'bar' }, redis => redis.get('bar')), String(done))
    assert.equal(await pool.use({ key: 'foo' }, redis => redis.set('foo', 1), { retryMoved: true }), 'OK')
  })
})
