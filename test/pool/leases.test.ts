import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPool, isPoolError, type Lease } from '../../src/index.ts'
import { settle } from '../support/clock.ts'
import { type Connection, ScriptedFactory, scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

test('a lease that has ended refuses everything, also after its connection was lent to somebody else', async () => {
  const pool = createPool(scripted(), { max: 1 })
  const stale = await pool.lease()
  const { resource } = stale
  await stale.release()
  const current = await pool.lease()
  assert.equal(current.resource, resource, 'the same connection')
  assert.throws(() => stale.resource, { code: 'POOL_LEASE_ENDED' })
  assert.equal((await rejection(stale.release())).code, 'POOL_LEASE_ENDED')
  assert.equal((await rejection(stale.destroy())).code, 'POOL_LEASE_ENDED')
  await stale[Symbol.asyncDispose]()
  assert.ok(current.active, 'and nothing of that touched the new lease')
  assert.equal(pool.borrowed, 1)
  await current.release()
  await pool.close()
})

test('a lease ends on every path out of its block, once', async () => {
  const pool = createPool(scripted(), { max: 1 })
  let kept: Lease<Connection> | undefined
  const work = async (): Promise<void> => {
    await using lease = await pool.lease()
    kept = lease
    throw new Error('business')
  }
  await assert.rejects(work(), { message: 'business' })
  assert.equal(kept?.active, false)
  {
    await using lease = await pool.lease()
    await lease.release()
  }
  {
    await using lease = await pool.lease()
    await lease.destroy()
  }
  assert.equal(pool.borrowed, 0)
  await pool.close()
})

test('a lease whose connection is given back by way of the pool has ended', async () => {
  const pool = createPool(scripted(), { max: 1 })
  const lease = await pool.lease()
  await pool.release(lease.resource)
  assert.equal(lease.active, false)
  assert.equal((await rejection(lease.release())).code, 'POOL_LEASE_ENDED')
  await pool.close()
})

test('use gives the connection back whatever its function does', async () => {
  const factory = scripted()
  const pool = createPool(factory, { max: 1 })
  assert.equal(await pool.use(connection => connection.id), 0)
  assert.equal(await pool.use(async connection => connection.id), 0)
  await assert.rejects(
    pool.use(() => {
      throw new Error('at once')
    }),
    { message: 'at once' },
  )
  await assert.rejects(
    pool.use(async () => {
      throw new Error('later')
    }),
    { message: 'later' },
  )
  // biome-ignore lint/suspicious/noThenProperty: what Knex, Mongoose and others give for a query is no promise
  const query = { then: (resolve: (value: string) => void) => resolve('from a thenable') }
  assert.equal(await pool.use(() => query as PromiseLike<string>), 'from a thenable')
  // Nothing vouches for a connection on which the function failed: the two are made anew.
  assert.deepEqual([pool.available, pool.borrowed, factory.ledger.created.length], [1, 0, 3])
  await pool.close()
})

test('a function inside use may end the loan itself', async () => {
  const factory = scripted()
  const pool = createPool(factory, { max: 1 })
  await pool.use(connection => pool.release(connection))
  const other = await pool.use(connection => pool.destroy(connection).then(() => pool.acquire()))
  assert.ok(pool.isBorrowedResource(other), 'the loan that it took inside is its own')
  await pool.release(other)
  await pool.close()
})

test('a connection whose reset fails, throws or hangs is not lent again', async () => {
  const factory = new ScriptedFactory<Connection>(id => ({ id }), 'reset')
  const pool = createPool(factory, { max: 1, resetTimeoutMillis: 20 })
  const details: (string | undefined)[] = []
  pool.on('destroy', event => details.push(event.detail))
  factory.onReset.next({ rejects: new Error('rejected') }, { throws: new Error('threw') }, 'hangs', 'ok')
  const ids: number[] = []
  for (let round = 0; round < 5; round += 1) ids.push(await pool.use(connection => connection.id))
  assert.deepEqual(ids, [0, 1, 2, 3, 3])
  assert.equal(details.length, 3)
  assert.match(details.join('\n'), /rejected\n.*threw\n.*20 ms/)
  await pool.close()
})

test('a connection with unanswered work is not lent again, and a busy that throws counts as yes', async () => {
  let made = 0
  const pool = createPool(
    {
      create: () => {
        made += 1
        return { id: made }
      },
      destroy: () => {},
      busy: connection => {
        if (connection.id === 2) throw new Error('cannot tell')
        return connection.id === 1
      },
    },
    { max: 1 },
  )
  const reasons: string[] = []
  pool.on('destroy', event => reasons.push(`${event.reason}: ${event.detail}`))
  for (let round = 0; round < 4; round += 1) await pool.use(() => {})
  assert.equal(made, 3)
  assert.deepEqual(reasons, [
    'dirty: it was returned with unanswered work',
    'dirty: factory.busy threw: cannot tell',
  ])
  await pool.close()
})

test('resources may be primitives, null and undefined', async () => {
  const values = [0, '', null, undefined, Number.NaN, false]
  const pool = createPool({ create: () => values.shift(), destroy: () => {} }, { max: 6 })
  const count = values.length
  const lent = []
  for (let asked = 0; asked < count; asked += 1) lent.push(await pool.acquire())
  assert.equal(pool.borrowed, 6)
  for (const each of lent) {
    assert.ok(pool.isBorrowedResource(each))
    await pool.release(each)
    assert.equal((await rejection(pool.release(each))).code, 'POOL_NOT_BORROWED')
  }
  await pool.close()
})

test('the pool itself can be disposed of', async () => {
  const factory = scripted()
  {
    await using pool = createPool(factory, { min: 2, max: 2 })
    await pool.ready()
  }
  await settle()
  assert.deepEqual([factory.ledger.created.length, factory.ledger.open.size], [2, 0])
})

test('use without a function to run is refused before a connection is lent', async () => {
  const factory = scripted()
  const pool = createPool(factory, { name: 'orders', max: 1 })
  const use = pool.use.bind(pool) as (work?: unknown) => Promise<unknown>
  for (const work of [undefined, null, 5, {}, 'SELECT 1']) {
    const error = await rejection(use(work))
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
    assert.match(error.message, /pool 'orders': use needs a function/)
    assert.equal(error.stats?.borrowed, 0)
  }
  assert.deepEqual([pool.size, factory.onCreate.calls], [0, 0], 'nothing was made for it')
  await pool.close()
})
