import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { createRedisClusterPool, type RedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import { watchedIncrement } from '../../../support/watched-increment.ts'
import { clusterOfTests } from './cluster-of-tests.ts'
import { allowed, mostConnectionsTo } from './connections.ts'

const { cluster, nodes, skip } = await clusterOfTests()

/** `foo` and `bar` are of different primaries. The slot of `foo`: */
const SLOT = 12_182

/**
 * Looks how many sockets there are to a node: whenever the pool has one more, and again and again. Reading the kernel's
 * table takes long on a machine with many connections, and holds up the pool: that is a part of the time only.
 * @returns ends that, with the most that were seen
 */
function watchSockets(pool: RedisClusterPool): () => number {
  const ports = cluster.servers.map(({ port }) => port)
  let most = 0
  const look = (): void => {
    // One is the test's own.
    most = Math.max(most, mostConnectionsTo(ports) - 1)
  }
  const lookAgain = (): void => {
    const since = performance.now()
    look()
    timer = setTimeout(lookAgain, Math.max(5, 4 * (performance.now() - since)))
  }
  let timer = setTimeout(lookAgain, 5)
  pool.on('connect', look)
  return () => {
    look()
    clearTimeout(timer)
    return most
  }
}

/** Holds the connection for longer than its commands take: all are lent all the time, without a busy processor. */
async function heldIncrement(redis: Redis, key: string): Promise<void> {
  await watchedIncrement(redis, key)
  await pause(3)
}

for (const max of [1, 2])
  test(`max ${max}: never more sockets to a node, with all lent all the time, while a slot moves to and fro`, {
    skip,
  }, async () => {
    await using pool = createRedisClusterPool(nodes, { max, acquireTimeoutMillis: 20_000 })
    const seen = watchSockets(pool)
    let isOver = false
    let longest = 0
    let done = 0
    const user = async (key: string): Promise<void> => {
      while (!isOver) {
        const since = performance.now()
        await pool.use({ key }, redis => heldIncrement(redis, key), { retryMoved: true })
        longest = Math.max(longest, performance.now() - since)
        done += 1
      }
    }
    const users = Promise.all(['foo', 'bar', 'foo', 'bar', 'foo', 'bar'].map(user))
    try {
      for (let move = 0; move < 4; move += 1) {
        const before = done
        await cluster.move(SLOT, await cluster.otherThan(SLOT))
        await eventually(() => done > before + 50, { what: 'all go on', within: 20_000 })
      }
    } finally {
      isOver = true
      await users
    }
    const most = seen()
    assert.ok(most <= allowed(max, longest), `${most} sockets, the longest took ${longest} ms`)
    assert.ok(pool.stats().topology.moved > 0)
  })

test('a primary that stops while all its loans wait in BLPOP has one more at most, and they are told', {
  skip,
}, async () => {
  const max = 2
  const slow = Promise.all(
    cluster.servers.map(server => cluster.admin(server).config('SET', 'cluster-node-timeout', '1000')),
  )
  await slow
  await cluster.settled()
  await using pool = createRedisClusterPool(nodes, { max, acquireTimeoutMillis: 30_000 })
  const seen = watchSockets(pool)
  const told = Promise.allSettled(
    [1, 2].map(() => pool.use({ key: 'foo' }, redis => redis.blpop('{foo}nothing', 0))),
  )
  await eventually(() => pool.borrowed === max)
  const old = await cluster.ownerOf(SLOT)
  process.kill(old.pid, 'SIGSTOP')
  try {
    assert.equal(await pool.use({ key: 'foo' }, redis => redis.set('foo', 'there')), 'OK')
    for (const outcome of await told)
      assert.ok(
        outcome.status === 'rejected' && isPoolError(outcome.reason, 'POOL_FAILOVER'),
        JSON.stringify(outcome),
      )
    assert.ok(seen() <= max + 1, `${seen()} sockets`)
    await eventually(() => mostConnectionsTo([old.port]) - 1 <= 1, { what: 'the old one has no loan' })
  } finally {
    process.kill(old.pid, 'SIGCONT')
  }
})
