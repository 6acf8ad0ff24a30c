import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createRedisClusterPool, type RedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { clusterOfTests } from './cluster-of-tests.ts'

const { cluster, nodes, skip } = await clusterOfTests({ failover: true })

const SLOT = 12_182

/** Work on one key, all the time, until it is told to stop. */
function load(pool: RedisClusterPool) {
  let isOver = false
  let done = 0
  const failures: unknown[] = []
  const user = async (): Promise<void> => {
    while (!isOver) {
      try {
        await pool.use({ key: 'foo' }, redis => redis.incr('foo'))
        done += 1
      } catch (error) {
        failures.push(error)
      }
    }
  }
  const users = Promise.all([user(), user(), user(), user()])
  return {
    failures,
    get done() {
      return done
    },
    async stop(): Promise<void> {
      isOver = true
      await users
    },
  }
}

/** Resolves when the load makes progress again at another node than this one. */
async function recovered(
  pool: RedisClusterPool,
  lost: RedisServer,
  work: ReturnType<typeof load>,
): Promise<void> {
  const address = `127.0.0.1:${lost.port}`
  const isElsewhere = () =>
    pool.stats().nodes.some(({ node, slots, role }) => role === 'primary' && slots > 0 && node !== address)
  await eventually(async () => isElsewhere() && (await cluster.ownerOf(SLOT)).port !== lost.port, {
    within: 20_000,
  })
  const { done } = work
  await eventually(() => work.done > done + 20, { within: 20_000, what: 'the load goes on' })
}

describe('a primary that loses its slots', { skip }, () => {
  before(async () => cluster.settled())

  test('by CLUSTER FAILOVER: every loan ends with a clear error, and the load goes on at the new one', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 4 })
    const work = load(pool)
    await eventually(() => work.done > 50)
    const old = await cluster.ownerOf(SLOT)
    await cluster.admin(await cluster.replicaOf(SLOT)).call('CLUSTER', 'FAILOVER')
    await recovered(pool, old, work)
    await work.stop()
    for (const error of work.failures)
      assert.ok(isPoolError(error, 'POOL_MOVED') || isPoolError(error, 'POOL_FAILOVER'), String(error))
    await eventually(() => !pool.stats().nodes.some(({ node }) => node.endsWith(`:${old.port}`)), {
      what: 'the pool of the old primary is gone',
    })
    await cluster.settled()
  })

  test('stopped by SIGSTOP: loans on it are cut, waiting acquires go to the new one, and nobody hangs', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2, acquireTimeoutMillis: 15_000 })
    const work = load(pool)
    await eventually(() => work.done > 50)
    const old = await cluster.ownerOf(SLOT)
    process.kill(old.pid, 'SIGSTOP')
    try {
      await recovered(pool, old, work)
      await work.stop()
      for (const error of work.failures)
        assert.ok(isPoolError(error, 'POOL_MOVED') || isPoolError(error, 'POOL_FAILOVER'), String(error))
      assert.ok(work.failures.some(error => isPoolError(error, 'POOL_FAILOVER')))
      await eventually(() => pool.borrowed === 0)
    } finally {
      process.kill(old.pid, 'SIGCONT')
    }
    await cluster.settled()
  })

  test('one key of each other node is served meanwhile', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2, acquireTimeoutMillis: 15_000 })
    const keys = ['hello', 'counter', 'foo']
    for (const key of keys) await pool.use({ key }, redis => redis.set(key, 1))
    const old = await cluster.ownerOf(SLOT)
    process.kill(old.pid, 'SIGSTOP')
    try {
      const stuck = pool.use({ key: 'foo' }, redis => redis.get('foo'))
      for (let round = 0; round < 20; round += 1)
        for (const key of ['hello', 'counter'])
          assert.equal(await pool.use({ key }, redis => redis.get(key)), '1')
      await stuck.catch(error => assert.ok(isPoolError(error, 'POOL_FAILOVER'), String(error)))
    } finally {
      process.kill(old.pid, 'SIGCONT')
    }
    await cluster.settled()
  })

  // The last one: this server does not come back.
  test('killed: the load goes on at the new one', async () => {
    await using pool = createRedisClusterPool(nodes, { name: 'orders', max: 4, acquireTimeoutMillis: 15_000 })
    const work = load(pool)
    await eventually(() => work.done > 50)
    const old = await cluster.ownerOf(SLOT)
    await old.stop()
    await recovered(pool, old, work)
    await work.stop()
    // Commands in progress as the server died.
    for (const error of work.failures) assert.match(String(error), /closed|ECONNRESET|EPIPE|POOL_|writeable/i)
    for (const error of work.failures.filter(error =>
      /^Error: Connection is closed\.$/.test(String(error)),
    )) {
      const { cause } = error as Error
      assert.ok(isPoolError(cause, 'POOL_CONNECTION_LOST'), String(cause))
      assert.equal(cause.pool, `orders 127.0.0.1:${old.port}`)
    }
    assert.ok(work.failures.length <= 40, `${work.failures.length}: ${work.failures.at(-1)}`)
  })
})
