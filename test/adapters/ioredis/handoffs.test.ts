import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { entriesOf } from '../../../src/adapters/ioredis/failover/push-entries.ts'
import { createRedisPool, type RedisPoolOptions } from '../../../src/adapters/ioredis/index.ts'
import type { Pool } from '../../../src/index.ts'
import { aged, eventually } from '../../support/factories.ts'
import { type Answer, startFakeRedis } from './fake-redis.ts'
import { type MovingServer, startMovingServer } from './moving-server.ts'
import { poolOf, versions } from './versions.ts'

const SKIP = versions.some(({ name }) => name === 'ioredis 6') ? false : 'this client does not speak RESP3'

const closers: (() => Promise<unknown>)[] = []

// Also after a test that has failed: what it leaves would hold the process.
afterEach(async () => {
  for (const close of closers.splice(0)) await close().catch(() => {})
})

async function moving(more?: Answer): Promise<MovingServer> {
  const server = await startMovingServer(more)
  let stopped: Promise<void> | undefined
  const { stop } = server
  server.stop = () => {
    stopped ??= stop()
    return stopped
  }
  closers.push(() => server.stop())
  return server
}

function pooled({ port }: { port: number }, options: RedisPoolOptions): Pool<Redis> {
  const pool = createRedisPool({ port, host: '127.0.0.1' }, options)
  closers.unshift(() => pool.close({ timeoutMillis: 50 }))
  return pool
}

const at = ({ port }: MovingServer): string => `127.0.0.1:${port}`

/** Lets the event loop run for so long: what a stall takes is not counted. */
async function running(millis: number): Promise<void> {
  for (let left = millis; left > 0; left -= 50) await pause(50)
}

/** Callers that are at work all the time. */
function load(pool: Pool<Redis>, callers: number) {
  const seen = { served: 0, failed: [] as unknown[], isOver: false }
  const all = Array.from({ length: callers }, async () => {
    while (!seen.isOver) {
      await pool
        .use(redis => redis.incr('n'))
        .then(
          () => {
            seen.served += 1
          },
          error => seen.failed.push(error),
        )
      await pause(1)
    }
  })
  const end = (): Promise<unknown> => {
    seen.isOver = true
    return Promise.all(all)
  }
  return { seen, end }
}

describe('a server that moves and says so', { skip: SKIP }, () => {
  test('MOVING with 2 s to go: no loan fails, and all connections have moved before', async () => {
    const [old, next] = [await moving(), await moving()]
    const pool = pooled(old, { max: 8, min: 8, handoffs: true })
    await pool.ready()
    const { seen, end } = load(pool, 4)
    await eventually(() => seen.served > 50 && old.listeners.size === 8)
    assert.deepEqual([...new Set(old.asked)], ['ON moving-endpoint-type internal-ip'])
    old.push('MOVING', 7, 2, at(next))
    await running(2000)
    assert.equal(old.sockets.size, 0, 'all have moved when the old server goes away')
    await old.stop()
    const served = seen.served
    await eventually(() => seen.served > served + 50 && pool.size === 8)
    assert.equal(next.listeners.size, 8)
    assert.deepEqual(seen.failed, [])
    assert.equal(pool.stats().createFailures, 0)
    assert.equal(old.accepted, 8, 'none was made to the old address meanwhile')
    await end()
    await pool.close()
    await next.stop()
  })

  /** @returns how many connections were left each time that one was given up */
  async function moveSix(): Promise<Set<number>> {
    const [old, next] = [await moving(), await moving()]
    const options = { max: 6, min: 6, handoffs: true }
    const pool = pooled(old, options)
    await pool.ready()
    await eventually(() => old.listeners.size === 6)
    const lease = await pool.lease()
    const left = new Set<number>()
    pool.on('destroy', () => left.add(old.sockets.size))
    old.push('MOVING', 7, 1, at(next))
    await eventually(() => old.sockets.size === 1)
    assert.equal(await lease.resource.incr('n'), 1)
    await lease.release()
    await eventually(() => old.sockets.size === 0 && next.sockets.size === 6)
    await pool.close()
    await Promise.all([old.stop(), next.stop()])
    return left
  }

  test('idle ones do not go all at once, and a lent one goes when it is returned, however long that takes', async () => {
    // On a busy machine the timers of one try may all be late.
    let most = 0
    for (let tries = 0; most < 3 && tries < 5; tries += 1) most = Math.max(most, (await moveSix()).size)
    assert.ok(most >= 3, `they went in ${most} steps`)
  })

  test('without an address the name leads to the new server after half of the time, so they are replaced then', async () => {
    const server = await moving()
    const pool = pooled(server, { max: 4, min: 4, handoffs: true })
    await pool.ready()
    server.push('MOVING', 7, 1, null)
    const before = server.accepted
    await running(300)
    assert.equal(server.accepted, before)
    await eventually(() => server.accepted === before + 4 && pool.available === 4)
    await pool.close()
    await server.stop()
  })

  test('where the new address cannot be reached, the configured one is used again', async () => {
    const old = await moving()
    const pool = pooled(old, { max: 2, handoffs: true })
    await pool.use(redis => redis.incr('n'))
    old.push('MOVING', 7, 1, '127.0.0.1:1')
    await eventually(() => old.sockets.size === 0)
    assert.equal(await pool.use(redis => redis.incr('n')), 1)
    await pool.close()
    await old.stop()
  })

  test('a connection that was being made meanwhile does not stay behind', async () => {
    const next = await moving()
    let isSlow = false
    const late: (() => void)[] = []
    const old = await moving((command, socket) => {
      if (!isSlow || command[0] !== 'CLIENT' || command[1]?.toUpperCase() !== 'MAINT_NOTIFICATIONS')
        return undefined
      late.push(() => socket.write('+OK\r\n'))
      return ''
    })
    const pool = pooled(old, { max: 2, handoffs: true })
    const lease = await pool.lease()
    isSlow = true
    const second = pool.lease()
    await eventually(() => late.length === 1)
    old.push('MOVING', 7, 1, at(next))
    await lease.release()
    await eventually(() => old.sockets.size === 1)
    late[0]?.()
    await (await second).release()
    await eventually(() => old.sockets.size === 0)
    await pool.close()
    await Promise.all([old.stop(), next.stop()])
  })

  test('while it migrates or fails over, a slow answer condemns no idle connection', async () => {
    let isSilent = false
    const server = await moving(([name]) => (isSilent && name === 'PING' ? '' : undefined))
    const options = { max: 1, handoffs: true, validateAfterIdleMillis: 1, validateTimeoutMillis: 100 }
    const pool = pooled(server, options)
    for (const [begin, end] of [
      ['MIGRATING', 'MIGRATED'],
      ['FAILING_OVER', 'FAILED_OVER'],
    ] as const) {
      await pool.use(redis => redis.incr('n'))
      const { accepted } = server
      server.push(begin, 1, 5, '1')
      await aged(pool, 50)
      isSilent = true
      await pool.use(redis => redis.incr('n'))
      assert.equal(server.accepted, accepted, begin)
      server.push(end, 2, '1')
      await aged(pool, 50)
      await pool.use(redis => redis.incr('n'))
      assert.equal(server.accepted, accepted + 1, end)
      isSilent = false
    }
    await pool.close()
    await server.stop()
  })

  test('a value that looks like an announcement is none', async () => {
    const text = '>4\r\n$6\r\nMOVING\r\n:7\r\n:1\r\n$9\r\n1.2.3.4:5\r\n'
    const server = await moving(([name]) => (name === 'GET' ? `$${text.length}\r\n${text}\r\n` : undefined))
    const pool = pooled(server, { max: 1, handoffs: true })
    assert.equal(await pool.use(redis => redis.get('k')), text)
    await running(300)
    await pool.use(redis => redis.incr('n'))
    assert.equal(server.accepted, 1)
    await pool.close()
    await server.stop()
  })

  test('nothing is asked without the option', async () => {
    const server = await moving()
    const pool = pooled(server, { max: 1 })
    await pool.use(redis => redis.incr('n'))
    assert.deepEqual(server.asked, [])
    await pool.close()
    await server.stop()
  })
})

describe('where no announcements are to be had, the pool works without, and says so once', {
  skip: SKIP,
}, () => {
  async function warningsOf(run: () => Promise<void>): Promise<string[]> {
    const heard: string[] = []
    const listener = ({ message, code }: Error & { code?: string }): void => {
      if (code === 'LIFEGUARD_POOL_HANDOFFS') heard.push(message)
    }
    process.on('warning', listener)
    await run()
    await eventually(() => heard.length > 0)
    process.off('warning', listener)
    return heard
  }

  test('a server without the command', async () => {
    const server = await startFakeRedis(command =>
      command[0] === 'CLIENT' && /maint/i.test(command[1] ?? '')
        ? "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"
        : command[0] === 'INCR'
          ? ':1\r\n'
          : command[0] === 'HELLO'
            ? '%1\r\n$5\r\nproto\r\n:3\r\n'
            : command[0] === 'INFO'
              ? '$11\r\nrole:master\r\n'
              : '+OK\r\n',
    )
    const heard = await warningsOf(async () => {
      const pool = pooled(server, { max: 3, handoffs: true, name: 'plain' })
      await Promise.all([1, 2, 3].map(() => pool.use(redis => redis.incr('n'))))
      await pool.close()
    })
    assert.equal(heard.length, 1)
    assert.match(
      heard[0] ?? '',
      /pool 'plain': handoffs has no effect, as the server does not announce its maintenance/,
    )
    await server.stop()
  })

  test('a client that speaks RESP2', async () => {
    const server = await moving()
    const heard = await warningsOf(async () => {
      const pool = createRedisPool({ port: server.port, protocol: 2 }, { handoffs: true })
      await pool.use(redis => redis.incr('n'))
      await pool.close()
    })
    assert.match(heard[0] ?? '', /does not speak RESP3: that takes ioredis 6/)
    assert.deepEqual(server.asked, [])
    await server.stop()
  })
})

for (const { name, Client } of versions) {
  test(`no pooled client may replace its socket by itself: maintNotifications is off (${name})`, async () => {
    const server = await moving()
    const seen: unknown[] = []
    for (const redis of [
      { port: server.port },
      () => new Client({ port: server.port, lazyConnect: true, maintNotifications: 'auto' } as object),
    ]) {
      const pool = poolOf(Client, redis, { max: 1 })
      seen.push(
        await pool.use(
          async ({ options }) => (options as { maintNotifications?: unknown }).maintNotifications,
        ),
      )
      await pool.close()
    }
    assert.deepEqual(seen, ['disabled', 'disabled'])
    await server.stop()
  })
}

test('maintNotifications is refused with the reason', () => {
  assert.throws(
    () => createRedisPool({ port: 1, maintNotifications: 'auto' } as object),
    /maintNotifications must be disabled on a pooled client.+escapes every check; handoffs: true moves the pool instead/,
  )
  assert.throws(
    () => createRedisPool({ port: 1 }, { handoffs: 'yes' as never }),
    /handoffs must be true or false/,
  )
})

test('the entries of a push message are read, of whatever types they are', () => {
  const read = (text: string): unknown => entriesOf(Buffer.from(text))
  assert.deepEqual(read('>4\r\n$6\r\nMOVING\r\n:7\r\n:15\r\n$11\r\nh.test:6379\r\n'), [
    'MOVING',
    '7',
    '15',
    'h.test:6379',
  ])
  assert.deepEqual(read('>4\r\n+MOVING\r\n:7\r\n:15\r\n_\r\n'), ['MOVING', '7', '15', null])
  assert.deepEqual(read('>3\r\n+MIGRATING\r\n:7\r\n$-1\r\n'), ['MIGRATING', '7', null])
  assert.deepEqual(read('>3\r\n+MIGRATED\r\n:7\r\n*1\r\n$1\r\n1\r\n'), ['MIGRATED', '7'])
})
