import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { isPoolError } from '../../../src/api/errors.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { startRedis } from '../../support/redis-server.ts'
import { tlsCertificate, tlsKey } from '../../support/tls.ts'
import { type Answer, handshake, startFakeRedis } from './fake-redis.ts'
import { poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis(
  { unixsocketperm: '777', 'repl-diskless-sync-delay': '0' },
  { unixsocket: true },
)
after(() => redis.stop())
const { skip } = redis

const host = '127.0.0.1'

for (const { name, Client } of versions) {
  describe(`${name}: a server that is no primary any more`, () => {
    test('is left at once by everybody, in one new generation, and is not connected to again', {
      skip,
    }, async () => {
      const [server, other] = await Promise.all([startRedis(), startRedis()])
      const admin = new Redis(server.url)
      const pool = poolOf(Client, server.url, { max: 8, acquireTimeoutMillis: 1500 })
      const write = (client: Redis) => client.set('key', 'value')
      try {
        const lent = await Promise.all(Array.from({ length: 6 }, () => pool.acquire()))
        const idle = await Promise.all([pool.acquire(), pool.acquire()])
        await Promise.all(idle.map(client => pool.release(client)))
        // From the start, as an idle connection may take until the end to close.
        const reasons: string[] = []
        pool.on('destroy', ({ reason, detail }) => reasons.push(`${reason}: ${detail}`))
        await admin.replicaof(host, other.port)
        const replies = await Promise.all(lent.map(client => rejection(write(client))))
        for (const { message } of replies) assert.match(message, /^READONLY/)
        assert.deepEqual([pool.stats().generation, pool.available], [1, 0])
        await Promise.all(lent.map(client => pool.release(client)))
        await eventually(() => pool.size === 0)
        assert.equal(reasons.length, 8)
        for (const reason of reasons) assert.match(reason, /^generation: the server replied: READONLY/)
        const refused = await rejection(pool.use(write))
        assert.ok(isPoolError(refused))
        assert.match(String(refused.cause), /the server is a replica, and the pool wants a primary/)
        await admin.replicaof('NO', 'ONE')
        await eventually(
          () =>
            pool.use(write).then(
              () => true,
              () => false,
            ),
          { within: 10_000 },
        )
        assert.equal(pool.stats().generation, 1)
      } finally {
        admin.disconnect()
        await pool.close().catch(() => {})
        await Promise.all([server.stop(), other.stop()])
      }
    })

    test('is known by any of its replies, and told from what only looks like one', async () => {
      const replies: Record<string, boolean> = {
        "READONLY You can't write against a read only replica.": true,
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": true,
        'LOADING Redis is loading the dataset in memory': true,
        'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)': true,
        "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.": true,
        "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write": true,
        'UNBLOCKED client unblocked via CLIENT UNBLOCK': false,
        'EXECABORT Transaction discarded because of previous errors.': false,
        "ERR unknown command 'READONLY'": false,
        'WRONGTYPE Operation against a key': false,
        'MISCONF Redis is configured to save RDB snapshots': false,
      }
      for (const [reply, isLost] of Object.entries(replies)) {
        const answer: Answer = command => (command[0] === 'SET' ? `-${reply}\r\n` : handshake(command))
        const fake = await startFakeRedis(answer)
        const pool = poolOf(Client, { port: fake.port }, { max: 3 })
        const clients = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
        const failed = await Promise.all(clients.map(client => rejection(client.set('x', 1))))
        for (const { message } of failed) assert.equal(message, reply)
        assert.equal(pool.stats().generation, isLost ? 1 : 0, reply)
        await Promise.all(clients.map(client => pool.release(client)))
        await eventually(() => pool.available === (isLost ? 0 : 3), { what: reply })
        await pool.close()
        await fake.stop()
      }
    })

    test('whose role nobody may ask does not have the pool purged by each reply', async () => {
      const answer: Answer = ([command = '', ...args], socket) => {
        if (command === 'INFO') return "-NOPERM this user has no permissions to run the 'info' command\r\n"
        if (command === 'HELLO' && args.length === 0) return "-ERR unknown command 'HELLO'\r\n"
        if (command === 'SET') return '-READONLY no\r\n'
        return handshake([command, ...args]) ?? String(socket)
      }
      const fake = await startFakeRedis(answer)
      const pool = poolOf(Client, { port: fake.port }, { max: 2 })
      for (let loan = 0; loan < 10; loan += 1) await rejection(pool.use(client => client.set('x', 1)))
      assert.equal(pool.stats().generation, 1)
      assert.equal(pool.stats().totals.created, 10, 'each of them is closed all the same')
      await pool.close()
      await fake.stop()
    })
  })

  describe(`${name}: the role of a server`, { skip }, () => {
    test('decides, also for a user who may not ask for it, and unless the pool takes any', async () => {
      const replica = await startRedis({ replicaof: `${host} ${redis.server.port}` })
      const admin = new Redis(replica.url)
      try {
        await eventually(async () => /master_link_status:up/.test(await admin.info('replication')), {
          within: 10_000,
        })
        await admin.call('ACL', 'SETUSER', 'minimal', 'on', '>secret', '~*', '+get')
        const minimal = { port: replica.port, username: 'minimal', password: 'secret' }
        const outcome = async (options: object, poolOptions: object): Promise<string> => {
          const pool = poolOf(Client, options, { acquireTimeoutMillis: 600, ...poolOptions })
          try {
            return String(await pool.use(client => client.get('x')))
          } catch (error) {
            return String((error as Error).cause)
          } finally {
            await pool.close()
          }
        }
        const is = { replica: { port: replica.port }, primary: { port: redis.server.port } }
        const cases: [object, object, RegExp][] = [
          [is.replica, {}, /the server is a replica, and the pool wants a primary.*role: 'any'/],
          [is.replica, { role: 'replica' }, /^null$/],
          [is.replica, { role: 'any' }, /^null$/],
          [{ ...is.replica, readOnly: true }, {}, /^null$/],
          [is.primary, {}, /^null$/],
          [is.primary, { role: 'replica' }, /the server is a primary, and the pool wants a replica/],
          [minimal, {}, /the server is a replica/],
          [minimal, { role: 'replica' }, /^null$/],
        ]
        for (const [options, poolOptions, expected] of cases) {
          assert.match(await outcome(options, poolOptions), expected, JSON.stringify([options, poolOptions]))
        }
      } finally {
        admin.disconnect()
        await replica.stop()
      }
    })

    test('is known, and the answer to the last command of the handshake may still be on its way', async () => {
      const pool = poolOf(Client, { port: redis.server.port, readOnly: true }, { acquireTimeoutMillis: 5000 })
      const reasons: string[] = []
      pool.on('destroy', ({ reason }) => reasons.push(reason))
      for (let round = 0; round < 30; round += 1) {
        assert.equal(await pool.use(client => client.get('x')), null)
        pool.purge()
      }
      await pool.close()
      assert.deepEqual([...new Set(reasons)], ['generation'])
    })

    test('does not matter to TLS, Unix sockets, URLs and users with minimal rights', async () => {
      const tls = await startRedis({}, { tls: { key: tlsKey, cert: tlsCertificate } })
      const admin = new Redis(redis.url)
      await admin.call('ACL', 'SETUSER', 'minimal', 'on', '>secret', '~*', '+get', '+watch', '+unwatch')
      const { port, unixsocket = '' } = redis.server
      const targets: (string | object)[] = [
        redis.url,
        `redis://minimal:secret@${host}:${port}`,
        `redis://minimal:secret@${host}:${port}/0?connectionName=x`,
        unixsocket,
        { path: unixsocket },
        { port: tls.port, tls: { ca: tlsCertificate, servername: 'localhost' } },
      ]
      for (const target of targets) {
        const pool = poolOf(Client, target)
        for (let loan = 0; loan < 3; loan += 1) {
          await pool.use(async client => {
            await client.watch('x')
            assert.equal(await client.get('x'), null)
          })
        }
        assert.equal(pool.stats().totals.created, 1)
        await pool.close()
      }
      const pool = poolOf(Client, tls.url, { acquireTimeoutMillis: 2000 })
      assert.match(
        String(((await rejection(pool.acquire())) as Error).cause),
        /self.signed certificate|unable to verify/,
      )
      await pool.close()
      admin.disconnect()
      await tls.stop()
    })
  })
}

describe('the budget of clients', { skip }, () => {
  const warnings: string[] = []
  const listener = (warning: Error & { code?: string }) => {
    if (warning.code === 'LIFEGUARD_POOL_BUDGET') warnings.push(warning.message)
  }
  process.on('warning', listener)
  after(() => process.off('warning', listener))

  test('is told with its numbers, once, if it could be exceeded, and not if it could not', async () => {
    const small = await startRedis({ maxclients: '20' })
    const warned = async (options: object, pools = 1): Promise<string[]> => {
      warnings.length = 0
      const all = Array.from({ length: pools }, () => poolOf(Redis, small.url, options))
      for (const pool of all) for (let loan = 0; loan < 3; loan += 1) await pool.use(client => client.ping())
      await new Promise(resolve => setImmediate(resolve))
      await Promise.all(all.map(pool => pool.close()))
      return [...warnings]
    }
    try {
      assert.deepEqual(await warned({ max: 5 }), [])
      assert.deepEqual(await warned({ max: 5, instances: 4 }), [])
      const [message, ...rest] = await warned({ max: 5, instances: 5, name: 'orders' })
      assert.match(
        message ?? '',
        /pool 'orders': the Redis server at 127\.0\.0\.1:\d+ accepts 20 clients \(maxclients\), but 5 processes may open 25/,
      )
      assert.deepEqual(rest, [])
      assert.match((await warned({ max: 30 })).join(), /this process may open 30 .*the option instances/)
      assert.equal((await warned({ max: 8 }, 3)).length, 1, 'the third of them is one too many')
      const others = Array.from({ length: 17 }, () => new Redis(small.url))
      await Promise.all(others.map(client => client.ping()))
      assert.match((await warned({ max: 5 })).join(), /may open 5 .*, and 17 more are connected/)
      for (const client of others) client.disconnect()
    } finally {
      await small.stop()
    }
  })

  test('may not be known, which harms nobody', async () => {
    const fake = await startFakeRedis(command =>
      command[0] === 'CONFIG' ? "-ERR unknown command 'config'\r\n" : handshake(command),
    )
    const pool = poolOf(Redis, { port: fake.port }, { max: 1_000_000, instances: 9 })
    assert.equal(await pool.use(client => client.ping()), 'PONG')
    await pool.close()
    await fake.stop()
  })

  test('and the role are checked as options', async () => {
    const issues = await rejection(
      (async () =>
        poolOf(Redis, redis.url, { instances: 0, role: 'master', cleanCommands: 'x' } as object))(),
    )
    assert.equal(issues.issues?.length, 3)
  })
})
