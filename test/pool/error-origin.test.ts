// Whoever reads the error of an acquire in a log has to find the line that asked, without anything else.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { PoolError, PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

async function full(options: PoolOptions = {}, max = 1) {
  const clock = new FakeClock()
  const pool = openPool(
    scripted('validate'),
    { name: 'p', max, acquireTimeoutMillis: 1000, ...options },
    false,
    {
      clock,
      random: () => 0,
    },
  )
  for (let index = 0; index < max; index += 1) await pool.acquire()
  return { clock, pool }
}

type Full = Awaited<ReturnType<typeof full>>['pool']

const WAYS: Readonly<Record<string, (pool: Full) => Promise<unknown>>> = {
  acquire: async function asksByAcquire(pool) {
    return await pool.acquire()
  },
  use: async function asksByUse(pool) {
    return await pool.use(() => 1)
  },
  lease: async function asksByLease(pool) {
    const lease = await pool.lease()
    return lease.resource
  },
}

/** The first line of the stack. */
const first = ({ stack, message }: PoolError): string =>
  (stack ?? '').split(`${message}\n`)[1]?.split('\n')[0] ?? ''

describe('the stack of the error of an acquire begins at the line that asked', () => {
  for (const [name, ask] of Object.entries(WAYS))
    for (const [kind, options] of Object.entries({
      'with a stack that was taken': {},
      'with none': { nested: 'allow' },
    } as const))
      test(`a timeout of ${name}, ${kind}`, async () => {
        const { clock, pool } = await full(options)
        const waiting = rejection(ask(pool))
        await clock.advance(1000)
        const error = await waiting
        assert.equal(error.code, 'POOL_ACQUIRE_TIMEOUT')
        assert.match(first(error), new RegExp(`^ {4}at (?:async )?${ask.name} \\(.*error-origin\\.test\\.js`))
        assert.match(error.stack ?? '', /^TimeoutError: ResourceRequest timed out/)
      })

  test('in an outage, where no stacks are taken of those who wait', async () => {
    const clock = new FakeClock()
    const factory = scripted('validate')
    factory.onCreate.always({ rejects: new Error('refused') })
    const pool = openPool(factory, { max: 1, acquireTimeoutMillis: 1500 }, false, { clock, random: () => 0 })
    const early = rejection(pool.acquire())
    await clock.advance(100)
    async function asksInAnOutage() {
      return await pool.acquire()
    }
    const waiting = rejection(asksInAnOutage())
    await clock.advance(3000)
    assert.match(first(await waiting), /at async asksInAnOutage/)
    await early
  })

  test('also where others asked before who awaits it, as the search for deadlocks does', async () => {
    const { clock, pool } = await full({ captureStacks: 'sampled', deadlockGraceMillis: 10 })
    async function asksInUse() {
      return await pool.acquire()
    }
    const waiting = rejection(asksInUse())
    for (let at = 0; at < 1000; at += 10) await clock.advance(10)
    assert.match(first(await waiting), /asksInUse/)
  })

  test('whatever else refuses it: a signal, a close, a full queue, no time to wait', async () => {
    const { pool } = await full({ maxWaitingClients: 1, deadlockGraceMillis: 1e6 })
    const abort = new AbortController()
    async function asks(options: object = {}) {
      return await pool.acquire(options)
    }
    const aborted = rejection(asks({ signal: abort.signal }))
    const errors = [await rejection(asks()), await rejection(asks({ timeoutMillis: 0 }))]
    errors.push(await rejection(asks({ signal: AbortSignal.abort() })))
    errors.push(await rejection(asks({ timeoutMillis: 'soon' })))
    abort.abort()
    errors.push(await aborted)
    void pool.close({ timeoutMillis: 1 }).catch(() => {})
    errors.push(await rejection(asks()))
    assert.deepEqual(
      errors.map(({ code }) => code),
      [
        'POOL_QUEUE_FULL',
        'POOL_ACQUIRE_TIMEOUT',
        'POOL_ABORTED',
        'POOL_BAD_OPTIONS',
        'POOL_ABORTED',
        'POOL_CLOSED',
      ],
    )
    for (const error of errors) assert.match(first(error), /at (?:async )?asks \(/, error.stack)
  })
})

describe('the stack of any other refusal begins at the line that called', () => {
  const BAD = { timeoutMillis: 'soon' } as unknown as { timeoutMillis: number }
  const CALLS: Readonly<Record<string, (pool: Full, connection: never) => unknown>> = {
    'a second release': async function asks(pool, connection) {
      await pool.release(connection)
      await pool.release(connection)
    },
    'a destroy of nothing': async function asks(pool) {
      await pool.destroy(undefined as never)
    },
    'use without a function': async function asks(pool) {
      await pool.use(undefined as never)
    },
    'ready, drain and close with bad options': async function asks(pool) {
      const errors = await Promise.allSettled([pool.ready(BAD), pool.drain(BAD), pool.close(BAD)])
      for (const { reason } of errors as PromiseRejectedResult[])
        assert.match(first(reason), /at (?:async )?asks \(/, reason.stack)
      await pool.close(5 as never)
    },
    'resize with bad bounds': async function asks(pool) {
      pool.resize({ max: -1 })
    },
    'the resource of a lease that has ended': async function asks(pool, connection) {
      await pool.release(connection)
      const lease = await pool.lease()
      await lease.release()
      return lease.resource
    },
    'a second end of a lease': async function asks(pool, connection) {
      await pool.release(connection)
      const lease = await pool.lease()
      await lease.destroy()
      await lease.destroy()
    },
    'new Pool': async function asks(pool) {
      return new (pool.constructor as new (...given: unknown[]) => unknown)({}, {})
    },
  }
  for (const [name, call] of Object.entries(CALLS)) {
    test(name, async () => {
      const clock = new FakeClock()
      const pool = openPool(scripted(), { max: 1 }, false, { clock, random: () => 0 })
      const connection = await pool.acquire()
      const error = await rejection(call(pool, connection as never) as Promise<unknown>)
      assert.match(first(error), /at (?:async )?asks \(.*error-origin\.test\.js/, error.stack)
    })
  }
})

test("nobody's stack is shown under captureStacks 'off'", async () => {
  for (const nested of ['detect', 'allow'] as const) {
    const { clock, pool } = await full({ captureStacks: 'off', nested })
    const waiting = rejection(pool.acquire())
    await clock.advance(1000)
    assert.doesNotMatch((await waiting).stack ?? '', /error-origin/)
  }
})

test('a crowd that times out at once is asked for its stacks only up to a limit', async () => {
  const { clock, pool } = await full({ nested: 'allow' })
  const crowd = Array.from({ length: 2000 }, () => rejection(WAYS.acquire?.(pool) ?? Promise.resolve()))
  await clock.advance(1000)
  const told = (await Promise.all(crowd)).filter(({ stack }) => /asksByAcquire/.test(stack ?? ''))
  // One in 256 of those who wait has its stack taken as well.
  assert.ok(told.length >= 100 && told.length <= 110, `${told.length}`)
})

test('an error of a pool of a hundred is printed in a few lines, with the message on top', async () => {
  const { clock, pool } = await full({}, 100)
  const waiting = rejection(pool.acquire())
  await clock.advance(1000)
  const error = await waiting
  assert.equal(error.holders?.length, 100)
  assert.equal(error.stats?.borrowed, 100)
  const printed = inspect(error)
  assert.ok(printed.split('\n').length <= 20, printed)
  assert.match(printed.split('\n')[0] ?? '', /ResourceRequest timed out: pool 'p' .*and 95 more/)
  assert.ok(JSON.stringify(error).length < 400, JSON.stringify(error))
})

test('the stack can be set by whoever rewrites the errors that pass through', async () => {
  const { clock, pool } = await full()
  const waiting = rejection(pool.acquire())
  await clock.advance(1000)
  const error = await waiting
  error.stack = 'mine'
  assert.equal(error.stack, 'mine')
  assert.doesNotMatch(JSON.stringify(error), /mine/)
})
