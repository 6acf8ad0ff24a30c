import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { Redis } from 'ioredis'
import { packageRoot } from '../support/package-root.ts'
import { until } from '../support/processes.ts'
import { withRedis } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { tlsCertificate, tlsKey } from '../support/tls.ts'
import { Example } from './running.ts'

const redis = await withRedis()
after(() => redis.stop())

test('an example to copy imports nothing but packages, ours by its name: it runs wherever it is copied to', () => {
  const folder = join(packageRoot(), 'examples')
  const names = ['.', 'from-generic-pool'].flatMap(below =>
    readdirSync(join(folder, below))
      .filter(name => name.endsWith('.ts') && name !== 'start.ts')
      .map(name => join(below, name)),
  )
  assert.ok(names.length >= 6, names.join())
  for (const name of names) {
    const imported = [...readFileSync(join(folder, name), 'utf8').matchAll(/ from '([^']+)'/g)].map(
      ([, from]) => from,
    )
    assert.deepEqual(
      imported.filter(from => from?.startsWith('.')),
      [],
      name,
    )
    assert.ok(name.endsWith('before.ts') || imported.some(from => from?.startsWith('lifeguard-pool')), name)
  }
})

describe('the examples', { skip: redis.skip, concurrency: 2 }, () => {
  test('an HTTP service serves, tells of itself, and ends on SIGTERM with every request answered', async () => {
    const service = new Example('http-service', [], { REDIS_URL: redis.url })
    const port = (await service.says(/listening on (\d+)/))[1]
    const ask = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`)
      return { status: response.status, text: await response.text() }
    }
    assert.match((await ask('/visits')).text, /^\d+$/)
    assert.deepEqual(await ask('/health'), { status: 200, text: 'PONG' })
    assert.match(
      (await ask('/metrics')).text,
      /^db_client_connection_max\{.*pool_name="http-service".*\} 10$/m,
    )
    assert.match((await ask('/report')).text, /^pool 'http-service' is open/)
    assert.equal((await ask('/nothing')).status, 404)
    const last = Array.from({ length: 20 }, () => ask('/visits'))
    await last[0]
    service.terminate()
    const settled = await Promise.allSettled(last)
    for (const one of settled) if (one.status === 'fulfilled') assert.equal(one.value.status, 200)
    assert.equal(await service.ended, 0, service.stderr)
    assert.match(service.stdout, /drained\n$/)
  })

  test('a queue worker does every job and ends on SIGTERM although its BLPOPs wait', async () => {
    const queue = redis.key('jobs')
    const worker = new Example('queue-worker', [], { REDIS_URL: redis.url, QUEUE: queue })
    await worker.says(/waiting for jobs/)
    const client = new Redis(redis.url)
    await client.rpush(queue, 'a', 'b', 'c', 'd')
    await until(() => (worker.stdout.match(/^done /gm) ?? []).length === 4, 'four jobs done')
    worker.terminate()
    assert.equal(await worker.ended, 0, worker.stderr)
    assert.match(worker.stdout, /stopped\n$/)
    assert.equal(await client.get(`${queue}:done`), '4')
    client.disconnect()
  })

  test('WATCH transactions that meet move no more money than there is', async () => {
    const bank = new Example('watch-transaction', [], { REDIS_URL: redis.url })
    assert.equal(await bank.ended, 0, bank.stderr)
    assert.equal(bank.stdout, '10 transfers, balances 0 and 100\n')
  })

  test('a shop on a Redis Cluster sells no piece twice', async () => {
    const cluster = await startCluster()
    try {
      const shop = new Example('redis-cluster', [], { REDIS_NODES: cluster.nodes.slice(0, 2).join() })
      assert.equal(await shop.ended, 0, shop.stderr)
      assert.equal(shop.stdout, '12 of 18 orders, 0, 0, 0 left\n')
    } finally {
      await cluster.stop()
    }
  })

  test('generic-pool before, lifeguard-pool after: the same service', async () => {
    const both = ['before', 'after'].map(
      name => new Example(`from-generic-pool/${name}`, [], { REDIS_URL: redis.url }),
    )
    for (const one of both) {
      assert.equal(await one.ended, 0, one.stderr)
      assert.equal(one.stdout, 'the counter is at 21\n')
    }
  })
})

/** Answers each line with the same in capitals. */
function shout(socket: Socket): void {
  socket.on('error', () => {})
  socket.on('data', chunk => socket.write(chunk.toString().toUpperCase()))
}

for (const transport of ['TCP', 'TLS'] as const) {
  test(`a protocol client over ${transport} gets its own answers, on a few connections`, async () => {
    const server =
      transport === 'TCP'
        ? createServer(shout)
        : createTlsServer({ key: tlsKey, cert: tlsCertificate }, shout)
    await new Promise<void>(resolve => server.listen(0, 'localhost', resolve))
    const port = String((server.address() as AddressInfo).port)
    const folder = mkdtempSync(join(tmpdir(), 'lifeguard-example-'))
    const authority = join(folder, 'ca.pem')
    writeFileSync(authority, tlsCertificate)
    try {
      const client = new Example('protocol-client', transport === 'TCP' ? [port] : [port, authority])
      assert.equal(await client.ended, 0, client.stderr)
      assert.equal(client.stdout, 'ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT\n4 connections\n')
    } finally {
      server.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
}
