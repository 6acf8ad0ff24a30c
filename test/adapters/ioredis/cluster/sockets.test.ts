import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import { watchedIncrement } from '../../../support/watched-increment.ts'
import { clusterOfTests } from './cluster-of-tests.ts'
import { allowed, mostConnectionsTo } from './connections.ts'

const { cluster, nodes, skip } = await clusterOfTests()

/** `foo` and `bar` are of different primaries. The slot of `foo`: */
const SLOT = 12_182

/** Looks again and again how many sockets there are to a node. @returns ends that, with the most that were seen */
function watchSockets(): () => number {
  const ports = cluster.servers.map(({ port }) => port)
  let most = 0
  const look = (): void => {
    // One is the test's own.
    most = Math.max(most, mostConnectionsTo(ports) - 1)
  }
  const timer = setInterval(look, 5)
  return () => {
    look()
    clearInterval(timer)
    return most
  }
}

for (const max of [1, 2])
  test(`max ${max}: never more sockets to a node, with all lent all the time, while a slot moves to and fro`, {
    skip,
  }, async () => {
    await using pool = createRedisClusterPool(nodes, { max, acquireTimeoutMillis: 20_000 })
    const seen = watchSockets()
    let isOver = false
    let longest = 0
    let done = 0
    const user = async (key: string): Promise<void> => {
      while (!isOver) {
        const since = performance.now()
        await pool.use({ key }, redis => watchedIncrement(redis, key), { retryMoved: true })
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
  const seen = watchSockets()
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
