import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPoolError, type PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

/** A pool whose connections can be used for as long as `lifetime` says, from when they are made. */
function setUp(lifetime: (id: number) => unknown, options: PoolOptions = {}, random = 0.5) {
  const clock = new FakeClock()
  const factory = Object.assign(new ScriptedFactory<Connection>(id => ({ id })), {
    expiresAt: ({ id }: Connection) => lifetime(id) as number | undefined,
  })
  const pool = openPool(factory, { name: 'test', max: 5, ...options }, false, { clock, random: () => random })
  return { clock, factory, pool }
}

/** So much real time at most passes between two steps of a test: the time of day is not the test's own. */
const SLACK = 30_000
const inMillis = (millis: number): number => Date.now() + millis

test('a connection whose token ends is not lent any more shortly before that', async () => {
  // It retires 60 s before its end at the earliest, and 120 s at the latest.
  const { clock, pool } = setUp(() => inMillis(3_600_000), { idleTimeoutMillis: Number.POSITIVE_INFINITY })
  const first = await pool.use(({ id }) => id)
  await clock.advance(3_600_000 - 120_000 - SLACK)
  await settle()
  assert.equal(await pool.use(({ id }) => id), first)
  await clock.advance(60_000 + SLACK)
  await settle()
  assert.notEqual(await pool.use(({ id }) => id), first)
  await pool.close()
})

test('idle connections whose tokens end are closed though nobody asks, and min is filled again', async () => {
  const { clock, factory, pool } = setUp(() => inMillis(3_600_000), {
    min: 3,
    idleTimeoutMillis: Number.POSITIVE_INFINITY,
  })
  await pool.ready()
  await clock.advance(3_600_000)
  for (let round = 0; round < 20; round += 1) {
    await clock.advance(30)
    await settle()
  }
  assert.deepEqual(
    [factory.ledger.destroyed.length, pool.available, pool.stats().destroyedBy.lifetime],
    [3, 3, 3],
  )
  await pool.close()
})

test('a lent connection is closed when it comes back after its token has ended', async () => {
  const { clock, factory, pool } = setUp(() => inMillis(3_600_000))
  const lent = await pool.acquire()
  await clock.advance(3_600_000)
  assert.equal(factory.ledger.destroyed.length, 0)
  await pool.release(lent)
  await settle()
  assert.equal(factory.ledger.destroyed.length, 1)
  await pool.close()
})

test('connections without an end live on beside those that have one', async () => {
  const { clock, pool } = setUp(id => (id === 1 ? undefined : inMillis(3_600_000)), {
    idleTimeoutMillis: Number.POSITIVE_INFINITY,
  })
  const lent = await Promise.all([pool.acquire(), pool.acquire()])
  await Promise.all(lent.map(connection => pool.release(connection)))
  await clock.advance(3_600_000)
  for (let round = 0; round < 20; round += 1) {
    await clock.advance(30)
    await settle()
  }
  assert.deepEqual([pool.size, await pool.use(({ id }) => id)], [1, 1])
  await pool.close()
})

test('a token that has ended already counts as a failure to connect, and is not tried again and again', async () => {
  const { clock, factory, pool } = setUp(() => inMillis(-5000), { acquireTimeoutMillis: 2000 })
  const failed = rejection(pool.acquire())
  for (let round = 0; round < 300; round += 1) {
    await clock.advance(10)
    await settle()
  }
  const error = await failed
  assert.match(`${error.message} ${error.cause}`, /had expired \d+ ms before it could be lent/)
  assert.ok(factory.ledger.created.length < 60, `${factory.ledger.created.length} creates in 3 s`)
  assert.equal(factory.ledger.destroyed.length, factory.ledger.created.length, 'each is closed')
  await pool.close()
})

for (const [what, answer] of [
  ['text', '2030-01-01'],
  ['NaN', Number.NaN],
  ['a date', new Date()],
] as const) {
  test(`an end that is ${what} is refused at once, by name`, async () => {
    const { factory, pool } = setUp(() => answer)
    const error = await rejection(pool.acquire())
    assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'))
    assert.match(String(error.cause), /factory\.expiresAt must give a time of day in milliseconds since 1970/)
    assert.equal(factory.ledger.destroyed.length, 1)
    await pool.close()
  })
}

test('a hook that throws fails the create, and its connection is closed', async () => {
  const { factory, pool } = setUp(() => {
    throw new TypeError('no token')
  })
  const error = await rejection(pool.acquire())
  assert.match(String(error.cause), /no token/)
  assert.equal(factory.ledger.destroyed.length, 1)
  await pool.close()
})
