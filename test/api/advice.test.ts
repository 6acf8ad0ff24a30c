// What users get wrong, and what the pool says to it: the right name, the line, one warning, and nothing refused that
// real packages pass along.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool, isPoolError, PoolError, type PoolOptions } from '../../src/index.ts'
import { CountingFactory, turns } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

const factory = { create: async () => ({}), destroy: async () => {} }
const make = (options: object, of: object = factory) =>
  createPool(of as typeof factory, { autostart: false, ...options } as PoolOptions)

const MOST_CHARACTERS = 400

/** The warnings of the process that come of this, each readable at a glance. */
async function warningsOf(run: () => unknown): Promise<string[]> {
  const found: string[] = []
  const onWarning = (warning: Error): void => void found.push(warning.message)
  process.on('warning', onWarning)
  await run()
  await turns(2)
  process.off('warning', onWarning)
  for (const message of found) assert.ok(message.length < MOST_CHARACTERS, message)
  return found
}

function messageOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
    assert.ok(error.message.length < MOST_CHARACTERS, error.message)
    return error.message
  }
  return ''
}

test("another pool's name for an option is answered with ours", () => {
  for (const [theirs, ours] of Object.entries({
    poolSize: 'max',
    connectionLimit: 'max',
    maximum: 'max',
    minIdle: 'min',
    connectionTimeoutMillis: 'acquireTimeoutMillis',
    acquireTimeout: 'acquireTimeoutMillis',
    acquire_timeout_ms: 'acquireTimeoutMillis',
    timeout: 'acquireTimeoutMillis',
    idleTimeoutMs: 'idleTimeoutMillis',
    idleTimeoutSeconds: 'idleTimeoutMillis',
    maxWaiting: 'maxWaitingClients',
    maxWaitingClient: 'maxWaitingClients',
    queueLimit: 'maxWaitingClients',
    testOnBorow: 'testOnBorrow',
    maxLifetimeSeconds: 'maxLifetimeMillis',
  })) {
    const said = `${theirs} is not an option (did you mean ${ours}?)`
    assert.ok(messageOf(() => make({ [theirs]: 5 })).includes(said), said)
    assert.ok(messageOf(() => createSocketPool({ port: 1 }, { [theirs]: 5 } as PoolOptions)).includes(said))
  }
})

test('options of other libraries in the same object are ignored with one warning in the process, by createPool alone', async () => {
  const theirs = { rejectionDelayMillis: 1000, createRetryIntervalMillis: 200, propagateCreateError: true }
  const warnings = await warningsOf(() => {
    assert.equal(make({ max: 3, ...theirs }).max, 3)
    make(theirs)
    make({ ...theirs, name: 'orders' })
  })
  assert.equal(warnings.length, 1, warnings.join('\n'))
  for (const name of Object.keys(theirs)) assert.match(warnings[0] as string, new RegExp(name))
  assert.match(
    messageOf(() => createSocketPool({ port: 1 }, theirs as PoolOptions)),
    /rejectionDelayMillis is not an option/,
  )
})

test('options of generic-pool 2 are ignored with a warning, also beside a name', async () => {
  const warnings = await warningsOf(() => {
    const pool = make({ name: 'old', max: 4, log: true, refreshIdle: false })
    assert.deepEqual([pool.name, pool.max], ['old', 4])
  })
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] as string, /log is an option of generic-pool 2/)
})

test('Infinity and MAX_SAFE_INTEGER mean never, for every time', async () => {
  const times = [
    'acquireTimeoutMillis',
    'createTimeoutMillis',
    'validateTimeoutMillis',
    'resetTimeoutMillis',
    'destroyTimeoutMillis',
    'drainTimeoutMillis',
    'idleTimeoutMillis',
    'softIdleTimeoutMillis',
    'maxLifetimeMillis',
    'evictionRunIntervalMillis',
    'serverIdleTimeoutMillis',
    'leakThresholdMillis',
  ]
  const warnings = await warningsOf(async () => {
    for (const never of [Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER, 2 ** 31 - 1, 2 ** 40]) {
      const pool = make({ max: 1, ...Object.fromEntries(times.map(name => [name, never])) })
      const held = await pool.acquire()
      const waiting = pool.acquire({ detached: true, timeoutMillis: never })
      await turns(3)
      assert.equal(pool.pending, 1)
      pool.release(held)
      pool.release(await waiting)
      await turns(3)
      assert.equal(pool.available, 1)
      await pool.close({ timeoutMillis: never })
    }
  })
  assert.deepEqual(warnings, [])
})

test('a deadline that looks like seconds, or like days, is asked about once in the process', async () => {
  const warnings = await warningsOf(() => {
    make({ createTimeoutMillis: 5, idleTimeoutMillis: 30 })
    make({ createTimeoutMillis: 5, destroyTimeoutMillis: 3 * 86_400_000 })
    make({ createTimeoutMillis: 5 })
  })
  assert.deepEqual(warnings.length, 2, warnings.join('\n'))
  assert.match(warnings[0] as string, /createTimeoutMillis is 5 ms: were seconds meant\? Then say 5000/)
  assert.match(warnings[0] as string, /idleTimeoutMillis is 30 ms/)
  assert.match(warnings[1] as string, /destroyTimeoutMillis is 259200000 ms, which is 3 days/)
})

test('what is wrong with options points at the line of the user, and prints in few lines', () => {
  const lines = [
    () => make({ max: 0 }),
    () => createPool(factory, { max: 0 }),
    () => createSocketPool({ port: -1 }),
  ]
  for (const run of lines) {
    assert.throws(run, (error: Error) => {
      const [, first] = (error.stack ?? '').split(/\n\s+at /)
      assert.match(first ?? '', /advice\.test/)
      return true
    })
  }
})

test('an error of a pool that exists carries its numbers without printing fifty lines of them', async () => {
  const pool = make({ max: 1 })
  const error = await rejection(pool.acquire({ timeout: 5 } as object))
  assert.ok(error instanceof PoolError)
  assert.equal(error.stats?.max, 1)
  assert.ok(inspect(error).split('\n').length < 20, inspect(error))
})

test('a callback handed to acquire is named at once, and nothing is lent for it', async () => {
  const pool = make({ max: 1 })
  const error = await rejection(pool.acquire((() => {}) as unknown as number))
  assert.match(error.message, /acquire takes no callback: it returns a promise/)
  assert.ok(error.message.length < MOST_CHARACTERS)
  assert.equal(pool.borrowed + pool.pending, 0)
})

test('a promise handed to release or destroy is named', async () => {
  const pool = make({ max: 1 })
  const promise = pool.acquire()
  for (const call of [pool.release(promise as never), pool.destroy(promise as never)]) {
    const error = await rejection(call)
    assert.equal(error.code, 'POOL_NOT_BORROWED')
    assert.match(error.message, /was given a promise .*Await what acquire returned/)
    assert.ok(error.message.length < MOST_CHARACTERS)
  }
  await pool.release(await promise)
})

test('a create, or a validate, that returns nothing is named once a pool', async () => {
  const warnings = await warningsOf(async () => {
    const nothing = make({ name: 'no create', max: 1 }, { create: async () => {}, destroy: async () => {} })
    await nothing.acquire()
    const unsure = make(
      { name: 'no validate', max: 1, testOnReturn: true, testOnBorrow: true },
      { create: async () => ({}), destroy: async () => {}, validate: async () => {} },
    )
    for (let round = 0; round < 3; round += 1) await unsure.acquire({ timeoutMillis: 50 }).catch(() => {})
  })
  assert.equal(warnings.length, 2, warnings.join('\n'))
  assert.match(warnings[0] as string, /factory\.create of pool 'no create' returned undefined/)
  assert.match(warnings[1] as string, /factory\.validate of pool 'no validate' returned undefined/)
})

/** Promises with a method of their own, as Bluebird's have. */
class Chain<T> extends Promise<T> {
  tap(run: (value: T) => unknown): Chain<T> {
    return this.then(async value => {
      await run(value)
      return value
    }) as Chain<T>
  }
}

test('with the option Promise, what the methods return are promises of that class, as in generic-pool', async () => {
  const pool = make({ max: 2, Promise: Chain })
  const tapped: unknown[] = []
  const client = await (pool.acquire() as Chain<object>).tap(resource => tapped.push(resource))
  assert.deepEqual(tapped, [client])
  for (const call of [
    pool.release(client),
    pool.use(() => 1),
    pool.ready(),
    pool.lease().then(lease => lease.release()),
    pool.drain(),
    pool.clear(),
    pool.close(),
  ]) {
    assert.ok(call instanceof Chain)
    await call
  }
  assert.ok((pool.release(client).catch(() => {}) as unknown) instanceof Chain)
  assert.equal(make({ Promise: null }).max, 1)
  assert.match(
    messageOf(() => make({ Promise: 'bluebird' })),
    /Promise must be a Promise class/,
  )
})

test('who waits is rejected at once by packages that reach into the queue of generic-pool', async () => {
  interface Reached {
    _waitingClientsQueue: { length: number; dequeue(): { reject(reason: unknown): void } | undefined }
  }
  const failing = new CountingFactory()
  const wrong = new Error('wrong password')
  failing.create = () => Promise.reject(wrong)
  const pool = createPool(failing, { max: 2, priorityRange: 2, acquireTimeoutMillis: 60_000 })
  const queue = (pool as unknown as Reached)._waitingClientsQueue
  // One at a time, as cube.js does; then all there are, as snowflake-sdk does.
  pool.once('factoryCreateError', error => queue.dequeue()?.reject(error))
  const order: string[] = []
  const late = pool.acquire(1).catch(error => order.push(`late: ${error === wrong}`))
  const early = pool.acquire(0).catch(error => order.push(`early: ${error === wrong}`))
  await early
  assert.deepEqual(order, ['early: true'])
  assert.equal(queue.length, 1)
  pool.on('factoryCreateError', error => {
    for (let client = queue.dequeue(); client; client = queue.dequeue()) client.reject(error)
  })
  await late
  assert.deepEqual(order, ['early: true', 'late: true'])
  assert.equal(queue.dequeue(), undefined)
  await pool.close()
})

test('who is taken from the queue and not rejected is served all the same, and cannot be rejected after that', async () => {
  const pool = make({ max: 1 })
  const held = await pool.acquire()
  const waiting = pool.acquire({ detached: true })
  const queue = (pool as unknown as { _waitingClientsQueue: { dequeue(): { reject(): void } | undefined } })
    ._waitingClientsQueue
  const client = queue.dequeue()
  assert.equal(queue.dequeue(), undefined)
  pool.release(held)
  pool.release(await waiting)
  client?.reject()
  assert.equal(pool.available, 1)
  await pool.close()
})
