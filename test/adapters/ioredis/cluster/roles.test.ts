import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { beforeEach, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { readCluster } from '../../../../src/adapters/ioredis/cluster/cluster-options.ts'
import { NodePools } from '../../../../src/adapters/ioredis/cluster/node-pools.ts'
import { ELSEWHERE } from '../../../../src/adapters/ioredis/cluster/node-waits.ts'
import { createRedisClusterPool, type RedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { clusterOfTests } from './cluster-of-tests.ts'

const { cluster, nodes, skip } = await clusterOfTests()

const KEY = 'foo'
const SLOT = 12_182

/** How many connections of pools a server has: those that the server itself lists, but for the replica and the test's own. */
async function connectionsTo(server: RedisServer): Promise<number> {
  const list = String(await cluster.admin(server).call('CLIENT', 'LIST', 'TYPE', 'normal'))
  return list.trim().split('\n').length - 1
}

/** Soon: while all are lent and silent, the pool asks the server over one more for a moment. */
function hasNoMoreThan(max: number, server: RedisServer): Promise<void> {
  return eventually(async () => (await connectionsTo(server)) <= max, { what: `no more than ${max}` })
}

/** The replica takes over. Without a vote: the others would not vote for a node of this shard again so soon. */
async function promote(): Promise<{ old: RedisServer; promoted: RedisServer }> {
  const [old, promoted] = [await cluster.ownerOf(SLOT), await cluster.replicaOf(SLOT)]
  await cluster.admin(promoted).call('CLUSTER', 'FAILOVER', 'TAKEOVER')
  await eventually(async () => (await cluster.ownerOf(SLOT)) === promoted, { within: 20_000 })
  await cluster.settled()
  return { old, promoted }
}

/** The same, and the pool knows of it. */
async function failover(pool: RedisClusterPool): Promise<{ old: RedisServer; promoted: RedisServer }> {
  const { old, promoted } = await promote()
  await eventually(
    async () =>
      (await pool.use({ key: KEY }, redis => redis.options.port, { retryMoved: true }).catch(() => 0)) ===
      promoted.port,
    { what: 'the pool knows the new primary', within: 20_000 },
  )
  return { old, promoted }
}

/** Holds the connection for longer than its command takes: all are lent all the time, without a busy processor. */
async function heldRead(redis: Redis, key: string): Promise<void> {
  await redis.get(key)
  await pause(3)
}

describe('a node that gets another role', { skip }, () => {
  beforeEach(() => cluster.settled())

  test('as a replica it has no connection more: loans from when it was the primary count', async () => {
    const max = 2
    await using pool = createRedisClusterPool(nodes, { max })
    const held = [await pool.acquire({ key: KEY }), await pool.acquire({ key: KEY })]
    const { old } = await promote()
    await assert.rejects((held[0] as Redis).get(KEY), error => isPoolError(error, 'POOL_MOVED'))
    let read = 0
    const readers = Array.from({ length: 6 }, () =>
      pool.use({ key: KEY, role: 'replica' }, async redis => {
        read += 1
        assert.equal(redis.options.port, old.port)
        await redis.get(KEY)
        await hasNoMoreThan(max, old)
      }),
    )
    await eventually(() => pool.pending === readers.length, { within: 20_000 })
    assert.equal(read, 0, 'all that it may have are lent')
    await hasNoMoreThan(max, old)
    await pool.release(held[0] as Redis)
    await Promise.all(readers)
    await pool.release(held[1] as Redis)
    assert.equal(pool.borrowed, 0)
  })

  test('as a primary it has no connection more: loans from when it was a replica count', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 1 })
    const held = await pool.acquire({ key: KEY, role: 'replica' })
    const { promoted } = await promote()
    const written = pool.use({ key: KEY }, redis => redis.set(KEY, 1), { retryMoved: true })
    await eventually(
      () => {
        const node = pool.stats().nodes.find(each => each.node === `127.0.0.1:${promoted.port}`)
        return node?.role === 'primary' && node.stats.pending === 1
      },
      { what: 'the write waits at the new primary', within: 20_000 },
    )
    assert.ok((await connectionsTo(promoted)) <= 2)
    await pool.release(held)
    assert.equal(await written, 'OK')
  })

  test('a maxTotal that is used up while it happens is kept, and all are served in the end', async () => {
    const maxTotal = 3
    await using pool = createRedisClusterPool(nodes, { max: 3, maxTotal, acquireTimeoutMillis: 20_000 })
    let most = 0
    const count = (): void => {
      const open = pool.stats().nodes.map(({ stats }) => stats.size + stats.closing)
      most = Math.max(
        most,
        open.reduce((sum, each) => sum + each, 0),
      )
    }
    for (const event of ['connect', 'destroy'] as const) pool.on(event, count)
    let isOver = false
    let served = 0
    const users = ['hello', 'counter', KEY, KEY, KEY, KEY].map(async key => {
      for (; !isOver; served += 1)
        await pool
          .use({ key }, redis => heldRead(redis, key), { retryMoved: true })
          .catch(error => {
            // A loan that had begun at the old primary.
            assert.ok(isPoolError(error, 'POOL_MOVED') || isPoolError(error, 'POOL_FAILOVER'), String(error))
          })
    })
    try {
      await eventually(() => served > 100)
      await failover(pool)
      const before = served
      await eventually(() => served > before + 300, { what: 'all go on', within: 20_000 })
    } finally {
      isOver = true
      await Promise.all(users)
    }
    assert.equal(most, maxTotal)
  })
})

test('the pool of a node that has gone ends with its last create, whoever waited for that', async () => {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const pools = new NodePools(
    readCluster(port, { max: 2 }),
    () => {},
    () => {},
  )
  try {
    const nodePool = pools.of({ host: '127.0.0.1', port }, 'primary')
    const signal = nodePool.waits.add(
      { slot: 7, key: undefined, node: undefined, role: 'primary' },
      undefined,
    )
    const waiting = nodePool.pool.acquire({ signal })
    await eventually(() => sockets.size > 0)
    pools.retire(nodePool, 'gone')
    await assert.rejects(waiting, error => error === ELSEWHERE)
    assert.deepEqual(pools.all, [nodePool])
    server.close()
    for (const socket of sockets) socket.destroy()
    await eventually(() => pools.all.length === 0, { what: 'the pool has been closed' })
    await assert.rejects(nodePool.pool.acquire(), error => isPoolError(error, 'POOL_CLOSED'))
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})
