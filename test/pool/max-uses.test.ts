import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, scripted } from '../support/factories.ts'

function limited(options: PoolOptions, ...hooks: ('validate' | 'reset')[]) {
  const clock = new FakeClock()
  const factory = scripted(...hooks)
  const pool = openPool(factory, { name: 'test', max: 1, ...options }, false, { clock, random: () => 0.5 })
  const reasons: string[] = []
  pool.on('destroy', event => reasons.push(event.reason))
  return { clock, pool, factory, reasons }
}

test('a connection is retired as its last loan ends, not before, and not lent once more', async () => {
  const { pool, reasons, factory } = limited({ maxUses: 3 })
  const lent: Connection[] = []
  for (let loan = 0; loan < 7; loan += 1) {
    const connection = await pool.acquire()
    lent.push(connection)
    assert.equal(reasons.length, Math.floor(loan / 3), `before the end of loan ${loan}`)
    await pool.release(connection)
  }
  assert.deepEqual(
    lent.map(({ id }) => id),
    [0, 0, 0, 1, 1, 1, 2],
  )
  assert.deepEqual(reasons, ['uses', 'uses'])
  assert.deepEqual(pool.stats().destroyedBy, { uses: 2 })
  assert.equal(factory.ledger.mostOpen, 1)
  await pool.close()
})

test('loans that go from one borrower straight to the next are counted, of acquire, use and lease alike', async () => {
  const { pool, reasons } = limited({ maxUses: 3 })
  const first = await pool.acquire()
  const ids: number[] = []
  const rest = [
    pool.use(({ id }) => ids.push(id)),
    pool.lease().then(lease => {
      ids.push(lease.resource.id)
      return lease.release()
    }),
    pool.use(({ id }) => ids.push(id)),
  ]
  pool.release(first)
  await Promise.all(rest)
  assert.deepEqual(ids, [0, 0, 1], 'whoever waits is given a new one')
  assert.deepEqual(reasons, ['uses'])
  await pool.close()
})

test('a connection whose loans are used up is neither reset nor validated any more', async () => {
  const { pool, factory, reasons } = limited({ maxUses: 2, testOnReturn: true }, 'validate', 'reset')
  for (let loan = 0; loan < 2; loan += 1) {
    await pool.release(await pool.acquire())
    await settle()
  }
  assert.deepEqual([factory.onReset.calls, factory.onValidate.calls], [1, 1])
  assert.deepEqual(reasons, ['uses'])
  await pool.close()
})

test('with maxUses 1 each loan has a connection of its own, min is kept, and max is not exceeded', async () => {
  const { pool, factory, reasons } = limited({ maxUses: 1, max: 2, min: 2 })
  await pool.ready()
  const seen = await Promise.all(
    Array.from({ length: 10 }, () =>
      pool.use(async ({ id }) => {
        await settle()
        return id
      }),
    ),
  )
  assert.equal(new Set(seen).size, 10)
  await settle()
  assert.equal(reasons.length, 10)
  assert.equal(pool.available, 2)
  assert.equal(factory.ledger.mostOpen, 2)
  assert.equal(pool.stats().createFailures, 0, 'those that are used up have not died young')
  await pool.close()
})

test('0, Infinity and nothing mean that a connection is never used up', async () => {
  for (const options of [{}, { maxUses: 0 }, { maxUses: Number.POSITIVE_INFINITY }]) {
    const { pool, reasons } = limited(options)
    for (let loan = 0; loan < 50; loan += 1) await pool.release(await pool.acquire())
    assert.deepEqual(reasons, [], JSON.stringify(options))
    await pool.close()
  }
})
