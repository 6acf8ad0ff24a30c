import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRedisPool, type RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { createBudget, isPoolError } from '../../src/index.ts'
import type { SimulatedPeer } from '../../src/testing/index.ts'
import { bulk } from '../adapters/ioredis/fake-redis.ts'
import { AFTERWARDS, type ClusterScene, OWNERS, playOnCluster, SLOT } from './cluster-scene.ts'
import type { Owners, SimulatedNode } from './simulated-cluster.ts'

const scene = (
  play: (scene: ClusterScene) => Promise<void>,
  options: object = {},
  owners: Owners = OWNERS,
): Promise<void> => playOnCluster(options, play, { owners })

const who = (pool: RedisClusterPool, request: object = {}): Promise<string | null> =>
  pool.use({ key: 'foo' }, redis => redis.get('foo'), request)

/** Callers come every 20 ms. @returns when each of those that were served was, in virtual milliseconds */
function callers({ world, pool }: ClusterScene, request: object = {}) {
  const served: { at: number; by: string | null }[] = []
  const failed: unknown[] = []
  let isOver = false
  const work = (async () => {
    const all: Promise<unknown>[] = []
    while (!isOver) {
      all.push(
        who(pool, request).then(
          by => served.push({ at: world.now, by }),
          error => failed.push(error),
        ),
      )
      await world.sleep(20)
    }
    await Promise.all(all)
  })()
  const stop = async (): Promise<void> => {
    isOver = true
    await work
  }
  return { served, failed, stop }
}

describe('a replica that takes over from a primary that is gone', () => {
  for (const outageMillis of [2000, 30_000]) {
    for (const [how, die] of [
      ['killed', (node: SimulatedNode) => node.server.kill()],
      ['stopped', (node: SimulatedNode) => node.server.freeze()],
    ] as const) {
      test(`is found a hundredth of the time later, though the others have not heard of it (${how}, ${outageMillis} ms)`, async () => {
        await scene(
          async scene => {
            const { world, node } = scene
            const work = callers(scene)
            await world.sleep(1000)
            die(node(0))
            await world.sleep(outageMillis)
            const took = world.now
            Object.assign(node(3), { isPrimary: true, owners: AFTERWARDS, epoch: 2 })
            // The news takes a second.
            world.after(1000, () => scene.cluster.say(AFTERWARDS, 2))
            await world.sleep(3000)
            await work.stop()
            const first = work.served.find(({ by }) => by === 'node-3')?.at ?? Number.NaN
            assert.ok(first - took < outageMillis / 100 + 60, `${first - took} ms`)
            assert.ok(work.served.every(({ at, by }) => at < first || by === 'node-3'))
            assert.ok(work.served.length > 150)
            const questions = node(3).asked.get('ROLE') ?? 0
            assert.ok(questions > 20 && questions < 100 + 150 * Math.log(outageMillis / 1000), `${questions}`)
          },
          { max: 2, acquireTimeoutMillis: 60_000, unhealthyAfterMillis: 60_000 },
        )
      })
    }
  }

  test('is found also while nobody waits, as the breaker is open and the callers are told at once', async () => {
    await scene(
      async scene => {
        const { world, node } = scene
        const work = callers(scene)
        await world.sleep(1000)
        node(0).server.kill()
        await world.sleep(20_000)
        assert.ok(work.failed.length > 500)
        const took = world.now
        Object.assign(node(3), { isPrimary: true, owners: AFTERWARDS, epoch: 2 })
        await world.sleep(1000)
        await work.stop()
        const first = work.served.find(({ by }) => by === 'node-3')?.at ?? Number.NaN
        assert.ok(first - took < 300, `${first - took} ms`)
        // It is asked over one connection. The loans have two more.
        assert.ok(node(3).server.accepted <= 3, `${node(3).server.accepted}`)
      },
      { max: 2 },
    )
  })

  test('is found also by a user who may not ask for the ROLE', async () => {
    await scene(
      async ({ world, pool, node }) => {
        await who(pool)
        node(3).answer = ([name]) => {
          if (name === 'ROLE') return "-NOPERM this user has no permissions to run the 'role' command\r\n"
          if (name !== 'HELLO') return undefined
          return `%2\r\n${bulk('proto')}:3\r\n${bulk('role')}${bulk(node(3).isPrimary ? 'master' : 'replica')}`
        }
        node(0).server.kill()
        await world.sleep(10)
        const waiting = who(pool)
        await world.sleep(10_000)
        const took = world.now
        Object.assign(node(3), { isPrimary: true, owners: AFTERWARDS, epoch: 2 })
        assert.equal(await waiting, 'node-3')
        assert.ok(world.now - took < 200, `${world.now - took} ms`)
      },
      { acquireTimeoutMillis: 60_000, unhealthyAfterMillis: 60_000 },
    )
  })

  test('says that it is a primary, and claims no slot: nothing changes, and it is not asked without end', async () => {
    await scene(
      async scene => {
        const { world, pool, node } = scene
        await who(pool)
        node(3).isPrimary = true
        node(0).server.kill()
        await world.sleep(10)
        const refused = assert.rejects(who(pool))
        await world.sleep(10_000)
        await refused
        assert.equal(pool.stats().topology.covered, 16_384)
        assert.equal(pool.stats().topology.changes, 16_384)
        await world.sleep(60_000)
        const questions = node(3).asked.get('ROLE') ?? 0
        await world.sleep(60_000)
        assert.equal(node(3).asked.get('ROLE') ?? 0, questions)
        node(0).server.start()
        assert.equal(await who(pool), 'node-0')
      },
      { acquireTimeoutMillis: 5000 },
    )
  })

  test('a primary that is back before anybody took over keeps its slots, and nobody is asked any more', async () => {
    await scene(async ({ world, pool, node }) => {
      await who(pool)
      node(0).server.kill()
      await world.sleep(10)
      const waiting = who(pool)
      await world.sleep(1000)
      node(0).server.start()
      assert.equal(await waiting, 'node-0')
      const questions = node(3).asked.get('ROLE')
      await world.sleep(20_000)
      assert.equal(node(3).asked.get('ROLE'), questions)
    })
  })

  test('a node that is gone for good is not asked for ever', async () => {
    await scene(async ({ world, pool, cluster, node }) => {
      await who(pool)
      node(0).server.kill()
      await world.sleep(10)
      const waiting = who(pool)
      await world.sleep(1000)
      node(3).isPrimary = true
      cluster.say(AFTERWARDS, 2)
      assert.equal(await waiting, 'node-3')
      const keepsBusy = async (millis: number): Promise<number> => {
        const { refreshes } = pool.stats().topology
        for (const until = world.now + millis; world.now < until; await world.sleep(100)) await who(pool)
        return pool.stats().topology.refreshes - refreshes
      }
      await keepsBusy(10_000)
      // Every five seconds, as at rest.
      assert.ok((await keepsBusy(60_000)) <= 13)
    })
  })
})

describe('nodes that say strange things', () => {
  test('two nodes that know of no slot at all do not take them from those who have them', async () => {
    await scene(async ({ world, pool, node }) => {
      await who(pool)
      const held = await pool.acquire({ key: 'foo' })
      // As after a restart with an empty disk.
      for (const index of [1, 2, 3, 4, 5]) Object.assign(node(index), { owners: {}, epoch: 99 })
      await world.sleep(20_000)
      assert.equal(await held.get('foo'), 'node-0')
      await pool.release(held)
      assert.equal(await who(pool), 'node-0')
      assert.equal(pool.stats().topology.retired, 0)
      // Its owner says so itself: then it is so.
      Object.assign(node(0), { owners: {}, epoch: 99 })
      await world.sleep(6000)
      await who(pool).catch(() => {})
      await world.sleep(6000)
      await assert.rejects(who(pool, { timeoutMillis: 500 }), /no primary serves slot 12182/)
    })
  })

  test('a slot that nobody has is said to be so, while the others are served', async () => {
    await scene(
      async ({ pool }) => {
        assert.equal(await who(pool), 'node-0')
        const unserved = pool.use({ slot: 100 }, redis => redis.ping(), { timeoutMillis: 300 })
        await assert.rejects(unserved, /no primary serves slot 100; the nodes known are/)
      },
      {},
      { 0: undefined, 5000: 2, 10000: 0 },
    )
  })

  test('a topology that flaps twice a second moves loans to and fro, loses none, and adds no connections', async () => {
    await scene(
      async scene => {
        const { world, pool, cluster } = scene
        const work = callers(scene)
        for (let turn = 0; turn < 60; turn += 1) {
          const isBack = turn % 2 === 1
          for (const index of [0, 3]) cluster.nodes[index]!.isPrimary = (index === 0) === isBack
          cluster.say(isBack ? OWNERS : AFTERWARDS, turn + 2)
          for (let look = 0; look < 5; look += 1) {
            await world.sleep(100)
            for (const { server } of cluster.nodes) assert.ok(server.peers.size <= 3, `${server.peers.size}`)
          }
        }
        await work.stop()
        assert.deepEqual(work.failed.map(String), [])
        await world.sleep(1000)
        assert.equal(pool.borrowed, 0)
      },
      { max: 3, acquireTimeoutMillis: 20_000, unhealthyAfterMillis: 20_000 },
    )
  })

  test('a node that answers MOVED to itself: the caller is told, and with retryMoved by its deadline', async () => {
    await scene(async ({ world, pool, node }) => {
      const { host, port } = node(0).server
      await who(pool)
      node(0).answer = ([name]) => (name === 'GET' ? `-MOVED ${SLOT} ${host}:${port}\r\n` : undefined)
      await assert.rejects(who(pool), error => isPoolError(error, 'POOL_MOVED'))
      const since = world.now
      await assert.rejects(who(pool, { retryMoved: true, timeoutMillis: 2000 }), error =>
        isPoolError(error, 'POOL_MOVED'),
      )
      assert.ok(world.now - since < 2200)
      assert.ok((node(0).asked.get('GET') ?? 0) < 100, `${node(0).asked.get('GET')}`)
    })
  })

  test('two nodes that name each other, by MOVED and by ASK: bounded, and told', async () => {
    for (const kind of ['MOVED', 'ASK'])
      await scene(async ({ world, pool, node }) => {
        await who(pool)
        for (const [index, other] of [
          [0, 1],
          [1, 0],
        ] as const) {
          const { host, port } = node(other).server
          node(index).answer = ([name]) =>
            name === 'GET' ? `-${kind} ${SLOT} ${host}:${port}\r\n` : undefined
        }
        const since = world.now
        await assert.rejects(who(pool, { retryMoved: true, timeoutMillis: 1000 }), error =>
          isPoolError(error, 'POOL_MOVED'),
        )
        assert.ok(world.now - since < 3000, `${world.now - since}`)
        assert.equal(pool.borrowed, 0)
      })
  })

  test('MOVED and ASK to a node that does not exist: told, and the slot returns to its owner', async () => {
    for (const kind of ['MOVED', 'ASK'])
      await scene(async ({ world, pool, node }) => {
        await who(pool)
        node(0).answer = ([name]) => (name === 'GET' ? `-${kind} ${SLOT} 127.0.0.1:9\r\n` : undefined)
        await assert.rejects(who(pool), error => isPoolError(error, 'POOL_MOVED'))
        node(0).answer = undefined
        await world.sleep(3000)
        assert.equal(await who(pool), 'node-0')
      })
  })

  test('answers that are no topology, errors, and silence: the last one that was believed stays', async () => {
    for (const reply of ['-ERR This instance has cluster support disabled\r\n', ':1\r\n', '*1\r\n:1\r\n', ''])
      await scene(async ({ world, pool, node }) => {
        await who(pool)
        for (const index of [0, 1, 2, 3, 4, 5])
          node(index).answer = ([name]) => (name === 'CLUSTER' ? reply : undefined)
        for (let second = 0; second < 20; second += 1) {
          assert.equal(await who(pool), 'node-0')
          await world.sleep(1000)
        }
        assert.equal(pool.stats().topology.retired, 0)
      })
  })
})

describe('limits', () => {
  test('a node that is primary again while its old loans last has no more than max connections', async () => {
    await scene(
      async ({ world, pool, cluster, node }) => {
        const [first, second] = [node(0), node(3)]
        const held = await Promise.all([1, 2, 3].map(() => pool.acquire({ key: 'foo' })))
        Object.assign(first, { isPrimary: false })
        Object.assign(second, { isPrimary: true })
        cluster.say(AFTERWARDS, 2)
        await world.sleep(6000)
        assert.equal(await who(pool), 'node-3')
        assert.equal(pool.stats().topology.retired, 1)
        Object.assign(first, { isPrimary: true })
        Object.assign(second, { isPrimary: false })
        cluster.say(OWNERS, 3)
        await world.sleep(6000)
        const waiting = Promise.all([1, 2, 3].map(() => who(pool)))
        await world.sleep(100)
        assert.equal(pool.pending, 3)
        for (const redis of held) {
          assert.ok(first.server.peers.size <= 3, `${first.server.peers.size}`)
          assert.equal(await redis.get('foo'), 'node-0')
          await pool.release(redis)
          await world.sleep(10)
        }
        assert.deepEqual(await waiting, ['node-0', 'node-0', 'node-0'])
        assert.ok(first.server.peers.size <= 3, `${first.server.peers.size}`)
        // Those of the time before are not lent again.
        assert.ok((pool.stats().nodes.find(({ slots }) => slots > 5000)?.stats.totals.destroyed ?? 0) >= 3)
      },
      { max: 3, min: 1 },
    )
  })

  test('the pool of a node that has gone is closed once its last loan has ended, and not before', async () => {
    await scene(
      async ({ world, pool, cluster, node }) => {
        const held = await pool.acquire({ key: 'foo' })
        node(3).isPrimary = true
        cluster.say(AFTERWARDS, 2)
        await world.sleep(6000)
        assert.equal(await held.get('foo'), 'node-0')
        assert.ok(pool.stats().nodes.some(({ node }) => node.endsWith(':7001')))
        await pool.release(held)
        await world.sleep(10)
        assert.ok(!pool.stats().nodes.some(({ node }) => node.endsWith(':7001')))
        await who(pool)
      },
      { max: 3, min: 2 },
    )
  })

  for (const [what, options, named] of [
    ['maxTotal', () => ({ maxTotal: 2 }), /maxTotal of the cluster used up/],
    ['a budget', () => ({ budget: createBudget({ max: 2 }) }), /its budget used up/],
  ] as const) {
    test(`tasks that use up ${what} and want a second node deadlock: one is told within a grace, the other is served`, async () => {
      for (const [first, second] of [
        // To and fro, and both the same way.
        ['foo', 'bar'],
        ['foo', 'foo'],
      ] as const)
        await scene(
          async ({ world, pool }) => {
            for (const key of ['foo', 'bar']) await pool.use({ key }, redis => redis.get(key))
            let there = 0
            let meet = (): void => {}
            const both = new Promise<void>(resolve => {
              meet = resolve
            })
            const task = (outer: string): Promise<string> =>
              pool.use({ key: outer }, async () => {
                there += 1
                if (there === 2) meet()
                await both
                return await pool.use({ key: outer === 'foo' ? 'bar' : 'foo' }, () => 'both')
              })
            const since = world.now
            const outcomes = await Promise.allSettled([task(first), task(second)])
            const refused = outcomes.flatMap(each => (each.status === 'rejected' ? [each.reason] : []))
            assert.deepEqual(
              refused.map(error => error.code),
              ['POOL_DEADLOCK'],
            )
            assert.match(refused[0].message, first === second ? named : /POOL_DEADLOCK|all held by|wait/)
            assert.ok(world.now - since < 200, `${world.now - since} ms`)
            assert.equal(pool.borrowed, 0)
          },
          { max: 2, ...options() },
        )
    })
  }

  test('a plain pool that shares the budget of a cluster is part of the proof', async () => {
    const budget = createBudget({ max: 1 })
    await scene(
      async ({ world, pool, cluster, node }) => {
        const { host, port } = node(5).server
        const plain = createRedisPool({ host, port, ...cluster.redisOptions } as never, {
          budget,
          role: 'any',
        })
        const since = world.now
        const nested = pool.use({ key: 'foo' }, () => plain.use(redis => redis.ping()))
        await assert.rejects(nested, error => isPoolError(error, 'POOL_DEADLOCK'))
        assert.ok(world.now - since < 200, `${world.now - since} ms`)
        assert.equal(await plain.use(redis => redis.ping()), 'PONG')
        await plain.close()
      },
      { budget },
    )
    assert.equal(budget.stats().used, 0)
  })
})

describe('a node that announces that its slots move', () => {
  const push = (node: SimulatedNode, word: string): void => {
    for (const peer of node.listeners) peer.write(`>3\r\n${bulk(word)}:1\r\n${bulk('0-100')}`)
  }

  test('SMIGRATED: the nodes are asked for the topology at once', async () => {
    await scene(
      async ({ world, pool, cluster, node }) => {
        await who(pool)
        await world.sleep(1000)
        assert.equal(node(0).listeners.size, 1)
        cluster.say({ 0: 1, 5000: 2, 10000: 1 }, 2)
        push(node(0), 'SMIGRATED')
        await world.sleep(100)
        node(0).asked.delete('GET')
        assert.equal(await who(pool), 'node-1')
        assert.equal(node(0).asked.get('GET'), undefined)
      },
      { handoffs: true },
    )
  })

  for (const [word, end] of [
    ['SMIGRATING', 'SMIGRATED'],
    ['MIGRATING', 'MIGRATED'],
    ['FAILING_OVER', 'FAILED_OVER'],
  ] as const) {
    test(`${word}: a loan that waits for a slow answer is not ended by stuckMillis until ${end}`, async () => {
      await scene(
        async ({ world, pool, node }) => {
          const slowly = (command: readonly string[], peer: SimulatedPeer): string | undefined => {
            if (command[0] !== 'GET') return undefined
            world.after(5000, () => peer.write(bulk('late')))
            return ''
          }
          await who(pool)
          node(0).answer = slowly
          const told = who(pool)
          await world.sleep(10)
          push(node(0), word)
          assert.equal(await told, 'late')
          push(node(0), end)
          await world.sleep(10)
          await assert.rejects(who(pool))
          assert.match(pool.report(), /stuck|GET/)
        },
        { handoffs: true, stuckMillis: 2000 },
      )
    })
  }
})

describe('ends in the middle', () => {
  test('close while the nodes are asked for the first time, at every millisecond', async () => {
    for (let millis = 0; millis < 12; millis += 1)
      await scene(async ({ world, pool }) => {
        const waiting = who(pool).catch(error => error)
        await world.sleep(millis)
        await pool.close()
        const result = await waiting
        assert.ok(result === 'node-0' || isPoolError(result, 'POOL_CLOSED'), String(result))
      })
  })

  test('close and abort while a slot has moved, at every millisecond', async () => {
    for (const how of ['close', 'abort'])
      for (let millis = 0; millis < 12; millis += 1)
        await scene(async ({ world, pool, cluster, node }) => {
          await who(pool)
          const { host, port } = node(1).server
          node(0).answer = ([name]) => (name === 'GET' ? `-MOVED ${SLOT} ${host}:${port}\r\n` : undefined)
          cluster.say({ 0: 1, 5000: 2, 10000: 1 }, 2)
          const abort = new AbortController()
          const waiting = who(pool, { retryMoved: true, signal: abort.signal }).catch(error => error)
          await world.sleep(millis)
          if (how === 'close') await pool.close()
          else abort.abort(new Error('enough'))
          const result = await waiting
          const isToldSo = ['POOL_CLOSED', 'POOL_ABORTED', 'POOL_MOVED'].some(code =>
            isPoolError(result, code as never),
          )
          assert.ok(result === 'node-1' || isToldSo, String(result))
        })
  })

  test('close while a primary is away and its replicas are asked', async () => {
    for (const after of [10, 700, 3000])
      await scene(
        async ({ world, pool, node }) => {
          await who(pool)
          node(0).server.freeze()
          const waiting = who(pool).catch(error => error)
          await world.sleep(after)
          await pool.close({ timeoutMillis: 1000 }).catch(() => {})
          assert.ok((await waiting) instanceof Error)
          const { size } = node(3).server.peers
          const questions = node(3).asked.get('ROLE')
          await world.sleep(5000)
          assert.equal(node(3).asked.get('ROLE'), questions, `${size}`)
          node(0).server.thaw()
        },
        { acquireTimeoutMillis: 10_000 },
      )
  })
})
