import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import type { Client } from '../../src/adapters/ioredis/client/client-types.ts'
import { NodeLink } from '../../src/adapters/ioredis/cluster/node-link.ts'
import type { Address } from '../../src/adapters/ioredis/failover/addresses.ts'
import type { RedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { createPool, isPoolError } from '../../src/index.ts'
import { timeOfDay } from '../../src/runtime/time/clock.ts'
import { createSimulation } from '../../src/testing/index.ts'
import { type ClusterScene, type ClusterSettings, OWNERS, playOnCluster, SLOT } from './cluster-scene.ts'
import { type SimulatedNode, socketsTo } from './simulated-cluster.ts'

/* The cluster's own connection to a node: until when it stays, and what is made of a node that cannot be asked. */

/** A key of each node. */
const KEYS = ['foo', 'b', 'bar']

interface Scene extends ClusterScene {
  /** `GET foo` and `GET b` are sent to node 2, and answered by `answer` there. */
  follow(answer?: SimulatedNode['answer']): void
}

const scene = (
  options: object,
  settings: ClusterSettings,
  play: (scene: Scene) => Promise<void>,
): Promise<void> =>
  playOnCluster(
    { max: 1, ...options },
    base => {
      const { node } = base
      const follow = (answer?: SimulatedNode['answer']): void => {
        const { host, port } = node(2).server
        node(0).answer = ([name]) => (name === 'GET' ? `-ASK ${SLOT} ${host}:${port}\r\n` : undefined)
        node(1).answer = ([name]) => (name === 'GET' ? `-ASK 3300 ${host}:${port}\r\n` : undefined)
        node(2).answer = answer
      }
      return play({ ...base, follow })
    },
    settings,
  )

const who = (pool: RedisClusterPool, key = 'foo', request: object = {}): Promise<string | null> =>
  pool.use({ key }, redis => redis.get(key), request)

/** Callers that come again at once, until they are stopped. */
function load({ pool }: Scene, key: string, callers: number) {
  let isOver = false
  const caller = async (): Promise<void> => {
    while (!isOver) await who(pool, key)
  }
  const work = Promise.all(Array.from({ length: callers }, caller))
  return async (): Promise<void> => {
    isOver = true
    await work
  }
}

describe('after close', () => {
  test('nothing is opened by a refresh that was in its pause', async () => {
    await scene({}, {}, async ({ world, cluster, pool, node }) => {
      assert.equal(await who(pool), 'node-0')
      const { host, port } = node(1).server
      node(0).answer = ([name]) => (name === 'GET' ? `-MOVED ${SLOT} ${host}:${port}\r\n` : undefined)
      await assert.rejects(who(pool), error => isPoolError(error, 'POOL_MOVED'))
      await pool.close()
      const tried = (): number => cluster.nodes.reduce((sum, { server }) => sum + server.tried, 0)
      const before = tried()
      await world.sleep(2000)
      assert.equal(tried() - before, 0)
    })
  })
})

test('a connection to a replica is sent READONLY once, and a duplicate of it sends it, too', async () => {
  await scene({ max: 2 }, {}, async ({ world, pool, node }) => {
    const replica = { key: 'foo', role: 'replica' } as const
    const count = (): number => node(3).asked.get('READONLY') ?? 0
    const lent = await Promise.all([pool.acquire(replica), pool.acquire(replica)])
    assert.equal(count(), 2)
    const duplicate = lent[0]?.duplicate() as Redis
    assert.equal(await duplicate.get('foo'), 'node-3')
    assert.equal(count(), 3)
    duplicate.disconnect()
    for (const redis of lent) await pool.release(redis)
    await pool.use({ key: 'foo' }, redis => redis.get('foo'))
    await world.sleep(100)
    assert.equal(node(0).asked.get('READONLY') ?? 0, 0)
  })
})

describe('a connection that counts nowhere is not kept', () => {
  test('to a seed under another name than the cluster has for the node', async () => {
    const rename = (seed: string): string => seed.replace(/^.*:/, 'seed.example:')
    await scene({}, { nodes: 3, rename }, async scene => {
      const { world, cluster, pool } = scene
      for (const key of KEYS) await who(pool, key)
      const stop = KEYS.map(key => load(scene, key, 2))
      await world.sleep(1000)
      for (const node of cluster.nodes) assert.equal(socketsTo(node), 1)
      for (let count = 0; count < 100; count += 1) {
        await world.sleep(97)
        for (const node of cluster.nodes) assert.ok(socketsTo(node) <= 1, `after ${count * 97} ms`)
      }
      for (const each of stop) await each()
    })
  })

  test('to a node that has left the cluster', async () => {
    await scene({}, { nodes: 3 }, async scene => {
      const { world, cluster, pool, node } = scene
      const stop = KEYS.map(key => load(scene, key, 2))
      await world.sleep(1000)
      for (const each of stop) await each()
      await world.sleep(2000)
      assert.ok(socketsTo(node(2)) > 0)
      cluster.say({ 0: 1, 5000: 0 }, 2)
      for (let count = 0; count < 120; count += 1) {
        await who(pool)
        await world.sleep(100)
      }
      assert.equal(socketsTo(node(2)), 0)
    })
  })

  test('to a node that only an ASK has named, but commands that follow each other share it', async () => {
    await scene({}, { nodes: 3, owners: { 0: 1, 5000: 0 } }, async ({ world, pool, node, follow }) => {
      await who(pool)
      follow()
      const before = node(2).server.accepted
      for (let count = 0; count < 10; count += 1) {
        assert.equal(await who(pool), 'node-2')
        await world.sleep(50)
      }
      assert.equal(node(2).server.accepted - before, 1)
      await world.sleep(1000)
      assert.equal(socketsTo(node(2)), 0)
    })
  })
})

describe('credentials that expire', () => {
  test('the own connection to a node retires before that, too, and no node is called silent for it', async () => {
    const asked = new Map<unknown, number>()
    let oldest = 0
    const credentials = async () => ({ password: 'token', expiresAt: timeOfDay() + 2000 })
    await scene({ max: 2, credentials }, {}, async ({ world, cluster, pool, node }) => {
      for (const each of cluster.nodes)
        each.answer = (_, peer) => {
          asked.set(peer, asked.get(peer) ?? world.now)
          oldest = Math.max(oldest, world.now - (asked.get(peer) ?? 0))
          return undefined
        }
      for (let count = 0; count < 200; count += 1) {
        for (const key of KEYS) await who(pool, key)
        await world.sleep(100)
      }
      assert.ok(oldest < 2000, `asked over a connection made ${oldest} ms ago`)
      assert.ok((node(0).asked.get('PING') ?? 0) > 20)
      assert.equal(node(3).asked.get('ROLE') ?? 0, 0)
      assert.equal(pool.stats().topology.retired, 0)
    })
  })

  test('a command that waits for its answer then is not cut off', async () => {
    const credentials = async () => ({ password: 'token', expiresAt: timeOfDay() + 2000 })
    await scene({ max: 2, credentials }, {}, async ({ world, pool, follow }) => {
      await who(pool)
      const later = new Map<unknown, string>()
      follow(([name, key], peer) => {
        const before = later.get(peer)
        if (before !== undefined) {
          later.set(peer, `${before}${name === 'PING' ? '+PONG' : '-LOADING'}\r\n`)
          return ''
        }
        if (name !== 'GET' || key !== 'foo') return undefined
        later.set(peer, '$4\r\nslow\r\n')
        world.after(700, () => {
          peer.write(later.get(peer) ?? '')
          later.delete(peer)
        })
        return ''
      })
      for (let count = 0; count < 12; count += 1) {
        assert.equal(await who(pool), 'slow')
        await world.sleep(count)
      }
    })
  })
})

describe('a node that is alive is not called silent', () => {
  test('though its loan is quiet and a connect takes long', async () => {
    await scene({}, {}, async ({ world, pool, node }) => {
      const held = await pool.acquire({ key: 'foo' })
      node(0).server.latencyMillis = 60
      await world.sleep(10_000)
      assert.ok((node(0).asked.get('PING') ?? 0) > 5)
      assert.equal(node(3).asked.get('ROLE') ?? 0, 0)
      await pool.release(held)
    })
  })

  test('though it stands still for a moment, as an acquire takes the place of the connection that asks', async () => {
    await scene({ max: 2 }, {}, async ({ world, pool, node }) => {
      const held = await pool.acquire({ key: 'foo' })
      for (let count = 0; count < 20; count += 1) {
        let isStill = false
        node(0).answer = ([name], peer) => {
          if (name !== 'PING' || isStill) return undefined
          isStill = true
          node(0).server.freeze()
          world.after(350, () => {
            node(0).server.thaw()
            peer.write('+PONG\r\n')
          })
          return ''
        }
        while (!isStill) await world.sleep(1)
        await world.sleep(count)
        await pool.destroy(await pool.acquire({ key: 'foo' }))
      }
      assert.equal(node(3).asked.get('ROLE') ?? 0, 0)
      await pool.release(held)
    })
  })

  test('nor are its loans cut later, because it had been missing in the topology for a moment', async () => {
    await scene({ max: 2 }, {}, async ({ world, cluster, pool, node }) => {
      const held = await pool.acquire({ key: 'foo' })
      const other = await pool.acquire({ key: 'b' })
      cluster.say({ 0: 1, 5000: 2 }, 2)
      await world.sleep(6000)
      assert.equal(pool.stats().topology.retired, 1)
      cluster.say(OWNERS, 3)
      await world.sleep(6000)
      assert.equal(await who(pool), 'node-0')
      node(0).server.freeze()
      await world.sleep(2000)
      node(0).server.thaw()
      assert.equal(await held.get('foo'), 'node-0')
      for (const redis of [held, other]) await pool.release(redis)
    })
  })
})

test('commands that overlap without end do not keep the connection above max', async () => {
  await scene({ acquireTimeoutMillis: 60_000 }, {}, async scene => {
    const { world, pool, node, follow } = scene
    for (const key of KEYS) await who(pool, key)
    follow(([name, key], peer) => {
      if (name !== 'GET' || key === 'bar') return undefined
      world.after(30, () => peer.write('$4\r\nslow\r\n'))
      return ''
    })
    const held = await pool.acquire({ key: 'bar' })
    const stop = [load(scene, 'foo', 2), load(scene, 'b', 2)]
    await world.sleep(1000)
    assert.equal(socketsTo(node(2)), 2)
    await pool.release(held)
    stop.push(load(scene, 'bar', 2))
    await world.sleep(500)
    let above = 0
    for (let millis = 0; millis < 5000; millis += 5) {
      await world.sleep(5)
      if (socketsTo(node(2)) > 1) above += 5
    }
    assert.equal(above, 0)
    for (const each of stop) await each()
  })
})

describe('a command that is not answered', () => {
  /** Node 2 carries `GET foo` out after so long, and nothing else of that connection before. */
  const answeredAfter = ({ world, follow }: Scene, millis: number): void => {
    let deaf: unknown
    follow(([name, key], peer) => {
      if (name === 'GET' && key === 'foo' && deaf === undefined) {
        deaf = peer
        if (millis < Number.POSITIVE_INFINITY) world.after(millis, () => peer.write('$4\r\nslow\r\n'))
      }
      return peer === deaf ? '' : undefined
    })
  }

  test('does not keep the place from acquires for ever', async () => {
    await scene({ acquireTimeoutMillis: 60_000 }, {}, async scene => {
      const { world, pool } = scene
      await who(pool)
      answeredAfter(scene, Number.POSITIVE_INFINITY)
      const command = assert.rejects(who(pool))
      await world.sleep(1000)
      assert.equal(await who(pool, 'bar', { timeoutMillis: 10_000 }), 'node-2')
      await command
    })
  })

  for (const [millis, isNeeded] of [
    [3000, true],
    [20_000, false],
  ] as const)
    test(`is waited for: ${millis} ms, while an acquire needs its place: ${isNeeded}`, async () => {
      await scene({ acquireTimeoutMillis: 60_000 }, {}, async scene => {
        const { world, pool } = scene
        await who(pool)
        answeredAfter(scene, millis)
        const command = who(pool)
        await world.sleep(100)
        const acquire = isNeeded ? who(pool, 'bar') : undefined
        assert.equal(await command, 'slow')
        if (isNeeded) assert.equal(await acquire, 'node-2')
      })
    })
})

test('a place that is granted just as the connect has failed is given back', async () => {
  const world = createSimulation()
  await world.run(async () => {
    for (let steps = 0; steps < 40; steps += 1)
      for (const isFailureFirst of [true, false]) {
        const factory = { create: async () => ({}) as Redis, destroy: async () => {} }
        const pool = createPool<Redis>(factory, { max: 1, nested: 'allow' })
        const place = pool.controlPlace
        const failures: (() => void)[] = []
        const sockets: Socket[] = []
        const open = (): Promise<Client> => {
          if (failures.length === 0)
            return new Promise((_resolve, reject) => failures.push(() => reject(new Error('refused'))))
          const stream = new Socket()
          sockets.push(stream)
          const client = {
            ...{ status: 'ready', stream, commandQueue: { length: 0 }, autoPipelineQueueSize: 0 },
            ...{ disconnect: () => {}, on: () => {}, once: () => {}, sendCommand: () => {} },
          }
          stream.once('close', () => {
            client.status = 'end'
          })
          return Promise.resolve(client as unknown as Client)
        }
        const link = new NodeLink(
          { host: 'h', port: 1 },
          {
            translate: address => address,
            placeAt: () => place,
            isStranger: () => false,
            refusalOf: () => undefined,
            open,
          },
        )
        const held = await pool.acquire()
        link.ping(() => {}).catch(() => {})
        await world.sleep(100)
        const promise = new Promise<unknown>(() => {})
        link.send({ promise } as never, false, 0).catch(() => {})
        while (failures.length === 0) await world.sleep(1)
        const turns = async (): Promise<void> => {
          for (let step = 0; step < steps; step += 1) await undefined
        }
        if (isFailureFirst) failures[0]?.()
        else void pool.destroy(held)
        await turns()
        if (isFailureFirst) void pool.destroy(held)
        else failures[0]?.()
        await world.sleep(30)
        const isOpen = sockets.some(socket => !socket.destroyed)
        assert.equal(place.isTaken, isOpen, `after ${steps} turns`)
        for (const socket of sockets) socket.destroy()
        link.close()
        await pool.close({ timeoutMillis: 1 }).catch(() => {})
      }
  })
})

test('a node that gets another pool while its link waits for a place has the link counted in that one', async () => {
  const world = createSimulation()
  await world.run(async () => {
    const factory = { create: async () => ({}) as Redis, destroy: async () => {} }
    const pools = [1, 2].map(() => createPool<Redis>(factory, { max: 1, nested: 'allow' }))
    const [old, next] = pools as [(typeof pools)[number], (typeof pools)[number]]
    let pool = old
    const taken: boolean[] = []
    const open = (): Promise<Client> => {
      taken.push(next.controlPlace.isTaken)
      return Promise.reject(new Error('refused'))
    }
    const host = {
      translate: (address: Address) => address,
      isStranger: () => false,
      refusalOf: () => undefined,
    }
    const link = new NodeLink({ host: 'h', port: 1 }, { ...host, placeAt: () => pool.controlPlace, open })
    await old.acquire()
    const pinged = assert.rejects(
      link.ping(() => {}),
      /refused/,
    )
    await world.sleep(100)
    pool = next
    await pinged
    assert.deepEqual([taken, next.controlPlace.isTaken], [[true], false])
    link.close()
    for (const each of pools) await each.close({ timeoutMillis: 1 }).catch(() => {})
  })
})
