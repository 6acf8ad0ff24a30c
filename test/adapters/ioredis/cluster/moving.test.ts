import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { createRedisClusterPool, type RedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import { clusterOfTests, errorReplies } from './cluster-of-tests.ts'
import { allowed, mostConnectionsTo } from './connections.ts'

const { cluster, nodes, skip } = await clusterOfTests()

/** The slot of `foo`, which these tests move to and fro. */
const SLOT = 12_182
const ALL = process.env.LIFEGUARD_LONG ? 10_000 : 300

const moveAway = async (): Promise<void> => cluster.move(SLOT, await cluster.otherThan(SLOT))

const isMoved = (error: unknown): boolean => isPoolError(error, 'POOL_MOVED')

/** How many connections the pool has made so far. */
const made = (pool: RedisClusterPool): number =>
  pool.stats().nodes.reduce((sum, { stats }) => sum + stats.totals.created, 0)

/** How often the servers have answered MOVED so far. */
const movedReplies = (): Promise<number> => errorReplies(cluster, 'MOVED')

describe('a slot that moves during a loan', { skip }, () => {
  test('the loan is told the new owner, the connection stays, and the next loan leads there', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 1 })
    const from = await cluster.ownerOf(SLOT)
    const to = await cluster.otherThan(SLOT)
    await assert.rejects(
      pool.use({ key: 'foo' }, async redis => {
        await redis.set('foo', 'here')
        await cluster.move(SLOT, to)
        return await redis.get('foo')
      }),
      error => {
        assert.ok(isPoolError(error, 'POOL_MOVED'), String(error))
        const moved = {
          slot: SLOT,
          from: `127.0.0.1:${from.port}`,
          to: `127.0.0.1:${to.port}`,
          isFinal: true,
        }
        assert.deepEqual(error.moved, moved)
        assert.match(error.message, /slot 12182 \(key 'foo'\) has moved from/)
        assert.match(error.message, /use\(…, \{ retryMoved: true \}\) does so by itself/)
        assert.match(String((error.cause as Error).message), /^MOVED /)
        return true
      },
    )
    const before = await movedReplies()
    assert.equal(await pool.use({ key: 'foo' }, redis => redis.get('foo')), 'here')
    assert.equal(await movedReplies(), before, 'no command went to the wrong node')
    assert.equal(made(pool), 2, 'one connection for each node')
    assert.ok(pool.stats().nodes.every(({ stats }) => stats.totals.destroyed === 0))
  })

  test('a plain loan is told as well, and sends nothing more to the wrong node', async () => {
    await using pool = createRedisClusterPool(nodes)
    const redis = await pool.acquire({ key: 'foo' })
    await redis.get('foo')
    await moveAway()
    const before = await movedReplies()
    await assert.rejects(redis.get('foo'), isMoved)
    await assert.rejects(redis.set('foo', 1), isMoved)
    await assert.rejects(redis.pipeline().get('foo').exec(), isMoved)
    assert.equal((await movedReplies()) - before, 1)
    assert.equal(await redis.ping(), 'PONG')
    await pool.release(redis)
  })

  test('in a pipeline, each command is told, and whoever reads one of them knows', async () => {
    await using pool = createRedisClusterPool(nodes)
    await pool.use({ key: 'foo' }, async redis => {
      await redis.get('foo')
      await moveAway()
      const results = (await redis.pipeline().get('foo').ping().exec()) ?? []
      assert.ok(isMoved(results[0]?.[0]))
      assert.deepEqual(results[1], [null, 'PONG'])
    })
  })

  test('a transaction is not executed in part, and its connection is clean after it', async () => {
    await using pool = createRedisClusterPool(nodes)
    await assert.rejects(
      pool.use({ key: 'foo' }, async redis => {
        await redis.watch('foo')
        await moveAway()
        await redis.multi().set('foo', 'never').exec()
      }),
      isMoved,
    )
    assert.notEqual(await pool.use({ key: 'foo' }, redis => redis.get('foo')), 'never')
    assert.ok(
      pool.stats().nodes.every(({ stats }) => stats.totals.destroyed === 0),
      pool.report(),
    )
  })

  test('a BLPOP that waits is told, and does not wait for ever', async () => {
    await using pool = createRedisClusterPool(nodes)
    const told = assert.rejects(
      pool.use({ key: '{foo}list' }, redis => redis.blpop('{foo}list', 0)),
      isMoved,
    )
    const isBlocked = async () =>
      /blocked_clients:1/.test(await cluster.admin(await cluster.ownerOf(SLOT)).info('clients'))
    await eventually(isBlocked)
    await moveAway()
    await told
  })
})

describe('a function runs again only if nothing was written', { skip }, () => {
  test('reading, WATCH and a transaction that was not executed do not count', async () => {
    await using pool = createRedisClusterPool(nodes)
    await pool.use({ key: 'foo' }, redis => redis.set('foo', 5))
    let runs = 0
    const result = await pool.use(
      { key: 'foo' },
      async redis => {
        runs += 1
        await redis.watch('foo')
        const value = Number(await redis.get('foo'))
        if (runs === 1) await moveAway()
        return await redis
          .multi()
          .set('foo', value + 1)
          .exec()
      },
      { retryMoved: true },
    )
    assert.equal(runs, 2)
    assert.deepEqual(result, [[null, 'OK']])
    assert.equal(await pool.use({ key: 'foo' }, redis => redis.get('foo')), '6')
  })

  for (const [what, write] of [
    ['a write', (redis: Redis) => redis.incr('foo')],
    ['a script, which may write', (redis: Redis) => redis.eval('return 1', 1, 'foo')],
    ['a transaction that was executed', (redis: Redis) => redis.multi().incr('foo').exec()],
    ['a write that failed by itself', (redis: Redis) => redis.lpush('foo', 1).catch(() => {})],
  ] as const) {
    test(`${what} does, and the caller decides`, async () => {
      await using pool = createRedisClusterPool(nodes)
      await pool.use({ key: 'foo' }, redis => redis.set('foo', 5))
      let runs = 0
      await assert.rejects(
        pool.use(
          { key: 'foo' },
          async redis => {
            runs += 1
            await write(redis)
            await moveAway()
            await redis.get('foo')
          },
          { retryMoved: true },
        ),
        error => {
          assert.ok(isPoolError(error, 'POOL_MOVED'))
          assert.match(error.message, /not run again, as it may have written: see whether it may run twice/)
          assert.doesNotMatch(error.message, /retryMoved/)
          return true
        },
      )
      assert.equal(runs, 1)
    })
  }

  test('an abort before its next run tells that it has run, not that nothing was lent', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 1 })
    const to = await cluster.otherThan(SLOT)
    // The connection to the new owner is lent, so the next run has to wait.
    const held = await pool.acquire({ node: `127.0.0.1:${to.port}` })
    const abort = new AbortController()
    const reason = new Error('the request was given up')
    let hasMoved = false
    const told = assert.rejects(
      pool.use(
        { key: 'foo' },
        async redis => {
          await cluster.move(SLOT, to)
          hasMoved = true
          await redis.get('foo')
        },
        { retryMoved: true, signal: abort.signal },
      ),
      error => {
        assert.ok(isPoolError(error, 'POOL_ABORTED'))
        assert.equal(error.cause, reason)
        assert.match(error.message, /The function had run 1 time until its slot moved, nothing was written/)
        assert.doesNotMatch(error.message, /Nothing was lent/)
        return true
      },
    )
    await eventually(() => hasMoved && pool.pending === 1)
    abort.abort(reason)
    await told
    await pool.release(held)
    await assert.rejects(
      pool.use({ key: 'foo' }, () => {}, { signal: AbortSignal.abort() }),
      /Nothing was lent$/,
    )
  })

  test('what the function itself sees of that does not tell it to ask for what it has', async () => {
    await using pool = createRedisClusterPool(nodes)
    const seen: string[] = []
    const work = async (redis: Redis): Promise<void> => {
      if (seen.length === 0) await moveAway()
      await redis.get('foo').catch(error => {
        seen.push(String(error))
        throw error
      })
    }
    await pool.use({ key: 'foo' }, work, { retryMoved: true })
    assert.match(seen.join(), /has moved from .* The function runs again at the new owner once it has ended/)
  })

  test('an error of the function itself is no reason to run it again', async () => {
    await using pool = createRedisClusterPool(nodes)
    const own = new Error('of the function')
    const failing = pool.use(
      { key: 'foo' },
      async redis => {
        await moveAway()
        await redis.get('foo').catch(() => {})
        throw own
      },
      { retryMoved: true },
    )
    await assert.rejects(failing, error => error === own)
  })
})

describe('a slot that is on its way', { skip }, () => {
  /** Runs while the slot is being moved and all its keys but these have arrived. */
  const onTheWay = async (
    staying: string[],
    work: (finish: () => Promise<void>) => Promise<void>,
  ): Promise<void> => {
    const from = await cluster.ownerOf(SLOT)
    const to = await cluster.otherThan(SLOT)
    for (const key of ['foo', '{foo}1', '{foo}2']) await cluster.admin(from).set(key, key)
    await cluster.beginMove(SLOT, to)
    for (const key of ['foo', '{foo}1', '{foo}2'])
      if (!staying.includes(key)) await cluster.admin(from).migrate('127.0.0.1', to.port, key, 0, 1000)
    let isOver = false
    const finish = async () => {
      isOver = true
      await cluster.moveKeys(SLOT, to)
      await cluster.endMove(SLOT, to)
    }
    try {
      await work(finish)
    } finally {
      if (!isOver) await finish()
    }
  }

  test('single commands find their keys on both sides', async () => {
    await using pool = createRedisClusterPool(nodes)
    await onTheWay(['{foo}1'], async () => {
      await pool.use({ key: 'foo' }, async redis => {
        assert.equal(await redis.get('{foo}1'), '{foo}1')
        assert.equal(await redis.get('foo'), 'foo')
        assert.deepEqual(await redis.hgetall('{foo}none'), {})
        assert.equal(await redis.set('{foo}new', 'made'), 'OK')
        assert.equal((await redis.getBuffer('{foo}new'))?.toString(), 'made')
        const results = await redis.pipeline().get('foo').get('{foo}1').exec()
        assert.deepEqual(results, [
          [null, 'foo'],
          [null, '{foo}1'],
        ])
      })
      assert.ok(pool.stats().topology.followed >= 4)
      assert.equal(pool.borrowed, 0)
      await pool.use({ key: 'foo' }, redis => redis.del('{foo}new'))
    })
  })

  test('a command with keys on both sides waits until they have met', async () => {
    await using pool = createRedisClusterPool(nodes)
    await onTheWay(['{foo}1'], async finish => {
      await pool.use({ key: 'foo' }, async redis => {
        const waiting = redis.mget('foo', '{foo}1')
        await eventually(() => pool.stats().topology.followed > 0)
        await finish()
        assert.deepEqual(await waiting, ['foo', '{foo}1'])
      })
    })
  })

  test('a transaction is told that the slot is on its way, and may wait for the end of that', async () => {
    await using pool = createRedisClusterPool(nodes)
    await onTheWay([], async finish => {
      const change = (redis: Redis) => redis.multi().set('foo', 'changed').exec()
      await assert.rejects(
        pool.use({ key: 'foo' }, change),
        error => isPoolError(error, 'POOL_MOVED') && !error.moved.isFinal && error.moved.to !== undefined,
      )
      // A slot that never arrives is no reason to wait for ever.
      const short = { retryMoved: true, timeoutMillis: 300 }
      await assert.rejects(
        pool.use({ key: 'foo' }, change, short),
        error =>
          (isMoved(error) && /has run \d+ times?, wrote nothing, and has no time left/.test(String(error))) ||
          isPoolError(error, 'POOL_ACQUIRE_TIMEOUT'),
      )
      const waiting = pool.use({ key: 'foo' }, change, { retryMoved: true })
      await eventually(() => pool.stats().nodes.some(({ stats }) => stats.totals.acquired > 2))
      await finish()
      assert.deepEqual(await waiting, [[null, 'OK']])
    })
  })

  test('nobody is told CROSSSLOT or lost in a WATCH on a key that has left', async () => {
    await using pool = createRedisClusterPool(nodes)
    await onTheWay([], async finish => {
      const waiting = pool.use(
        { key: 'foo' },
        async redis => {
          await redis.watch('foo')
          const value = await redis.get('foo')
          return await redis.multi().set('foo', `${value}!`).exec()
        },
        { retryMoved: true },
      )
      await finish()
      await waiting
      assert.equal(await pool.use({ key: 'foo' }, redis => redis.get('foo')), 'foo!')
    })
  })
})

describe('a slot that no node serves', { skip }, () => {
  /** As Redis itself may leave it after a move: its owner names another node, and that one its owner. */
  const withoutOwner = async (work: (mend: () => Promise<void>) => Promise<void>): Promise<void> => {
    const [owner, other] = [await cluster.ownerOf(SLOT), await cluster.otherThan(SLOT)]
    const assign = async (server: typeof owner): Promise<unknown> => {
      const id = String(await cluster.admin(server).cluster('MYID'))
      return cluster.admin(owner).cluster('SETSLOT', SLOT, 'NODE', id)
    }
    // The owner gives no slot away that has keys.
    await cluster.admin(owner).del('foo', '{foo}1', '{foo}2', '{foo}list')
    await assign(other)
    const mend = async () => {
      await assign(owner)
      await cluster.settled()
    }
    try {
      await work(mend)
    } finally {
      await mend()
    }
  }

  test('two nodes that name each other: callers are told in time, those that may wait go on when it is mended', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2 })
    await pool.use({ key: 'foo' }, redis => redis.ping())
    await withoutOwner(async mend => {
      const before = await movedReplies()
      let runs = 0
      const impatient = pool.use(
        { key: 'foo' },
        redis => {
          runs += 1
          return redis.incr('foo')
        },
        { retryMoved: true, timeoutMillis: 400 },
      )
      const [answer] = await Promise.allSettled([impatient])
      assert.ok(answer.status === 'rejected')
      assert.ok(
        isMoved(answer.reason) || isPoolError(answer.reason, 'POOL_ACQUIRE_TIMEOUT'),
        String(answer.reason),
      )
      assert.ok(runs < 60, `${runs} runs: it pauses between them`)
      assert.ok((await movedReplies()) - before <= runs, 'nothing was sent but by the function')
      assert.ok(isMoved(await pool.use({ key: 'foo' }, redis => redis.incr('foo')).catch(error => error)))
      const patient = [1, 2, 3, 4].map(() =>
        pool.use({ key: 'foo' }, redis => redis.incr('foo'), { retryMoved: true, timeoutMillis: 20_000 }),
      )
      const { moved } = pool.stats().topology
      await eventually(() => pool.stats().topology.moved > moved + 4)
      await mend()
      assert.deepEqual((await Promise.all(patient)).sort(), [1, 2, 3, 4])
      assert.equal(pool.borrowed, 0)
    })
  })

  test('single commands that are sent from node to node end, too', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 1, acquireTimeoutMillis: 500 })
    await pool.use({ key: 'foo' }, redis => redis.ping())
    await withoutOwner(async () => {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, () =>
          pool.use({ key: 'foo' }, redis => redis.pipeline().get('foo').set('foo', 1).exec()),
        ),
      )
      for (const outcome of outcomes)
        if (outcome.status === 'fulfilled') assert.ok(outcome.value?.every(([error]) => isMoved(error)))
        else assert.ok(isMoved(outcome.reason) || isPoolError(outcome.reason, 'POOL_ACQUIRE_TIMEOUT'))
    })
    // It may remember for a moment what the two have said.
    const set = pool.use({ key: 'foo' }, redis => redis.set('foo', 1), { retryMoved: true })
    assert.equal(await set, 'OK')
  })

  test('all nodes say that nobody has it: callers are told CLUSTERDOWN or in time, and go on when somebody has it', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2, acquireTimeoutMillis: 20_000 })
    await pool.use({ key: 'foo' }, redis => redis.ping())
    const owner = await cluster.ownerOf(SLOT)
    await cluster.admin(owner).del('foo', '{foo}1', '{foo}2', '{foo}list')
    const others = cluster.servers.filter(server => server !== owner)
    const isNobodys = async (): Promise<boolean> => {
      for (const server of [owner, ...others])
        await cluster
          .admin(server)
          .call('CLUSTER', 'DELSLOTS', SLOT)
          .catch(() => {})
      const infos = await Promise.all(cluster.servers.map(server => cluster.admin(server).cluster('INFO')))
      return infos.every(info => /cluster_slots_assigned:16383\b/.test(String(info)))
    }
    // One that hears an old message believes it.
    await eventually(isNobodys)
    const failed = await pool
      .use({ key: 'foo' }, redis => redis.set('foo', 1), { timeoutMillis: 500 })
      .catch(error => error)
    // The second if the pool has asked the nodes just before.
    assert.match(String(failed), /CLUSTERDOWN|no primary serves slot/)
    await eventually(() => pool.stats().topology.covered === 16_383, {
      what: 'the pool knows',
      within: 20_000,
    })
    const told = await pool
      .use({ key: 'foo' }, redis => redis.get('foo'), { timeoutMillis: 200 })
      .catch(error => error)
    assert.ok(isPoolError(told, 'POOL_CONNECT_FAILED'), String(told))
    assert.match(told.message, /no primary serves slot 12182/)
    const waiting = pool.use({ key: 'foo' }, redis => redis.set('foo', 2))
    await cluster.admin(owner).call('CLUSTER', 'ADDSLOTS', SLOT)
    assert.equal(await waiting, 'OK')
    await cluster.settled()
  })
})

test('two writers on one counter lose no update while its slot moves to and fro', { skip }, async () => {
  const max = 3
  await using pool = createRedisClusterPool(nodes, { max, acquireTimeoutMillis: 10_000 })
  await pool.use({ key: 'foo' }, redis => redis.set('foo', 0))
  let done = 0
  let taken = 0
  const failures: unknown[] = []
  const increment = async (redis: Redis): Promise<boolean> => {
    await redis.watch('foo')
    const value = Number(await redis.get('foo'))
    return (
      (await redis
        .multi()
        .set('foo', value + 1)
        .exec()) !== null
    )
  }
  const writer = async (): Promise<void> => {
    while (taken < ALL) {
      taken += 1
      let isDone = false
      const since = performance.now()
      while (!isDone)
        isDone = await pool.use({ key: 'foo' }, increment, { retryMoved: true }).catch(error => {
          failures.push(error)
          return false
        })
      longest = Math.max(longest, performance.now() - since)
      done += 1
    }
  }
  let longest = 0
  const writers = Promise.all([writer(), writer(), writer(), writer()])
  let moves = 0
  let most = 0
  while (taken < ALL) {
    await moveAway()
    moves += 1
    // One is the test's own.
    most = Math.max(most, mostConnectionsTo(cluster.servers.map(({ port }) => port)) - 1)
  }
  await writers
  const counter = await pool.use({ key: 'foo' }, redis => redis.get('foo'), { retryMoved: true })
  assert.equal(Number(counter), done)
  assert.deepEqual(failures, [])
  assert.ok(moves > 3, `${moves} moves`)
  assert.ok(pool.stats().topology.moved > 0)
  assert.ok(most <= allowed(max, longest), `${most} connections to one node`)
})
