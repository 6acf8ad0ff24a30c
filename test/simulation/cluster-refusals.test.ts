import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { answerWithin, NodeTime } from '../../src/adapters/ioredis/cluster/questions.ts'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../src/index.ts'
import { systemClock, timeOfDay } from '../../src/runtime/time/clock.ts'
import { createSimulation, type SimulatedPeer } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { type ClusterScene, playOnCluster } from './cluster-scene.ts'
import type { SimulatedNode } from './simulated-cluster.ts'

/* Why a cluster cannot be asked: `credentials`, nodes that refuse beside others that are gone, `natMap`. */

const who = (pool: RedisClusterPool, key = 'foo', request: object = {}): Promise<string | null> =>
  pool.use({ key }, redis => redis.get(key), request)

/** @returns the error of an acquire, and after how many virtual milliseconds it came */
async function failure({ world, pool }: ClusterScene, request: object = {}) {
  const since = world.now
  const error = await who(pool, 'foo', request).then(
    by => assert.fail(`served by ${by}`),
    (error: unknown) => error,
  )
  assert.ok(isPoolError(error), String(error))
  return { error, message: error.message, millis: world.now - since }
}

const WRONG = '-WRONGPASS invalid username-password pair or user is disabled.\r\n'
/** Refuses every login; they are counted. */
function refusing() {
  const counted = { logins: 0 }
  const refuse = (command: readonly string[]): string | undefined => {
    if (!/^(?:auth|hello)\b.*token/i.test(command.join(' '))) return undefined
    counted.logins += 1
    return WRONG
  }
  return { counted, refuse }
}

/** A function `credentials` that takes its time, and counts. */
function slowCredentials(world: ClusterScene['world'] | undefined) {
  const calls = { made: 0, aborted: 0, millis: 0, world }
  const credentials = async (signal: AbortSignal) => {
    calls.made += 1
    signal.addEventListener('abort', () => {
      calls.aborted += 1
    })
    await calls.world?.sleep(calls.millis)
    return { password: 'token' }
  }
  return { calls, credentials }
}

/** The connections over which the pool itself asks a node. */
function ownOf(node: SimulatedNode): Set<SimulatedPeer> {
  const own = new Set<SimulatedPeer>()
  node.answer = ([name], peer) => {
    if (name === 'CLUSTER') own.add(peer)
    return undefined
  }
  return own
}

/** The pool has a connection of its own to the replica of node 1, too. */
async function askReplica({ world, pool, node }: ClusterScene): Promise<void> {
  await pool.use({ key: 'b', role: 'replica' }, redis => redis.get('b'))
  await world.sleep(2000)
  assert.ok((node(4).asked.get('PING') ?? 0) > 0)
}

describe('the time that credentials take is no silence of a node', () => {
  for (const millis of [600, 985, 1200, 3000])
    test(`a pool starts with credentials that take ${millis} ms, asked once for all nodes, and nothing is aborted`, async () => {
      const { calls, credentials } = slowCredentials(undefined)
      await playOnCluster(
        { max: 2, credentials, acquireTimeoutMillis: 20_000 },
        async ({ world, pool, node }) => {
          Object.assign(calls, { world, millis })
          // Its answers take a while, too: they count from then on.
          for (const index of [0, 1, 2, 3, 4, 5]) node(index).server.latencyMillis = 20
          const since = world.now
          assert.equal(await who(pool), 'node-0')
          assert.equal(calls.aborted, 0)
          assert.equal(calls.made, 2, 'one for the questions, one for the loan')
          assert.ok(world.now - since < 2 * millis + 1500, `${world.now - since} ms`)
        },
      )
    })

  test('when they become slow, a node whose connection was lost does not count as silent, and no loan is cut', async () => {
    const { calls, credentials } = slowCredentials(undefined)
    await playOnCluster({ max: 3, credentials, acquireTimeoutMillis: 20_000 }, async scene => {
      const { world, pool, node } = scene
      Object.assign(calls, { world, millis: 5 })
      const own = ownOf(node(1))
      await askReplica(scene)
      const lent = await pool.acquire({ key: 'b' })
      Object.assign(calls, { millis: 1500 })
      assert.ok(own.size > 0, 'the pool asks over a connection of its own')
      for (const peer of own) peer.reset()
      await world.sleep(6000)
      assert.equal(await lent.get('b'), 'node-1')
      assert.equal(calls.aborted, 0)
      assert.equal(node(4).asked.get('ROLE') ?? 0, 0, 'its replica is not asked whether it has taken over')
      await pool.release(lent)
    })
  })

  for (const calls of [1, 2, 3])
    test(`nor if they are asked for ${calls} more times in one connect, as the node refuses the ones before`, async () => {
      const state: { world?: ClusterScene['world']; password: number; wanted: number } = {
        password: 1,
        wanted: 1,
      }
      const credentials = async () => {
        if (state.wanted === 1) return { password: 'token-1' }
        await state.world?.sleep(900)
        if (state.password < state.wanted) state.password += 1
        return { password: `token-${state.password}` }
      }
      await playOnCluster({ max: 3, credentials, acquireTimeoutMillis: 20_000 }, async scene => {
        const { world, pool, node } = scene
        state.world = world
        const own = ownOf(node(1))
        await askReplica(scene)
        const lent = await pool.acquire({ key: 'b' })
        Object.assign(state, { wanted: 2 + calls })
        const logins: string[] = []
        node(1).answer = command => {
          const [, given] = /token-(\d)/.exec(command.join(' ')) ?? []
          if (given !== undefined) logins.push(given)
          return given === undefined || Number(given) === state.wanted ? undefined : WRONG
        }
        for (const peer of own) peer.reset()
        await world.sleep(900 * (calls + 1) + 2000)
        assert.ok(logins.length > calls, `logins with ${logins}`)
        assert.equal(logins.at(-1), String(state.wanted))
        assert.equal(node(4).asked.get('ROLE') ?? 0, 0, 'its replica is not asked whether it has taken over')
        assert.equal(await lent.get('b'), 'node-1')
        await pool.release(lent)
      })
    })

  test('a node that stops once slow ones have come is silent after half a second, not after a second', async () => {
    const { calls, credentials } = slowCredentials(undefined)
    await playOnCluster({ max: 3, credentials, acquireTimeoutMillis: 20_000 }, async scene => {
      const { world, pool, node } = scene
      Object.assign(calls, { world, millis: 5 })
      const own = ownOf(node(1))
      await askReplica(scene)
      const lent = await pool.acquire({ key: 'b' })
      Object.assign(calls, { millis: 900, made: 0 })
      let givenAt = 0
      const roleAt: number[] = []
      node(4).answer = ([name]) => {
        if (name === 'ROLE') roleAt.push(world.now)
        return undefined
      }
      node(1).server.freeze()
      for (const peer of own) peer.reset()
      while (calls.made === 0) await world.sleep(1)
      givenAt = world.now + 900
      await world.sleep(1700)
      const [first = Number.POSITIVE_INFINITY] = roleAt
      assert.ok(first >= givenAt + 490 && first < givenAt + 600, `${first - givenAt} ms after they had come`)
      node(1).server.thaw()
      await pool.release(lent)
    })
  })

  for (const max of [1, 2])
    test(`with max ${max}, an acquire that needs the place of the pool's own connection goes on with the same call of the function`, async () => {
      const { calls, credentials } = slowCredentials(undefined)
      await playOnCluster({ max, credentials, acquireTimeoutMillis: 20_000 }, async scene => {
        const { world, pool, node } = scene
        Object.assign(calls, { world, millis: 5 })
        const held = await pool.acquire({ key: 'b' })
        await who(pool)
        const own = ownOf(node(0))
        await world.sleep(6000)
        calls.millis = 900
        for (let round = 0; round < 30; round += 1) {
          for (const peer of own) peer.reset()
          own.clear()
          const listed = pool.nodes()
          await world.sleep((round * 31) % 900)
          const since = world.now
          await pool.destroy(await pool.acquire({ key: 'foo' }))
          assert.ok(world.now - since < 1900, `${world.now - since} ms`)
          await listed
          await world.sleep(500)
        }
        assert.equal(calls.aborted, 0, `of ${calls.made}`)
        await pool.release(held)
      })
    })

  test('nodes that connect once slow ones have come, and then say nothing, are given up, and named', async () => {
    const { calls, credentials } = slowCredentials(undefined)
    await playOnCluster({ credentials, acquireTimeoutMillis: 4000 }, async scene => {
      Object.assign(calls, { world: scene.world, millis: 1200 })
      for (const node of scene.cluster.nodes) node.answer = ([name]) => (name === 'CLUSTER' ? '' : undefined)
      const { message } = await failure(scene)
      assert.match(message, /no node could be asked: the node \S+ does not answer/)
    })
  })

  test('a question is given up in time while they are asked for no more, or fail', async () => {
    const world = createSimulation()
    await world.run(async () => {
      const time = new NodeTime()
      const ask = async (): Promise<number> => {
        const since = world.now
        const never = (): Promise<never> => new Promise(() => {})
        await rejection(answerWithin(1000, never, () => new Error('silent'), time))
        return world.now - since
      }
      assert.equal(await ask(), 1000)
      time.hold()
      assert.equal(time.since, systemClock.now(), 'a time with which a timer can be set')
      const asked = ask()
      await world.sleep(3300)
      time.begin()
      assert.equal(await asked, 4300)
      time.hold()
      time.end()
      assert.equal(await ask(), 1000, 'as the function has failed')
    })
  })

  test('a node that is silent after they have come is still given up after a second', async () => {
    const { calls, credentials } = slowCredentials(undefined)
    await playOnCluster({ credentials, acquireTimeoutMillis: 20_000 }, async ({ world, pool, node }) => {
      Object.assign(calls, { world, millis: 1200 })
      node(1).server.freeze()
      node(2).server.freeze()
      const since = world.now
      assert.equal(await who(pool), 'node-0')
      assert.ok(world.now - since < 6000, `${world.now - since} ms`)
    })
  })

  test('the function has createTimeoutMillis, and is not called more often than that', async () => {
    const { calls, credentials } = slowCredentials(undefined)
    const options = { credentials, createTimeoutMillis: 3000, acquireTimeoutMillis: 14_000 }
    await playOnCluster(options, async scene => {
      Object.assign(calls, { world: scene.world, millis: 1e6 })
      const { message } = await failure(scene)
      assert.match(
        message,
        /no node could be asked: .*\bcredentials\b.*\. Look into the function credentials/s,
      )
      assert.doesNotMatch(message, /addresses/)
      assert.ok(calls.made <= 6, `${calls.made} calls`)
      await scene.pool.close()
      await scene.world.sleep(10)
      assert.equal(calls.aborted, calls.made)
    })
  })
})

describe('credentials that fail', () => {
  for (const [how, credentials, said] of [
    [
      'throws',
      () => {
        throw new Error('no vault')
      },
      /the function credentials failed: no vault\. Look into the function credentials/,
    ],
    [
      'rejects',
      async () => Promise.reject(new Error('down')),
      /credentials failed: down\. Look into the function credentials/,
    ],
    [
      'rejects with a text',
      async () => Promise.reject('down'),
      /credentials failed: down\. Look into the function credentials/,
    ],
    [
      'does not answer',
      () => new Promise(() => {}),
      /the function credentials has not answered for 500 ms\. Look into the function credentials/,
    ],
    [
      'gives some that have expired',
      () => ({ password: 'x', expiresAt: timeOfDay() - 1000 }),
      /what the function credentials gave had expired 1000 ms before: correct its expiresAt/,
    ],
  ] as const)
    test(`a function that ${how} is named, and not the addresses`, async () => {
      await playOnCluster({ credentials, acquireTimeoutMillis: 500 }, async scene => {
        const { message } = await failure(scene)
        assert.match(message, said)
        assert.doesNotMatch(message, /addresses|factory|See the cause/)
      })
    })

  test('in use, they are no reason to take a node for lost: its replicas are not asked, nor the function again and again', async () => {
    let isDown = false
    let calls = 0
    const credentials = () => {
      calls += 1
      if (isDown) throw new Error('no vault')
      return { password: 'x' }
    }
    await playOnCluster({ max: 2, credentials, acquireTimeoutMillis: 300 }, async scene => {
      const { world, pool, node } = scene
      const own = ownOf(node(1))
      await askReplica(scene)
      const lent = await pool.acquire({ key: 'b' })
      isDown = true
      calls = 0
      for (let round = 0; round < 20; round += 1) {
        await assert.rejects(who(pool))
        await world.sleep(200)
      }
      assert.ok(calls < 60, `${calls} calls`)
      for (const peer of own) peer.reset()
      await world.sleep(3000)
      assert.equal(await lent.get('b'), 'node-1')
      assert.equal(node(4).asked.get('ROLE') ?? 0, 0, 'its replica is not asked whether it has taken over')
      isDown = false
      await pool.release(lent)
    })
  })
})

describe('nodes that refuse for good, beside others', () => {
  const options = { acquireTimeoutMillis: 3000 }
  const play = (scene: (scene: ClusterScene) => Promise<void>): Promise<void> =>
    playOnCluster({ ...options, credentials: () => ({ password: 'token' }) }, scene, { nodes: 3 })

  for (const [how, die] of [
    ['dead', (scene: ClusterScene) => scene.node(2).server.kill()],
    ['silent', (scene: ClusterScene) => scene.node(2).server.freeze()],
  ] as const)
    test(`one that is ${how} is no reason to wait, or to ask those that refuse more often than every 5 s`, async () => {
      await play(async scene => {
        const { node, world } = scene
        const { counted, refuse } = refusing()
        node(0).answer = refuse
        node(1).answer = refuse
        die(scene)
        const first = await failure(scene, { timeoutMillis: false })
        assert.match(
          first.message,
          /no node could be asked: .*WRONGPASS.*Correct the username or the password$/,
        )
        assert.ok(first.millis <= 1100, `${first.millis} ms`)
        const tried = node(2).server.tried
        const until = world.now + 9000
        while (world.now < until) {
          const { message, millis } = await failure(scene)
          assert.match(message, /WRONGPASS.*Correct the username or the password$/)
          assert.equal(millis, 0)
          await world.sleep(100)
        }
        assert.ok(counted.logins <= 4, `${counted.logins} logins`)
        assert.ok(node(2).server.tried - tried >= 5, 'it is asked as usual')
      })
    })

  test('one that starts later and accepts is found soon', async () => {
    await play(async scene => {
      const { node, world, pool } = scene
      const { refuse } = refusing()
      node(0).answer = refuse
      node(1).answer = refuse
      node(2).server.kill()
      await failure(scene)
      node(2).server.recover()
      const since = world.now
      while ((await who(pool, 'bar').catch(() => undefined)) === undefined) await world.sleep(50)
      assert.ok(world.now - since < 1000, `${world.now - since} ms`)
    })
  })

  test('those that refuse are found within 5 s once they accept', async () => {
    await play(async scene => {
      const { node, world, pool } = scene
      const { refuse } = refusing()
      node(0).answer = refuse
      node(1).answer = refuse
      node(2).server.kill()
      await failure(scene)
      node(0).answer = undefined
      node(1).answer = undefined
      const since = world.now
      while ((await who(pool).catch(() => undefined)) === undefined) await world.sleep(50)
      assert.ok(world.now - since < 6000, `${world.now - since} ms`)
    })
  })

  test('one that was reached and may accept in a moment is waited for: it is loading', async () => {
    await play(async ({ world, node, pool }) => {
      const { refuse } = refusing()
      node(0).answer = refuse
      node(1).answer = refuse
      node(2).answer = ([name]) => (name === 'CLUSTER' ? '-LOADING Redis is loading\r\n' : undefined)
      world.after(1000, () => {
        node(2).answer = undefined
      })
      assert.equal(await who(pool, 'bar'), 'node-2')
    })
  })

  test('a server that is no node of a cluster is said to be one, beside an address where nobody is', async () => {
    await playOnCluster(
      {},
      async scene => {
        scene.node(0).answer = ([name]) =>
          name === 'CLUSTER' ? '-ERR This instance has cluster support disabled\r\n' : undefined
        scene.node(1).server.kill()
        const { message, millis } = await failure(scene, { timeoutMillis: false })
        assert.match(
          message,
          /cluster support disabled\. The server is no node of a cluster: call createRedisPool$/,
        )
        assert.ok(millis < 1000, `${millis} ms`)
      },
      { nodes: 2 },
    )
  })
})

describe('a natMap that is wrong', () => {
  for (const [how, natMap, said] of [
    [
      'throws',
      () => {
        throw new Error('no such node')
      },
      /natMap threw for '[^']+:\d+': no such node\. Correct the option natMap$/,
    ],
    [
      'gives a text',
      () => 'h:1',
      /natMap must give \{ host, port \} or nothing for '.*', got "h:1"\. Correct/,
    ],
    ['gives no port', () => ({ host: 'h' }), /natMap must give \{ host, port \} or nothing/],
    ['is async', async () => ({ host: 'h', port: 1 }), /natMap must give \{ host, port \} or nothing/],
  ] as const)
    test(`is named at once: one that ${how}`, async () => {
      await playOnCluster({ natMap }, async scene => {
        const { error, message, millis } = await failure(scene, { timeoutMillis: false })
        assert.match(message, said)
        assert.ok(isPoolError(error.cause, 'POOL_BAD_OPTIONS'), String(error.cause))
        assert.ok(millis < 1000, `${millis} ms`)
      })
    })

  /** Plays with a natMap that throws from the moment on in which the answers to GET are these. */
  const breakWith = (
    answers: (scene: ClusterScene) => Record<number, string>,
    play: (scene: ClusterScene, asked: Promise<unknown>) => Promise<void>,
  ): Promise<void> => {
    let isBroken = false
    const natMap = (): undefined => {
      if (isBroken) throw new Error('no such node')
    }
    return playOnCluster({ natMap }, async scene => {
      const { pool, world } = scene
      assert.equal(await who(pool), 'node-0')
      for (const [index, text] of Object.entries(answers(scene)))
        scene.node(Number(index)).answer = ([name]) => (name === 'GET' ? text : undefined)
      isBroken = true
      const late = world.sleep(5000).then(() => 'nobody has answered for 5 s')
      await play(scene, Promise.race([who(pool), late]))
      isBroken = false
    })
  }
  const named = ({ node }: ClusterScene, index: number): string =>
    `${node(index).server.host}:${node(index).server.port}`
  const isMovedTo = (node: string) => (error: unknown) =>
    isPoolError(error, 'POOL_MOVED') && error.moved?.to === node

  test('that throws for the first time with a MOVED breaks nothing', async () => {
    await breakWith(
      scene => ({ 0: `-MOVED 12182 ${named(scene, 1)}\r\n` }),
      async (scene, asked) => {
        await assert.rejects(asked, isMovedTo(named(scene, 1)))
        assert.equal(await scene.pool.use({ key: 'b' }, redis => redis.get('b')), 'node-1')
      },
    )
  })

  test('that throws for the first time with an ASK breaks nothing: the command follows', async () => {
    await breakWith(
      scene => ({ 0: `-ASK 12182 ${named(scene, 1)}\r\n` }),
      async (_, asked) => assert.equal(await asked, 'node-1'),
    )
  })

  test('that throws for the first time with an answer to a command that has followed breaks nothing', async () => {
    await breakWith(
      scene => ({
        0: `-ASK 12182 ${named(scene, 1)}\r\n`,
        1: `-MOVED 12182 ${named(scene, 2)}\r\n`,
      }),
      async (_, asked) => assert.equal(await asked, 'node-2'),
    )
  })
})

test('nodes that know of no slots, as after a reset, are described as that', async () => {
  await playOnCluster(
    { acquireTimeoutMillis: 500 },
    async scene => {
      const { message } = await failure(scene)
      assert.match(
        message,
        /no primary serves slot 12182; the nodes say that no slot has a node: .*\. Look at CLUSTER INFO/,
      )
    },
    { owners: {} },
  )
})
