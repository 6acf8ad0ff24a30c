import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { promisify } from 'node:util'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'
import { packageRoot } from '../../../support/package-root.ts'
import { tlsCertificate, tlsKey } from '../../../support/tls.ts'
import { clusterOfTests } from './cluster-of-tests.ts'

// Node 22.23 finds no IPv6 address in a certificate, whatever the client: there the name of the server has to be given.
const subject = { CN: 'localhost' } as PeerCertificate['subject']
const local = { subject, subjectaltname: 'IP Address:0:0:0:0:0:0:0:1' } as PeerCertificate
const knowsAddresses = checkServerIdentity('::1', local) === undefined
const tls = { ca: tlsCertificate, ...(knowsAddresses ? {} : { servername: 'localhost' }) }
const { cluster, nodes, skip } = await clusterOfTests({
  start: [
    { bind: '127.0.0.1 ::1' },
    { tls },
    { announced: '::1', tls: { key: tlsKey, cert: tlsCertificate } },
  ],
})
const urls = nodes.map(node => `rediss://${node}`)

const SLOT = 12_182
/** A key of each node. */
const KEYS = ['foo', 'bar', 'counter']

describe('a cluster that speaks TLS and has IPv6 addresses', { skip }, () => {
  test('each node is reached, by key and by its address, and a slot that moves is found', async () => {
    await using pool = createRedisClusterPool(urls.slice(0, 2), { redisOptions: { tls } })
    for (const key of KEYS) assert.equal(await pool.use({ key }, redis => redis.set(key, 1)), 'OK')
    const { nodes } = pool.stats()
    assert.equal(nodes.length, 3)
    for (const { node } of nodes) {
      assert.match(node, /^\[::1\]:\d+$/)
      assert.equal(await pool.use({ node }, redis => redis.ping()), 'PONG')
    }
    const to = await cluster.otherThan(SLOT)
    const moved = pool.use({ key: 'foo' }, async redis => {
      await cluster.move(SLOT, to)
      await redis.get('foo')
    })
    await assert.rejects(
      moved,
      error => isPoolError(error, 'POOL_MOVED') && error.moved?.to === `[::1]:${to.port}`,
    )
    assert.equal(await pool.use({ key: 'foo' }, redis => redis.get('foo')), '1')
  })

  test('single commands of a slot on its way are sent there by TLS, too', async () => {
    await using pool = createRedisClusterPool(urls, { redisOptions: { tls } })
    const to = await cluster.otherThan(SLOT)
    await cluster.beginMove(SLOT, to)
    try {
      assert.equal(await pool.use({ key: 'foo' }, redis => redis.set('{foo}new', 'there')), 'OK')
      assert.ok(pool.stats().topology.followed > 0)
    } finally {
      await cluster.moveKeys(SLOT, to)
      await cluster.endMove(SLOT, to)
    }
    const there = await pool.use({ key: 'foo' }, redis => redis.get('{foo}new'), { retryMoved: true })
    assert.equal(there, 'there')
  })

  test('a certificate that nobody vouches for is named, at once', async () => {
    await using pool = createRedisClusterPool(urls, { acquireTimeoutMillis: 1000 })
    await assert.rejects(
      pool.use({ key: 'foo' }, () => {}),
      /self-signed|certificate/,
    )
  })

  test('with ioredis 5', async () => {
    // The same package, in a process where the name ioredis leads to version 5.
    const code = `
      import Module from 'node:module'
      const resolve = Module._resolveFilename
      Module._resolveFilename = function (name, ...rest) {
        return resolve.call(this, name === 'ioredis' ? 'ioredis-5' : name, ...rest)
      }
      const { createRedisClusterPool } = await import('lifeguard-pool/ioredis')
      const { urls, tls } = JSON.parse(process.env.CLUSTER)
      const pool = createRedisClusterPool(urls, { redisOptions: { tls }, max: 2 })
      const results = []
      for (const key of ['foo', 'bar', 'counter'])
        results.push(await pool.use({ key }, async redis => {
          await redis.watch(key)
          await redis.get(key)
          return (await redis.multi().set(key, 'five').get(key).exec())[1][1]
        }))
      results.push(await pool.use({ key: 'foo', role: 'replica' }, redis => redis.readonly()))
      results.push(await pool.use({ key: 'foo' }, redis => redis.get('bar')).catch(error => error.message.split(' ')[0]))
      results.push(await pool.use({ key: 'foo' }, redis => String(redis.options.protocol)))
      await pool.close()
      console.log(JSON.stringify(results))`
    const run = promisify(execFile)
    const env = { ...process.env, CLUSTER: JSON.stringify({ urls, tls }) }
    const args = ['--input-type=module', '--no-warnings', '-e', code]
    const { stdout } = await run(process.execPath, args, { cwd: packageRoot(), env, timeout: 60_000 })
    assert.deepEqual(JSON.parse(stdout), ['five', 'five', 'five', 'OK', 'CROSSSLOT', 'undefined'])
  })
})
