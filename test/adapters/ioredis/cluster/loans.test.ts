import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { Redis } from 'ioredis'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import { startRedis } from '../../../support/redis-server.ts'
import { clusterOfTests, errorReplies } from './cluster-of-tests.ts'
import { startLyingNode } from './lying-node.ts'

const { cluster, nodes, skip } = await clusterOfTests()

/** Keys of three different nodes, in the slots 866, 6680 and 12182. `bar` is in 5061. */
const KEYS = ['hello', 'counter', 'foo'].map(key => `{${key}}`)

const isRefused = (error: unknown, start: string): boolean =>
  isPoolError(error, 'POOL_COMMAND_REFUSED') && error.message.startsWith(start) && error.pool === 'orders'

const crossSlot = (error: unknown): boolean => isRefused(error, 'CROSSSLOT ')

describe('a loan leads to the node of its key', { skip }, () => {
  test('each key reads and writes at its own node, with transactions of its own', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2 })
    for (const key of KEYS) {
      await pool.use({ key }, async redis => {
        await redis.watch(key)
        assert.deepEqual(await redis.multi().set(key, 'x').get(key).exec(), [
          [null, 'OK'],
          [null, 'x'],
        ])
      })
    }
    const { nodes: used, topology } = pool.stats()
    assert.equal(used.length, 3)
    assert.equal(topology.covered, 16_384)
    assert.ok(used.every(({ role, stats }) => role === 'primary' && stats.size === 1))
  })

  test('one node is enough to begin with, and a dead one beside it does no harm', async () => {
    await using pool = createRedisClusterPool([{ port: 1 }, nodes[4] as string])
    assert.equal(await pool.use({ key: 'foo' }, redis => redis.ping()), 'PONG')
  })

  test('acquire, lease, release and destroy work as with any pool', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2 })
    const redis = await pool.acquire({ key: 'foo' })
    assert.ok(pool.isBorrowedResource(redis))
    assert.equal(pool.borrowed, 1)
    await redis.set('foo', 1)
    await pool.release(redis)
    await assert.rejects(redis.get('foo'), error => isPoolError(error, 'POOL_LEASE_ENDED'))
    await assert.rejects(pool.release(redis), error => isPoolError(error, 'POOL_NOT_BORROWED'))
    {
      await using lease = await pool.lease({ slot: 12_182 })
      assert.equal(await lease.resource.get('foo'), '1')
    }
    await pool.destroy(await pool.acquire({ key: 'foo' }))
    assert.equal(pool.borrowed, 0)
  })

  test('a replica is lent where one is asked for', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 2 })
    await pool.use({ key: 'foo' }, redis => redis.set('foo', 'copied'))
    const read = () => pool.use({ key: 'foo', role: 'replica' }, redis => redis.get('foo'))
    await eventually(async () => (await read()) === 'copied')
    const [role] = (await pool.use({ key: 'foo', role: 'replica' }, redis => redis.role())) as string[]
    assert.equal(role, 'slave')
  })

  test('a node is lent by its address, and one that is not there is named', async () => {
    await using pool = createRedisClusterPool(nodes)
    assert.equal(await pool.use({ node: nodes[1] as string }, redis => redis.ping()), 'PONG')
    assert.equal(await pool.use({ node: nodes[4] as string }, redis => redis.ping()), 'PONG')
    await assert.rejects(
      pool.use({ node: '127.0.0.1:1' }, redis => redis.ping()),
      /there is no node '127\.0\.0\.1:1'; the nodes known are /,
    )
  })

  test('all primaries can be scanned in a pool that was never used before', async () => {
    await using writer = createRedisClusterPool(nodes)
    const keys = Array.from({ length: 60 }, (_, at) => `scanned:${at}`)
    for (const key of keys) await writer.use({ key }, redis => redis.set(key, 1))
    await using pool = createRedisClusterPool(nodes[0] as string)
    const found: string[] = []
    for (const { node } of (await pool.nodes()).filter(({ role }) => role === 'primary'))
      await pool.use({ node }, async redis => {
        for await (const page of redis.scanStream({ match: 'scanned:*' })) found.push(...page)
      })
    assert.deepEqual([...new Set(found)].sort(), keys.sort())
    const known = await pool.nodes()
    assert.deepEqual(known.map(({ node }) => node).sort(), [...nodes].sort())
    assert.equal(known.filter(({ replicaOf }) => replicaOf !== undefined).length, 3)
  })

  test('the prefix of all keys counts for the slot', async () => {
    await using pool = createRedisClusterPool(nodes, { redisOptions: { keyPrefix: 'app:' } })
    for (const key of ['foo', 'bar', 'hello', 'a', 'b', 'c'])
      assert.equal(await pool.use({ key }, redis => redis.set(key, 1)), 'OK')
  })
})

describe('keys of every kind', { skip }, () => {
  test('buffers, the empty key and hash tags lead to the slot that the server has for them', async () => {
    await using pool = createRedisClusterPool(nodes)
    const keys = [
      ...['', ' ', '{}', '{}x', 'a{}{b}', '{{x}}', 'x{y', '}{z}', '\u{1f511}', '\0', '{\r\n}k'],
      ...[[], [0xff, 0xfe], [0x7b, 0xff, 0x7d, 0x01], [0x7b, 0x7d]].map(bytes => Buffer.from(bytes)),
    ]
    for (const key of keys)
      await pool.use({ key }, async redis => {
        assert.equal(await redis.set(key, 'x'), 'OK')
        assert.equal(await redis.get(Buffer.from(key as string)), 'x')
        await redis.del(key)
      })
    assert.equal(pool.stats().topology.moved, 0)
  })

  test('a Uint8Array of another view than the whole buffer is read where it lies', async () => {
    await using pool = createRedisClusterPool(nodes)
    const key = Buffer.from('__foo__').subarray(2, 5)
    await pool.use({ key: new Uint8Array(key.buffer, key.byteOffset, 3) }, redis => redis.get('foo'))
  })
})

describe('no command is sent to another slot', { skip }, () => {
  /** Runs on a loan for the slot of `foo`, and counts what the nodes received. */
  const onFoo = async <R>(work: (redis: Redis) => Promise<R>): Promise<R> => {
    await using pool = createRedisClusterPool(nodes, { name: 'orders' })
    return await pool.use({ key: 'foo' }, work)
  }

  test('a key of another slot is refused before it is sent, with both keys in words', async () => {
    await onFoo(async redis => {
      const { port } = await cluster.ownerOf(12_182)
      await assert.rejects(redis.get('bar'), {
        name: 'PoolError',
        code: 'POOL_COMMAND_REFUSED',
        pool: 'orders',
        message:
          `CROSSSLOT GET was not sent: key 'bar' is in slot 5061, and the loan on 127.0.0.1:${port}, of pool 'orders', is for ` +
          "slot 12182 (key 'foo'). Keys with the same {hash tag} share a slot; keys of different slots need a loan each",
      })
      await assert.rejects(redis.mget('foo', 'bar'), crossSlot)
      await assert.rejects(redis.call('MSET', 'foo', '1', 'bar', '2'), crossSlot)
      await assert.rejects(redis.eval('return 1', 1, 'bar'), crossSlot)
      await assert.rejects(redis.xread('STREAMS', 'foo', 'bar', '0', '0'), crossSlot)
      await assert.rejects(redis.watch('foo', 'bar'), crossSlot)
      assert.equal(await redis.get('foo{}{bar}').catch(() => 'refused'), 'refused', 'its tag is empty')
      assert.equal(await redis.mget('foo', 'x{foo}').then(found => found.length), 2)
      assert.equal(await redis.ping(), 'PONG')
      assert.equal(await redis.eval('return 7', 0), 7)
    })
  })

  test('a SORT by patterns counts its key and its destination alone', async () => {
    await onFoo(async redis => {
      await redis.del('foo')
      await redis.rpush('foo', 2, 1)
      assert.deepEqual(await redis.sort('foo', 'LIMIT', 0, 5), ['1', '2'])
      await assert.rejects(redis.sort('foo', 'STORE', 'bar'), crossSlot)
      await redis.del('foo')
    })
  })

  test('of a pipeline with one wrong key nothing is sent', async () => {
    await onFoo(async redis => {
      await redis.set('foo', 'before')
      await assert.rejects(redis.pipeline().set('foo', 'half').set('bar', 1).exec(), crossSlot)
      await assert.rejects(redis.multi().set('foo', 'half').set('bar', 1).exec(), crossSlot)
      assert.equal(await redis.get('foo'), 'before')
    })
  })

  test('a transaction whose command was refused is not executed without it', async () => {
    await onFoo(async redis => {
      await redis.set('foo', 'before')
      await redis.multi({ pipeline: false })
      await redis.set('foo', 'half')
      await assert.rejects(redis.set('bar', 1), crossSlot)
      await assert.rejects(redis.exec(), (error: Error) => {
        assert.ok(isRefused(error, 'EXECABORT EXEC was not sent'))
        return crossSlot(error.cause)
      })
      await redis.discard()
      assert.equal(await redis.get('foo'), 'before')
    })
  })

  test('a script of the borrower, by defineCommand, is refused as well', async () => {
    await onFoo(async redis => {
      redis.defineCommand('mine', { numberOfKeys: 1, lua: 'return KEYS[1]' })
      const { mine } = redis as unknown as { mine(key: string): Promise<string> }
      assert.equal(await mine.call(redis, 'foo'), 'foo')
      await assert.rejects(mine.call(redis, 'bar'), crossSlot)
    })
  })

  test('a loan for a node takes any slot, but one a command', async () => {
    await using pool = createRedisClusterPool(nodes, { name: 'orders' })
    const owner = await cluster.ownerOf(12_182)
    await pool.use({ node: `127.0.0.1:${owner?.port}` }, async redis => {
      await redis.set('foo', 1)
      await redis.set('a{foo}', 1)
      await assert.rejects(redis.mget('foo', 'bar'), crossSlot)
    })
  })

  test('what was refused leaves the connection clean', async () => {
    await using pool = createRedisClusterPool(nodes)
    await pool.use({ key: 'foo' }, redis => redis.get('bar').catch(() => {}))
    await pool.use({ key: 'foo' }, redis =>
      redis
        .pipeline()
        .get('bar')
        .exec()
        .catch(() => {}),
    )
    await pool.use({ key: 'foo' }, redis => redis.get('foo'))
    assert.equal(pool.stats().nodes[0]?.stats.totals.created, 1)
  })
})

describe('what is wrong is told at once', { skip }, () => {
  test('options', () => {
    const issuesOf = (make: () => unknown): readonly string[] => {
      try {
        make()
      } catch (error) {
        if (isPoolError(error, 'POOL_BAD_OPTIONS')) return error.issues
      }
      return []
    }
    assert.deepEqual(
      issuesOf(() => createRedisClusterPool([])),
      ['nodes must name at least one node of the cluster'],
    )
    const wrong = {
      maxTotal: 0,
      natMap: 3,
      redisOptions: { db: 2, host: 'x', lazyConnect: false },
      max: 0,
      role: 'any',
      foo: 1,
    }
    const issues = issuesOf(() => createRedisClusterPool('nowhere', wrong as never)).join('\n')
    for (const part of [
      'nodes must be',
      'maxTotal',
      'natMap',
      'redisOptions.db',
      'redisOptions.host',
      'lazyConnect',
      'max must',
      'role is said',
      'foo',
    ])
      assert.ok(issues.includes(part), `${part} in\n${issues}`)
  })

  test('where a loan leads to', async () => {
    await using pool = createRedisClusterPool(nodes)
    for (const where of [
      undefined,
      {},
      { key: 'a', slot: 1 },
      { slot: 16_384 },
      { key: 1 },
      { node: 'x', role: 'primary' },
      { key: 'a', role: 'any' },
      { keys: 'a' },
    ])
      await assert.rejects(
        pool.use(where as never, () => {}),
        error => isPoolError(error, 'POOL_BAD_OPTIONS'),
      )
    await assert.rejects(pool.use({ key: 'a' }, undefined as never), error =>
      isPoolError(error, 'POOL_BAD_OPTIONS'),
    )
    await assert.rejects(pool.acquire({ key: 'a' }, { timeout: 3 } as never), error =>
      isPoolError(error, 'POOL_BAD_OPTIONS'),
    )
  })
})

describe('a function is not repeated where another loan would end in the same way', { skip }, () => {
  test('a write on a replica, or a key of another node: once, and the error says which loan to take', async () => {
    await using pool = createRedisClusterPool(nodes)
    const node = await pool.use({ key: 'hello' }, ({ options }) => `${options.host}:${options.port}`)
    for (const [where, told] of [
      [{ key: 'foo', role: 'replica' }, /a replica only reads.* To write, take a loan of the primary\./],
      [{ node }, /served by .*; this loan is of .* Take a loan of the key: \{ key \}$/],
    ] as const) {
      let runs = 0
      const write = (redis: Redis): Promise<unknown> => {
        runs += 1
        return redis.set('foo', 1)
      }
      await assert.rejects(pool.use(where, write, { retryMoved: true, timeoutMillis: false }), error => {
        assert.ok(isPoolError(error, 'POOL_MOVED'))
        assert.match(error.message, told)
        return true
      })
      assert.equal(runs, 1)
    }
  })
})

describe('nobody waits for ever', { skip }, () => {
  test('a cluster of which no node is there is told within the time limit', async () => {
    await using pool = createRedisClusterPool(1, { acquireTimeoutMillis: 300 })
    await assert.rejects(
      pool.use({ key: 'a' }, () => {}),
      /no primary serves slot 15495; no node could be asked: .*ECONNREFUSED/,
    )
  })

  test('a wrong password fails at once, with what to do, and is not tried again and again', async () => {
    const refused = await errorReplies(cluster, 'WRONGPASS')
    const redisOptions = { username: 'nobody', password: 'wrong-one' }
    // Without a limit, whoever waited would wait for ever.
    await using pool = createRedisClusterPool(nodes, { redisOptions })
    for (let tries = 0; tries < 20; tries += 1)
      await assert.rejects(
        pool.use({ key: 'a' }, () => {}, { timeoutMillis: false }),
        /no node could be asked: .*WRONGPASS.*[^.]\. Correct the username or the password$/,
      )
    assert.ok((await errorReplies(cluster, 'WRONGPASS')) - refused <= nodes.length)
  })

  test('so do a server that is no node of a cluster, and credentials that are none, which no error shows', async () => {
    const server = await startRedis()
    try {
      await using single = createRedisClusterPool(server.url)
      await assert.rejects(
        single.use({ key: 'a' }, () => {}, { timeoutMillis: false }),
        /cluster support disabled\. The server is no node of a cluster: call createRedisPool$/,
      )
      await using tokens = createRedisClusterPool(nodes, { credentials: () => 'secret-token' as never })
      await assert.rejects(
        tokens.use({ key: 'a' }, () => {}, { timeoutMillis: false }),
        (error: Error) => {
          assert.match(
            error.message,
            /credentials must give .*, got a string.*Correct what the function credentials returns$/s,
          )
          assert.doesNotMatch(inspect(error, { depth: 9 }), /secret-token/)
          return true
        },
      )
    } finally {
      await server.stop()
    }
  })

  test('a signal ends the wait for the topology', async () => {
    await using pool = createRedisClusterPool(1)
    const abort = new AbortController()
    const waiting = pool.use({ key: 'a' }, () => {}, { signal: abort.signal })
    abort.abort()
    await assert.rejects(waiting, error => isPoolError(error, 'POOL_ABORTED'))
  })

  test('a close ends the acquires that wait for an answer about the topology, and the questions', async () => {
    const sockets = new Set<Socket>()
    const silent = createServer(socket => {
      sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
      socket.resume()
    }).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    try {
      const pool = createRedisClusterPool((silent.address() as AddressInfo).port)
      const waiting = [pool.use({ key: 'a' }, () => {}), pool.acquire({ key: 'b' }), pool.lease({ slot: 3 })]
      await eventually(() => sockets.size > 0)
      const outcomes = Promise.allSettled(waiting)
      await pool.close()
      for (const outcome of await outcomes)
        assert.ok(outcome.status === 'rejected' && isPoolError(outcome.reason, 'POOL_CLOSED'))
      await eventually(() => sockets.size === 0, { what: 'no question is left' })
      assert.equal(pool.stats().state, 'closed')
    } finally {
      for (const socket of sockets) socket.destroy()
      silent.close()
    }
  })

  test('after close nothing is lent, and no socket is left', async () => {
    const pool = createRedisClusterPool(nodes)
    await pool.use({ key: 'a' }, redis => redis.ping())
    await pool.close()
    assert.equal(pool.size, 0)
    assert.equal(pool.stats().state, 'closed')
    await assert.rejects(
      pool.use({ key: 'a' }, () => {}),
      error => isPoolError(error, 'POOL_CLOSED'),
    )
  })

  test('a deadlock across two nodes is proved and broken', async () => {
    await using pool = createRedisClusterPool(nodes)
    const both = (first: string, second: string, met: () => Promise<void>) =>
      pool.use({ key: first }, async () => {
        await met()
        return await pool.use({ key: second }, () => 'both')
      })
    let there = 0
    const met = async (): Promise<void> => {
      there += 1
      await eventually(() => there === 2)
    }
    const outcomes = await Promise.allSettled([both('foo', 'bar', met), both('bar', 'foo', met)])
    const [victim] = outcomes.filter(outcome => outcome.status === 'rejected')
    assert.ok(isPoolError(victim?.reason, 'POOL_DEADLOCK'), String(victim?.reason))
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  })
})

describe('maxTotal is the limit for all nodes together', { skip }, () => {
  test('connections move to the nodes that need them, and nobody starves', async () => {
    await using pool = createRedisClusterPool(nodes, { max: 4, maxTotal: 4 })
    let most = 0
    pool.on('connect', () => {
      const open = pool.stats().nodes.map(({ stats }) => stats.size + stats.closing)
      most = Math.max(
        most,
        open.reduce((sum, count) => sum + count, 0),
      )
    })
    const served = new Map<string, number>()
    const user = async (key: string): Promise<void> => {
      for (let count = 0; count < 30; count += 1) {
        await pool.use({ key }, redis => redis.incr(`${key}:served`))
        served.set(key, (served.get(key) ?? 0) + 1)
      }
    }
    for (const key of KEYS) await Promise.all(Array.from({ length: 6 }, () => user(key)))
    await Promise.all(KEYS.flatMap(key => [user(key), user(key)]))
    assert.deepEqual(
      [...served.values()],
      KEYS.map(() => 8 * 30),
    )
    assert.equal(most, 4)
  })
})

test("a nested loan that shares the connection has its own slot, and leaves its caller's as it was", {
  skip,
}, async () => {
  await using pool = createRedisClusterPool(nodes, { nested: 'reuse', name: 'orders' })
  await pool.use({ key: 'hello' }, async redis => {
    // Of the same node.
    await pool.use({ key: 'bar' }, async inner => {
      await inner.get('bar')
      await assert.rejects(inner.get('hello'), crossSlot)
    })
    await redis.get('hello')
    await assert.rejects(redis.get('bar'), crossSlot)
  })
  assert.equal(pool.size, 1)
})

describe('how the nodes are reached', { skip }, () => {
  const everywhere = (...command: string[]) =>
    Promise.all(cluster.servers.map(server => cluster.admin(server).call(...(command as [string]))))

  test('with a password that a function gives, on every connection', async () => {
    await everywhere('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all')
    let asked = 0
    const credentials = async () => {
      asked += 1
      return { username: 'app', password: 'secret' }
    }
    await using pool = createRedisClusterPool(nodes, { credentials })
    for (const key of KEYS) assert.equal(await pool.use({ key }, redis => redis.call('ACL', 'WHOAMI')), 'app')
    assert.ok(asked >= 3)
    await using byUrl = createRedisClusterPool(nodes.map(node => `redis://app:secret@${node}`))
    for (const key of KEYS)
      assert.equal(await byUrl.use({ key }, redis => redis.call('ACL', 'WHOAMI')), 'app')
    await using wrong = createRedisClusterPool(nodes, {
      redisOptions: { username: 'app', password: 'wrong' },
      acquireTimeoutMillis: 500,
    })
    await assert.rejects(
      wrong.use({ key: 'foo' }, () => {}),
      /WRONGPASS|password/,
    )
  })

  test('connections to all nodes that are made at the same time share one call of credentials', async () => {
    await everywhere('ACL', 'SETUSER', 'shared', 'on', '>first', '~*', '&*', '+@all')
    /** Calls without an answer. */
    const open = new Map<AbortSignal, (password: string) => void>()
    let isHeld = false
    const answer = (password: string): void => {
      for (const settle of open.values()) settle(password)
      open.clear()
    }
    const credentials = async (signal: AbortSignal) => {
      const given = new Promise<string>(resolve => open.set(signal, resolve))
      if (!isHeld) answer('first')
      return { username: 'shared', password: await given }
    }
    const pool = createRedisClusterPool(nodes, { credentials, max: 5, createTimeoutMillis: 20_000 })
    const whoami = (key: string) => pool.use({ key }, redis => redis.call('ACL', 'WHOAMI'))
    /** Connections to all three nodes wait for their credentials. */
    const areWaiting = () =>
      eventually(() => {
        const connecting = pool.stats().nodes.map(({ stats }) => stats.connecting)
        return open.size > 0 && connecting.length === 3 && connecting.every(count => count > 0)
      })
    assert.deepEqual(await Promise.all(KEYS.map(whoami)), ['shared', 'shared', 'shared'])
    await pool.clear()

    isHeld = true
    const abort = new AbortController()
    const gone = assert.rejects(
      pool.use({ key: KEYS[2] as string }, () => {}, { signal: abort.signal }),
      error => isPoolError(error, 'POOL_ABORTED'),
    )
    const others = Promise.all(KEYS.slice(0, 2).map(whoami))
    await areWaiting()
    const [call, ...more] = open.keys()
    assert.deepEqual(more, [])
    abort.abort()
    await gone
    assert.equal(call?.aborted, false, 'one that gives up does not end the call for the others')

    // All servers refuse this answer.
    isHeld = false
    answer('of yesterday')
    assert.deepEqual(await others, ['shared', 'shared'])
    await pool.clear()

    isHeld = true
    const cut = Promise.allSettled(KEYS.map(whoami))
    await areWaiting()
    assert.equal(open.size, 1)
    await pool.close({ timeoutMillis: 0 }).catch(() => {})
    await eventually(() => [...open.keys()].every(signal => signal.aborted))
    assert.ok((await cut).every(({ status }) => status === 'rejected'))
  })

  test('by the names that the cluster prefers, and by the host that was asked where it gives none', async () => {
    const nodesOf = async (): Promise<string[]> => {
      await using pool = createRedisClusterPool(nodes)
      for (const key of KEYS) assert.equal(await pool.use({ key }, redis => redis.set(key, 1)), 'OK')
      return pool.stats().nodes.map(({ node }) => node.replace(/\d+$/, ''))
    }
    try {
      await everywhere('CONFIG', 'SET', 'cluster-announce-hostname', 'localhost')
      await everywhere('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'hostname')
      await eventually(async () => (await nodesOf()).every(node => node === 'localhost:'))
      await everywhere('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint')
      await eventually(async () => (await nodesOf()).every(node => node === '127.0.0.1:'))
    } finally {
      await everywhere('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'ip')
      await everywhere('CONFIG', 'SET', 'cluster-announce-hostname', '')
    }
  })
})

test('a node that lies about the topology takes no connection away, and gets no key of others', {
  skip,
}, async () => {
  const [honest = 0, ...others] = cluster.servers.map(({ port }) => port)
  const liar = await startLyingNode(honest)
  try {
    const natMap = { [`127.0.0.1:${honest}`]: { host: '127.0.0.1', port: liar.port } }
    await using pool = createRedisClusterPool([liar.port, ...others], { natMap })
    for (let round = 0; round < 20 || (liar.lies < 5 && round < 2000); round += 1) {
      for (const key of KEYS) await pool.use({ key }, redis => redis.set(key, round))
      // The end of its connections makes the pool ask again.
      pool.purge('to have it ask')
    }
    assert.ok(liar.lies >= 5, `${liar.lies} lies`)
    const { changes, moved, retired, covered } = pool.stats().topology
    assert.deepEqual(
      { changes, moved, retired, covered },
      { changes: 16_384, moved: 0, retired: 0, covered: 16_384 },
    )
  } finally {
    await liar.stop()
  }
})
