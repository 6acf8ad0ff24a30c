import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import type { PoolError } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { eventually, scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = scripted('validate')
  const pool = openPool(factory, { name: 'p', ...options }, false, { clock, random: () => 0 })
  return { clock, factory, pool }
}

test('the first timeout of a full pool says who holds it, longest first, and the crowd behind it stays short', async () => {
  const { clock, pool } = poolOf({ max: 8, acquireTimeoutMillis: 1000 })
  for (let index = 0; index < 8; index += 1) {
    await pool.acquire()
    await clock.advance(100)
  }
  // Whose time runs out at the same moment is told in no certain order.
  const told: PoolError[] = []
  const crowd = Array.from({ length: 100 }, () =>
    rejection(pool.acquire()).then(error => void told.push(error)),
  )
  await clock.advance(1000)
  await Promise.all(crowd)
  const [first, ...others] = told
  assert.match(
    first?.message ?? '',
    /Held, longest first: #1 for 1800 ms at \S+report\.test\.js:\d+:\d+; #2 for 1700 ms .*; and 3 more\./,
  )
  assert.equal(first?.holders?.length, 8)
  assert.ok((first?.message.length ?? 0) < 1500)
  assert.ok(others.every(error => error.holders === undefined))
  // Later, things may look different.
  await clock.advance(10_000)
  const later = rejection(pool.acquire())
  await clock.advance(1000)
  assert.ok((await later).holders !== undefined)
})

test('a timeout of a pool that cannot connect does not blame the few who hold something', async () => {
  const { clock, pool, factory } = poolOf({ max: 2, acquireTimeoutMillis: 1000 })
  await pool.acquire()
  factory.onCreate.always('hangs')
  const waiting = rejection(pool.acquire())
  await clock.advance(1000)
  assert.equal((await waiting).holders, undefined)
})

test('the report tells every lease, waiter, dial, connection and trouble, in text and as JSON', async () => {
  const { clock, pool, factory } = poolOf({ max: 3, leakThresholdMillis: 1000, acquireTimeoutMillis: 5000 })
  const first = await pool.acquire()
  await clock.advance(1200)
  await pool.release(await pool.acquire())
  factory.onCreate.next({ rejects: new Error('connect ECONNREFUSED') })
  factory.onCreate.always('hangs')
  const waiting = [pool.acquire(), pool.acquire(), pool.acquire({ timeoutMillis: false })]
  await clock.advance(300)
  const json = JSON.parse(JSON.stringify(pool.reportJson())) as ReturnType<typeof pool.reportJson>
  assert.deepEqual(json.connections, pool.reportJson().connections)
  assert.equal(json.leases[0]?.connection, 1)
  assert.equal(json.leases[0]?.heldMillis, 1500)
  assert.equal(json.leases[0]?.suspect, true)
  assert.deepEqual(
    json.waiters.map(waiter => waiter.leftMillis),
    [4700, null],
  )
  assert.equal(json.connecting.lastError, 'connect ECONNREFUSED')
  assert.deepEqual(json.troubles, [
    { what: 'connecting failed: connect ECONNREFUSED', times: 1, agoMillis: 300 },
    { what: json.troubles[1]?.what, times: 1, agoMillis: 500 },
  ])
  assert.match(json.troubles[1]?.what ?? '', /^a lease looked forgotten, taken at \S+report\.test\.js/)
  const text = pool.report().replaceAll(/\n {6}(?=\S)/g, ' ')
  for (const part of [
    "pool 'p' is open (total=3, max=3",
    '1 of 2 leases look forgotten: #1 for 1500 ms, not used for the last 1500 ms at ',
    '#1 held for 1500 ms, loan 1, last used 1500 ms ago, looks FORGOTTEN',
    'waits for 300 ms, priority 0, no deadline',
    '#4 connecting for',
    '300 ms ago: connecting failed: connect ECONNREFUSED',
  ]) {
    assert.ok(text.includes(part), `${part} is missing in\n${text}`)
  }
  await pool.release(first)
  await Promise.all(waiting.slice(0, 1))
})

test('a report of a pool with ten thousand who wait leaves nobody out of JSON, and is quick', async () => {
  const { pool } = poolOf({ max: 1 })
  await pool.acquire()
  for (let index = 0; index < 10_000; index += 1) pool.acquire().catch(() => {})
  const started = process.cpuUsage()
  const text = pool.report()
  const { waiters } = pool.reportJson()
  const { user, system } = process.cpuUsage(started)
  assert.equal(waiters.length, 10_000)
  assert.match(text, /waiters, in order \(10000\)/)
  assert.equal(text.match(/waits for/g)?.length, 1000)
  assert.match(text, /… and 9000 more/)
  assert.ok(text.length < 150_000, `${text.length} characters`)
  // Its own time, and not that of whoever else is at work on this machine.
  assert.ok(user + system < 1_000_000, `${user + system} µs`)
})

for (const nested of ['detect', 'forbid', 'allow'] as const) {
  test(`stacks that the pool takes for itself are shown to nobody under captureStacks 'off' (${nested})`, async () => {
    const options = { max: 1, leakThresholdMillis: 500, acquireTimeoutMillis: 1000 }
    const { clock, pool } = poolOf({ ...options, nested, captureStacks: 'off' })
    const leaks: unknown[] = []
    pool.on('leak', event => leaks.push(event.stack))
    await pool.acquire()
    const waiting = rejection(pool.acquire({ detached: true }))
    await clock.advance(600)
    assert.deepEqual(leaks, [undefined])
    const { leases, waiters } = pool.reportJson()
    assert.deepEqual([leases[0]?.stack, waiters[0]?.stack], [undefined, undefined])
    assert.equal(waiters.length, 1)
    assert.doesNotMatch(pool.report(), /report\.test/)
    await clock.advance(1000)
    const { message, holders } = await waiting
    assert.doesNotMatch(`${message} ${holders}`, /report\.test/)
  })
}

test('hooks that throw or call back into the pool while a report is made do it no harm', async () => {
  const factory = {
    create: () => ({}),
    destroy: () => {},
    busy: (): boolean => {
      pool.acquire().catch(() => {})
      throw new Error('on purpose')
    },
  }
  const pool = openPool(factory, { max: 2 }, false, { clock: new FakeClock(), random: () => 0 })
  await pool.acquire()
  assert.match(pool.report(), /leases, oldest first \(1\)/)
})

test('the kernel is asked: an unread FIN, and bytes that nobody read, are in the report', {
  skip: process.platform === 'linux' ? false : 'needs /proc',
}, async () => {
  const accepted: Socket[] = []
  const server = createServer(socket => accepted.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const pool = createSocketPool({ host: '127.0.0.1', port })
  try {
    const socket = await pool.acquire()
    socket.pause()
    await eventually(() => accepted.length === 1)
    accepted[0]?.end('x'.repeat(300))
    await eventually(() => pool.reportJson().connections[0]?.socket?.state === 'CLOSE_WAIT')
    const [connection] = pool.reportJson().connections
    assert.equal(connection?.socket?.remote, `127.0.0.1:${port}`)
    assert.match(pool.report(), /CLOSE_WAIT/)
    assert.match(pool.reportJson().findings.join(), /1 sockets are in CLOSE_WAIT/)
    await pool.destroy(socket)
  } finally {
    await pool.close()
    server.close()
  }
})
