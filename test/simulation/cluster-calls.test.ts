import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { createRedisClusterPool, type RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError, Pool, type PoolError, type PoolErrorCode, type PoolStats } from '../../src/index.ts'
import { packageRoot } from '../support/package-root.ts'
import { publicMembersOf } from '../support/public-members.ts'
import { rejection } from '../support/rejection.ts'
import { AFTERWARDS, type ClusterScene, OWNERS, playOnCluster } from './cluster-scene.ts'
import { socketsTo } from './simulated-cluster.ts'

/* The pool of a cluster as a whole: its nodes, and what it has of a single pool. In virtual time. */

const scene = (play: (scene: ClusterScene) => Promise<void>, options: object = {}): Promise<void> =>
  playOnCluster(options, play, { owners: OWNERS })

/** Keys of the nodes 0, 1 and 2. */
const KEYS = ['foo', 'b', 'bar']

const isCode = (code: PoolErrorCode) => (error: unknown) => {
  assert.ok(isPoolError(error, code), String(error))
  return true
}

const perNode = (pool: RedisClusterPool, field: 'size' | 'max' | 'min'): number[] =>
  pool.stats().nodes.map(({ stats }) => stats[field])

/** Lends this many connections to each primary. */
const lendAll = (pool: RedisClusterPool, count: number): Promise<Redis[]> =>
  Promise.all(KEYS.flatMap(key => Array.from({ length: count }, () => pool.acquire({ key }))))

describe('nodes()', () => {
  test('has every node before any of them was used, with its role, its slots and its primary', async () => {
    await scene(async ({ pool, cluster: { nodes } }) => {
      const known = await pool.nodes()
      const [a, b, c, d, e, f] = nodes.map(({ server }) => `${server.host}:${server.port}`) as string[]
      const byNode = (x: { node?: string | undefined }, y: { node?: string | undefined }): number =>
        String(x.node).localeCompare(String(y.node))
      assert.deepEqual(
        known.sort(byNode),
        [
          { node: a, role: 'primary', slots: 6384 },
          { node: b, role: 'primary', slots: 5000 },
          { node: c, role: 'primary', slots: 5000 },
          { node: d, role: 'replica', slots: 0, replicaOf: a },
          { node: e, role: 'replica', slots: 0, replicaOf: b },
          { node: f, role: 'replica', slots: 0, replicaOf: c },
        ].sort(byNode),
      )
      assert.deepEqual(pool.stats().nodes, [], 'none has a pool')
      for (const { node, role } of known)
        assert.equal(await pool.use({ node }, redis => redis.get('x')), nameOf(nodes, node), role)
    })
  })

  /** Node 3 has taken over from node 0, and all have heard of it. */
  const takeOver = ({ cluster, node }: ClusterScene): void => {
    Object.assign(node(3), { isPrimary: true })
    cluster.say(AFTERWARDS, 2)
  }
  const primaries = async (nodes: ReturnType<RedisClusterPool['nodes']>): Promise<string[]> =>
    (await nodes).flatMap(({ node, role }) => (role === 'primary' ? [node] : [])).sort()
  const named = ({ node }: ClusterScene, ...indices: number[]): string[] =>
    indices.map(index => `${node(index).server.host}:${node(index).server.port}`).sort()

  test('asks again where the pool was not in use, so that no new primary is missed', async () => {
    await scene(async given => {
      const { pool, world } = given
      await pool.nodes()
      const { refreshes } = pool.stats().topology
      await world.sleep(60_000)
      assert.equal(pool.stats().topology.refreshes, refreshes, 'not while nobody wants anything')
      takeOver(given)
      assert.deepEqual(await primaries(pool.nodes()), named(given, 1, 2, 3))
    })
  })

  for (const millis of [0, 1, 300, 2000])
    test(`misses a new primary, as the nodes were asked ${millis} ms ago: FLUSHALL on each primary would not reach it`, async () => {
      await scene(async given => {
        const { pool, world } = given
        await pool.use({ key: 'foo' }, redis => redis.get('foo'))
        await pool.nodes()
        await world.sleep(millis)
        takeOver(given)
        const since = world.now
        assert.deepEqual(await primaries(pool.nodes()), named(given, 1, 2, 3))
        assert.ok(world.now - since < 100, `${world.now - since} ms`)
      })
    })

  test('is told by answers from before the call, as it joins the questions of another', async () => {
    await scene(async given => {
      const { pool, world, cluster } = given
      await pool.nodes()
      for (const { server } of cluster.nodes) server.latencyMillis = 20
      const asked = (): number =>
        cluster.nodes.reduce((sum, node) => sum + (node.asked.get('CLUSTER SLOTS') ?? 0), 0)
      const before = asked()
      const early = primaries(pool.nodes())
      for (let millis = 0; asked() < before + 3 && millis < 1000; millis += 1) await world.sleep(1)
      takeOver(given)
      const { refreshes } = pool.stats().topology
      const late = Array.from({ length: 10 }, () => primaries(pool.nodes()))
      assert.deepEqual(await early, named(given, 0, 1, 2))
      for (const each of late) assert.deepEqual(await each, named(given, 1, 2, 3))
      assert.equal(pool.stats().topology.refreshes, refreshes + 1, 'the others share one')
    })
  })

  test('waits for nodes that do not answer for longer than its time', async () => {
    await scene(async ({ pool, cluster, world }) => {
      await pool.use({ key: 'foo' }, redis => redis.get('foo'))
      for (const { server } of cluster.nodes) server.freeze()
      const since = world.now
      assert.equal((await pool.nodes({ timeoutMillis: 300 })).length, 6)
      assert.ok(world.now - since <= 310, `${world.now - since} ms`)
      const abort = new AbortController()
      const aborted = rejection(pool.nodes({ signal: abort.signal }))
      await world.sleep(10)
      abort.abort()
      isCode('POOL_ABORTED')(await aborted)
      const closed = rejection(pool.nodes())
      await world.sleep(10)
      await pool.close()
      isCode('POOL_CLOSED')(await closed)
    })
  })

  for (const call of ['nodes', 'ready'] as const)
    for (const before of [OWNERS, { 0: undefined }])
      test(`${call}() resolves although no node serves a slot${before === OWNERS ? ' any more' : ''}: a loop over the list does nothing, and each loan fails`, async () => {
        await playOnCluster(
          {},
          async ({ pool, cluster, world }) => {
            if (before === OWNERS) await pool[call]()
            cluster.say({ 0: undefined }, 2)
            await world.sleep(6000)
            const since = world.now
            const error = await rejection(pool[call]({ timeoutMillis: 5000 }))
            isCode('POOL_CONNECT_FAILED')(error)
            assert.match(
              error.message,
              /: no node serves any slot; the nodes say that no slot has a node: .*\. Look at CLUSTER INFO/,
            )
            assert.ok(world.now - since < 5100, `${world.now - since} ms`)
            const waiting = pool[call]()
            await world.sleep(1000)
            cluster.say(OWNERS, 3)
            await waiting
            assert.equal((await pool.nodes()).length, 6)
            assert.equal(await pool.use({ key: 'foo' }, redis => redis.get('foo')), 'node-0')
          },
          { owners: before },
        )
      })

  test('names no node twice where a slot has moved to one that others still call a replica', async () => {
    await scene(async ({ pool, node }) => {
      const { host, port } = node(3).server
      node(0).answer = ([name]) => (name === 'GET' ? `-MOVED 12182 ${host}:${port}\r\n` : undefined)
      // The others have not heard of it.
      Object.assign(node(3), { owners: { ...OWNERS, 12182: 3, 12183: 0 } })
      await rejection(pool.use({ key: 'foo' }, redis => redis.get('foo')))
      const known = await pool.nodes()
      assert.equal(known.length, 6)
      assert.deepEqual(
        known.find(other => other.node === `${host}:${port}`),
        { node: `${host}:${port}`, role: 'primary', slots: 1 },
      )
    })
  })

  test('says what is known where no node answers any more', async () => {
    await scene(async ({ pool, cluster, world }) => {
      await pool.nodes()
      await world.sleep(60_000)
      for (const { server } of cluster.nodes) server.kill()
      assert.equal((await pool.nodes()).length, 6)
    })
  })

  for (const call of ['nodes', 'ready'] as const) {
    test(`${call}() waits for the first topology as an acquire does: time limit, signal, close`, async () => {
      await scene(async ({ pool, cluster, world }) => {
        for (const { server } of cluster.nodes) server.freeze()
        const since = world.now
        const error = await rejection(pool[call]({ timeoutMillis: 3000 }))
        isCode('POOL_CONNECT_FAILED')(error)
        assert.match(error.message, /its nodes are not known; no node could be asked: /)
        assert.ok(world.now - since < 3100, `${world.now - since} ms`)

        const abort = new AbortController()
        const aborted = rejection(pool[call]({ signal: abort.signal }))
        await world.sleep(10)
        abort.abort(new Error('enough'))
        const told = await aborted
        isCode('POOL_ABORTED')(told)
        assert.match(
          told.message,
          new RegExp(`ended ${call} of pool .*enough\\. The nodes go on being asked`),
        )

        const closed = rejection(pool[call]())
        await world.sleep(10)
        await pool.close()
        isCode('POOL_CLOSED')(await closed)
        isCode('POOL_CLOSED')(await rejection(pool[call]()))
      })
    })

    test(`${call}() goes on as soon as a node can be reached, and refuses options that it does not know`, async () => {
      await scene(async ({ pool, cluster, world }) => {
        for (const { server } of cluster.nodes) server.freeze()
        const waiting = pool[call]({ timeoutMillis: 20_000 })
        await world.sleep(2000)
        for (const { server } of cluster.nodes) server.recover()
        await waiting
        isCode('POOL_BAD_OPTIONS')(await rejection(pool[call]({ timeout: 1 } as never)))
        isCode('POOL_BAD_OPTIONS')(await rejection(pool[call]({ timeoutMillis: -1 })))
      })
    })
  }
})

/** The name of the node at this address. */
function nameOf(nodes: ClusterScene['cluster']['nodes'], address: string): string | undefined {
  return nodes.find(({ server }) => `${server.host}:${server.port}` === address)?.id
}

describe('ready(), start(), drain() and resize()', () => {
  test('ready() makes min connections to each primary; without min it learns the topology and connects to none for loans', async () => {
    await scene(
      async ({ pool }) => {
        await pool.ready()
        const made = pool.stats().nodes.map(({ stats }) => stats.totals.created)
        assert.deepEqual(made, [2, 2, 2])
      },
      { max: 4, min: 2 },
    )
    await scene(async ({ pool }) => {
      await pool.ready()
      assert.equal(pool.stats().topology.covered, 16_384)
      assert.equal(pool.size, 0)
    })
  })

  test('ready() is told of a primary that cannot be reached, in time', async () => {
    await scene(
      async ({ pool, node, world }) => {
        await pool.nodes()
        node(0).server.freeze()
        const since = world.now
        isCode('POOL_CONNECT_FAILED')(await rejection(pool.ready({ timeoutMillis: 2000 })))
        assert.ok(world.now - since < 2100, `${world.now - since} ms`)
      },
      { max: 4, min: 2 },
    )
  })

  test('ready() waits for the replica that takes over meanwhile', async () => {
    await scene(
      async ({ pool, cluster, world, node }) => {
        await pool.nodes()
        node(0).server.kill()
        let isReady = false
        const ready = pool.ready({ timeoutMillis: 20_000 }).then(() => {
          isReady = true
        })
        await world.sleep(3000)
        assert.equal(isReady, false)
        Object.assign(node(3), { isPrimary: true })
        cluster.say(AFTERWARDS, 2)
        await ready
        const { host, port } = node(3).server
        const made = pool.stats().nodes.find(other => other.node === `${host}:${port}`)
        assert.equal(made?.stats.totals.created, 2)
      },
      { max: 4, min: 2, unhealthyAfterMillis: 20_000 },
    )
  })

  for (const [what, begin] of [
    ['ready()', (pool: RedisClusterPool) => pool.ready()],
    ['the first loan', (pool: RedisClusterPool) => pool.use({ key: 'foo' }, redis => redis.ping())],
  ] as const)
    test(`a close in any step of ${what} leaves no pool behind`, async () => {
      for (let at = 0; at < 120; at += 1) {
        const steps = at % 40
        // It is called for each of six nodes as each of three nodes answers; after the last one the topology is known.
        let calls = 6 * Math.floor(at / 40) + 6
        let pool: RedisClusterPool | undefined
        let ended: Promise<unknown> | undefined
        const natMap = (): undefined => {
          calls -= 1
          if (calls !== 0) return
          ended = (async () => {
            for (let step = 0; step < steps; step += 1) await null
            await pool?.close()
          })()
        }
        await scene(
          async given => {
            ;({ pool } = given)
            await begin(pool).catch(isCode('POOL_CLOSED'))
            await ended
            await given.world.sleep(100)
            assert.deepEqual(perNode(pool, 'size').filter(Boolean), [], `close ${at}`)
          },
          { max: 4, min: 2, natMap },
        )
      }
    })

  for (const call of ['start', 'nodes', 'ready'] as const)
    test(`${call}() learns the topology, and its connections end where nobody uses the pool`, async () => {
      await scene(async ({ pool, world, cluster }) => {
        await world.sleep(1000)
        assert.equal(pool.stats().topology.covered, 0)
        void pool[call]()
        await world.sleep(100)
        assert.equal(pool.stats().topology.covered, 16_384)
        await world.sleep(5000)
        assert.deepEqual(
          cluster.nodes.map(socketsTo),
          cluster.nodes.map(() => 0),
        )
      })
    })

  test('drain() serves who waits at a node, waits for the loans of all nodes, and refuses others', async () => {
    await scene(async ({ pool, world }) => {
      const lent = await lendAll(pool, 1)
      const waiting = pool.acquire({ key: 'foo' })
      await world.sleep(10)
      let isDrained = false
      const drained = pool.drain().then(() => {
        isDrained = true
      })
      isCode('POOL_CLOSED')(await rejection(pool.acquire({ key: 'b' })))
      assert.equal(pool.stats().state, 'draining')
      await Promise.all(lent.map(redis => pool.release(redis)))
      const last = await waiting
      await world.sleep(100)
      assert.equal(isDrained, false)
      await pool.release(last)
      await drained
      assert.equal(pool.borrowed, 0)
      assert.equal(pool.stats().state, 'draining')
    })
  })

  test('drain() ends in time, and by a signal, and says who holds what', async () => {
    await scene(async ({ pool, world }) => {
      const lent = await lendAll(pool, 1)
      const late = await rejection(pool.drain({ timeoutMillis: 100 }))
      isCode('POOL_DRAIN_TIMEOUT')(late)
      const abort = new AbortController()
      const aborted = rejection(pool.drain({ signal: abort.signal }))
      await world.sleep(1)
      abort.abort()
      isCode('POOL_ABORTED')(await aborted)
      await Promise.all(lent.map(redis => pool.release(redis)))
      await pool.drain()
    })
  })

  test('an error that concerns no node has the numbers of all nodes, not those of a pool without any', async () => {
    await scene(
      async ({ pool }) => {
        const lent = await lendAll(pool, 2)
        const numbersOf = (error: PoolError): unknown[] => {
          const { name, state, size, idle, borrowed } = error.stats as PoolStats
          assert.match(
            error.message,
            new RegExp(`\\(total=${size}, max=6, idle=${idle}, borrowed=${borrowed}, `),
          )
          return [error.code, name, state, borrowed]
        }
        const told = async (work: Promise<unknown>): Promise<unknown[]> => {
          const error = await rejection(work)
          assert.match(String(error.stack), /cluster-calls\.test/)
          return numbersOf(error as PoolError)
        }
        const foreign = {} as Redis
        assert.deepEqual(await told(pool.release(foreign)), ['POOL_NOT_BORROWED', 'orders', 'open', 6])
        assert.deepEqual(await told(pool.destroy(foreign)), ['POOL_NOT_BORROWED', 'orders', 'open', 6])
        const closing = pool.close()
        const closed = ['POOL_CLOSED', 'orders', 'draining', 6]
        assert.deepEqual(await told(pool.acquire({ key: 'foo' })), closed)
        assert.deepEqual(await told(pool.lease({ key: 'foo' })), closed)
        assert.deepEqual(await told(pool.use({ key: 'foo' }, redis => redis.ping())), closed)
        assert.deepEqual(await told(pool.ready()), closed)
        assert.deepEqual(await told(pool.nodes()), closed)
        await Promise.all(lent.slice(1).map(redis => pool.release(redis)))
        assert.deepEqual(await told(pool.acquire({ key: 'foo' })), [...closed.slice(0, 3), 1])
        await pool.release(lent[0] as Redis)
        await closing
        assert.deepEqual(await told(pool.acquire({ key: 'b' })), ['POOL_CLOSED', 'orders', 'closed', 0])
      },
      { max: 2, name: 'orders' },
    )
  })

  test('resize() changes the bounds of the nodes that have a pool, and of those that get one later', async () => {
    await scene(async ({ pool, world }) => {
      const first = await pool.acquire({ key: 'foo' })
      const second = pool.acquire({ key: 'foo' })
      await world.sleep(100)
      assert.equal(pool.pending, 1)
      pool.resize({ max: 3, min: 2 })
      const lent = [first, await second, ...(await lendAll(pool, 1))]
      await world.sleep(100)
      assert.deepEqual([pool.max, pool.min], [3, 2])
      assert.deepEqual(perNode(pool, 'max'), [3, 3, 3])
      assert.deepEqual(perNode(pool, 'size'), [3, 2, 2])
      pool.resize({ min: 0, max: 1 })
      await Promise.all(lent.map(redis => pool.release(redis)))
      await world.sleep(100)
      assert.deepEqual(perNode(pool, 'size'), [1, 1, 1])
      for (const wrong of [{ max: 0 }, { min: 5 }, { maxTotal: 3 }, 7])
        assert.throws(
          () => pool.resize(wrong as never),
          error => {
            isCode('POOL_BAD_OPTIONS')(error)
            return /cluster-calls\.test/.test(String((error as Error).stack?.split('\n')[1]))
          },
        )
      assert.deepEqual(perNode(pool, 'max'), [1, 1, 1])
    })
  })

  test('resize() reaches the pool of a node that has gone, which may be back before its last loan has ended', async () => {
    await scene(async ({ pool, world, cluster, node }) => {
      const redis = await pool.acquire({ key: 'foo' })
      const isPrimary = (index: number, flag: boolean) => Object.assign(node(index), { isPrimary: flag })
      isPrimary(3, true)
      isPrimary(0, false)
      cluster.say(AFTERWARDS, 2)
      await world.sleep(6000)
      assert.equal(pool.stats().topology.retired, 1)
      pool.resize({ max: 3 })
      isPrimary(0, true)
      isPrimary(3, false)
      cluster.say(OWNERS, 3)
      await world.sleep(6000)
      await pool.use({ key: 'foo' }, other => other.ping())
      assert.deepEqual(perNode(pool, 'max'), [3])
      await pool.release(redis)
    })
  })

  test('resize() of min keeps within maxTotal, on all nodes alike', async () => {
    await scene(
      async ({ pool, world }) => {
        await pool.ready()
        pool.resize({ min: 4 })
        await world.sleep(100)
        assert.deepEqual(perNode(pool, 'min'), [2, 2, 2])
        assert.equal(pool.min, 4)
      },
      { max: 4, min: 1, maxTotal: 7 },
    )
  })
})

test('reportJson() is the same as report(), as plain data', async () => {
  await scene(
    async ({ pool }) => {
      const redis = await pool.acquire({ key: 'foo' })
      const report = pool.reportJson()
      assert.deepEqual(JSON.parse(JSON.stringify(report.stats.topology)), report.stats.topology)
      assert.deepEqual(
        report.pools.map(({ stats, leases }) => [stats.name, leases.length]),
        report.stats.nodes.map(({ node }) => [`orders ${node}`, 1]),
      )
      assert.match(pool.report(), /^pool 'orders' of a Redis Cluster is open \(total=1, idle=0, borrowed=1/)
      assert.match(pool.report(), new RegExp(`^pool 'orders ${report.stats.nodes[0]?.node}' is open`, 'm'))
      await pool.release(redis)
    },
    { name: 'orders' },
  )
})

test('invalidate() ends a lent connection when it is returned', async () => {
  await scene(async ({ pool }) => {
    const redis = await pool.acquire({ key: 'foo' })
    assert.equal(pool.invalidate(redis, 'unwell'), true)
    await pool.release(redis)
    assert.equal(pool.available, 0)
    assert.equal(pool.invalidate(redis), false)
  })
})

/** What the pool of a cluster lacks, and docs/cluster.md says so. */
const LACKING = ['spareResourceCapacity']

test('it has what a single pool has, but what its page says that it lacks; and the page names all of it', async () => {
  const pool = createRedisClusterPool(1)
  const own = publicMembersOf(pool.constructor as never)
  await pool.close()
  assert.deepEqual(
    publicMembersOf(Pool as never).filter(name => !own.includes(name)),
    LACKING,
  )
  const page = readFileSync(join(packageRoot(), 'docs/cluster.md'), 'utf8')
  const asCode = (page.match(/`[^`\n]+`/g) ?? []).join('\n')
  assert.deepEqual(
    [...own, ...LACKING].filter(name => !new RegExp(`\\b${name}\\b`).test(asCode)),
    [],
  )
})
