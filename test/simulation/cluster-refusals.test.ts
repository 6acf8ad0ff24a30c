import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../src/index.ts'
import { timeOfDay } from '../../src/runtime/time/clock.ts'
import type { SimulatedPeer } from '../../src/testing/index.ts'
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

  test('that throws for the first time with a MOVED breaks nothing', async () => {
    let isBroken = false
    const natMap = (): undefined => {
      if (isBroken) throw new Error('no such node')
    }
    await playOnCluster({ natMap }, async ({ pool, node }) => {
      assert.equal(await who(pool), 'node-0')
      const { host, port } = node(1).server
      node(0).answer = ([name]) => (name === 'GET' ? `-MOVED 12182 ${host}:${port}\r\n` : undefined)
      isBroken = true
      await assert.rejects(
        who(pool),
        error => isPoolError(error, 'POOL_MOVED') && error.moved?.to === `${host}:${port}`,
      )
    })
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
