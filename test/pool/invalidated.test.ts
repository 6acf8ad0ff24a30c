import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

function onFakeTime(options: PoolOptions = {}, ...hooks: ('validate' | 'reset')[]) {
  const clock = new FakeClock()
  const factory = scripted(...hooks)
  const pool = openPool(factory, { name: 'test', max: 2, ...options }, false, { clock, random: () => 0.5 })
  const ends: [id: number, reason: string, detail: string | undefined][] = []
  pool.on('destroy', ({ resource, reason, detail }) => ends.push([resource.id, reason, detail]))
  return { clock, pool, factory, ends }
}

async function idleOne(pool: { acquire(): Promise<Connection>; release(given: Connection): Promise<void> }) {
  const connection = await pool.acquire()
  await pool.release(connection)
  return connection
}

test('an idle connection of which its client says that it is unusable is destroyed at once', async () => {
  const { pool, ends } = onFakeTime()
  const connection = await idleOne(pool)
  assert.equal(pool.invalidate(connection, new Error('protocol error')), true)
  assert.deepEqual(ends, [[0, 'invalidated', 'protocol error']])
  assert.equal(pool.size, 0)
  assert.notEqual(await pool.acquire(), connection)
  assert.match(pool.report(), /destroyed as invalidated: protocol error/)
})

test('a lent one stays with its borrower, and is destroyed as it comes back, though others wait for it', async () => {
  const { pool, ends } = onFakeTime({ max: 1 })
  const connection = await pool.acquire()
  const waiting = pool.acquire()
  assert.equal(pool.invalidate(connection), true)
  assert.equal(pool.invalidate(connection, 'again'), true, 'whoever says so first is believed')
  assert.ok(pool.isBorrowedResource(connection))
  assert.deepEqual(ends, [])
  await pool.release(connection)
  assert.deepEqual(ends, [[0, 'invalidated', 'pool.invalidate was called']])
  assert.equal((await waiting).id, 1)
})

test('what this pool does not have is no error: an error event may come long after the end of a connection', async () => {
  const { pool } = onFakeTime()
  const connection = await idleOne(pool)
  const before = JSON.stringify(pool.stats())
  for (const stranger of [{ id: 0 }, null, undefined, 0, Promise.resolve(connection)])
    assert.equal(pool.invalidate(stranger as Connection), false)
  assert.equal(JSON.stringify(pool.stats()), before)
  await pool.close()
  assert.equal(pool.invalidate(connection), false)
})

test('one that is being validated or reset is destroyed after that, whatever comes of it', async () => {
  const { pool, factory, ends } = onFakeTime({ max: 1, testOnBorrow: true }, 'validate', 'reset')
  const connection = await pool.acquire()
  factory.onReset.next('held')
  pool.release(connection)
  const reset = await factory.onReset.call()
  assert.equal(pool.invalidate(connection, 'while reset'), true)
  reset.ok()
  await settle()
  assert.deepEqual(ends, [[0, 'invalidated', 'while reset']])
  const next = await pool.acquire()
  await pool.release(next)
  await settle()
  factory.onValidate.next('held')
  const waiting = pool.acquire()
  const validation = await factory.onValidate.call()
  assert.equal(pool.invalidate(next, 'while validated'), true)
  validation.ok(true)
  assert.equal((await waiting).id, 2)
  assert.deepEqual(ends.at(-1), [1, 'invalidated', 'while validated'])
})

for (const queued of [false, true]) {
  test(`a hook that says so on the way back keeps it from the next borrower${queued ? ' in the queue' : ''}`, async () => {
    const { pool, factory, ends } = onFakeTime({ max: 1 })
    Object.assign(factory, {
      busy: (connection: Connection) => {
        if (connection.id === 0) pool.invalidate(connection, 'told by busy')
        return false
      },
    })
    const connection = await pool.acquire()
    const waiting = queued ? pool.acquire() : undefined
    await pool.release(connection)
    assert.deepEqual(ends, [[0, 'invalidated', 'told by busy']])
    assert.equal((await (waiting ?? pool.acquire())).id, 1)
  })
}

test('a listener may say so in the middle of whatever the pool does', async () => {
  for (const event of ['connect', 'acquire', 'release'] as const) {
    const { clock, pool, ends } = onFakeTime({ max: 1 })
    pool.on(event, ({ resource }: { resource: Connection }) => {
      if (resource.id === 0) pool.invalidate(resource, event)
    })
    const using = pool.use(async ({ id }) => id)
    await clock.advance(200)
    assert.equal(await using, 0, event)
    const last = pool.use(({ id }) => id)
    await clock.advance(200)
    assert.equal(await last, 1, event)
    assert.deepEqual(ends, [[0, 'invalidated', event]])
    await pool.close()
  }
})

test('it says nothing of the other connections, and nothing of the server', async () => {
  const { pool, factory } = onFakeTime({}, 'validate')
  const [one, other] = [await pool.acquire(), await pool.acquire()]
  await pool.release(one)
  await pool.release(other)
  pool.invalidate(one)
  await settle()
  assert.equal(factory.onValidate.calls, 0, 'the other one has not to prove itself')
  assert.equal(pool.stats().createFailures, 0)
  assert.equal(await pool.acquire(), other)
})

test('connections that are unusable as soon as they are made are made ever more seldom', async () => {
  const { clock, pool, factory } = onFakeTime({ min: 2, max: 2 })
  pool.on('connect', ({ resource }) => void setImmediate(() => pool.invalidate(resource, 'it ends at once')))
  for (let second = 0; second < 3; second += 1) {
    for (let step = 0; step < 100; step += 1) {
      await clock.advance(10)
      await new Promise(setImmediate)
    }
  }
  const { length } = factory.ledger.created
  assert.ok(length > 2 && length < 40, `${length} made in 3 seconds`)
  await pool.close()
})

test('destroy ends an idle connection as well, and is refused for what the pool does not have', async () => {
  const { pool, ends } = onFakeTime()
  const connection = await idleOne(pool)
  await pool.destroy(connection)
  assert.deepEqual(ends, [[0, 'user', undefined]])
  assert.equal(pool.size, 0)
  assert.equal((await rejection(pool.destroy(connection))).code, 'POOL_NOT_BORROWED')
  assert.equal((await rejection(pool.destroy({ id: 7 }))).code, 'POOL_NOT_BORROWED')
  const { totals } = pool.stats()
  assert.deepEqual([totals.acquired, totals.released, totals.destroyed], [1, 1, 1])
})

test('destroy of a connection that is being checked takes effect after that', async () => {
  const { pool, factory, ends } = onFakeTime({ max: 1 }, 'reset')
  const connection = await pool.acquire()
  factory.onReset.next('held')
  pool.release(connection)
  const reset = await factory.onReset.call()
  const waiting = pool.acquire()
  await pool.destroy(connection)
  reset.ok()
  assert.equal((await waiting).id, 1)
  assert.deepEqual(ends, [[0, 'user', undefined]])
})

test('a late release after a destroy of the pool’s own is still forgiven once', async () => {
  const { clock, pool } = onFakeTime({ leakThresholdMillis: 100, leakReclaim: true })
  const forgotten = await pool.acquire()
  await clock.advance(1000)
  assert.equal(pool.invalidate(forgotten), false)
  await pool.destroy(forgotten)
  assert.equal((await rejection(pool.destroy(forgotten))).code, 'POOL_NOT_BORROWED')
})
