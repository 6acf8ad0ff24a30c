import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { after, describe, test } from 'node:test'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { eventually } from '../../../support/factories.ts'
import { rejection } from '../../../support/rejection.ts'
import { clusterOfTests } from './cluster-of-tests.ts'

const { cluster, nodes, skip } = await clusterOfTests()
const KEY = 'foo'
const SLOT = 12_182

const warnings: (Error & { code?: string })[] = []
const listener = (warning: Error): void => void warnings.push(warning)
process.on('warning', listener)
after(() => process.off('warning', listener))

describe('a replica', { skip }, () => {
  test('of a user who may not run READONLY says so, and is read from once that is granted', async () => {
    const everywhere = (...words: string[]) =>
      Promise.all(cluster.servers.map(server => cluster.admin(server).call('ACL', 'SETUSER', ...words)))
    await everywhere('reader', 'reset', 'on', '>secret', '~*', '+get', '+cluster|slots', '+info', '+ping')
    await cluster.settled()
    await using pool = createRedisClusterPool(nodes, {
      redisOptions: { username: 'reader', password: 'secret' },
    })
    const read = () => pool.use({ key: KEY, role: 'replica' }, redis => redis.get(KEY))
    const refused = await rejection(read())
    assert.ok(isPoolError(refused, 'POOL_CONNECT_FAILED'), String(refused))
    assert.match(refused.message, /a replica answers reads only after READONLY, which was refused \(NOPERM/)
    assert.match(refused.message, /Grant the user this permission/)
    assert.ok(!refused.message.includes('secret'))
    await everywhere('reader', '+readonly')
    await eventually(
      () =>
        read()
          .then(() => true)
          .catch(() => false),
      { within: 20_000 },
    )
    assert.equal(await read(), await pool.use({ key: KEY }, redis => redis.get(KEY)))
  })
})

describe('a node', { skip }, () => {
  test('that hangs up at two handshakes is no proxy, and is checked as before', async () => {
    const owner = await cluster.ownerOf(SLOT)
    let cuts = 0
    const sent: string[] = []
    const relay = createServer(socket => {
      const server = connect(owner.port, '127.0.0.1')
      for (const end of [socket, server]) end.on('error', () => {})
      socket
        .on('close', () => server.destroy())
        .on('data', bytes => {
          sent.push(bytes.toString())
          if (cuts === 0 || !/hello|info/i.test(bytes.toString())) return server.write(bytes)
          cuts -= 1
          return socket.destroy()
        })
      server.on('close', () => socket.destroy()).on('data', bytes => socket.write(bytes))
    }).listen(0, '127.0.0.1')
    await once(relay, 'listening')
    try {
      const { port } = relay.address() as AddressInfo
      await using pool = createRedisClusterPool(nodes, {
        validateAfterIdleMillis: 0,
        natMap: { [`127.0.0.1:${owner.port}`]: { host: '127.0.0.1', port } },
      })
      const others = cluster.servers.filter(server => server !== owner)
      await pool.use({ node: `127.0.0.1:${others[0]?.port}` }, redis => redis.ping())
      warnings.length = 0
      cuts = 2
      // Each hangs up at its own time: the pool's own connection may meet one of them.
      for (let round = 0; round < 3 || cuts > 0; round += 1) {
        await pool.use({ key: KEY }, redis => redis.get(KEY))
        pool.purge()
      }
      await new Promise(resolve => setImmediate(resolve))
      assert.deepEqual(
        warnings.filter(({ code }) => code?.startsWith('LIFEGUARD_POOL')),
        [],
      )
      assert.ok(!sent.some(bytes => bytes.includes('lifeguard-pool:')))
    } finally {
      relay.close()
    }
  })
})
