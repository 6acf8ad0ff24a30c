import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { isPoolError, type PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

function onFakeTime(options: PoolOptions, ...hooks: ('validate' | 'reset')[]) {
  const clock = new FakeClock()
  const factory = new ScriptedFactory<Connection>(id => ({ id }), ...hooks)
  const pool = openPool(factory, { name: 'test', ...options }, false, { clock, random: () => 0.5 })
  const reasons: string[] = []
  pool.on('destroy', event => reasons.push(event.reason))
  return { clock, pool, factory, reasons }
}

test('drain serves those who wait, then waits for every loan, and lets nobody else in', async () => {
  const { pool } = onFakeTime({ max: 1 })
  const held = await pool.acquire()
  const waiting = pool.acquire()
  let drained = false
  const draining = pool.drain().then(() => {
    drained = true
  })
  assert.equal((await rejection(pool.acquire())).code, 'POOL_CLOSED')
  pool.release(held)
  assert.equal(await waiting, held)
  await settle()
  assert.equal(drained, false)
  pool.release(held)
  await draining
  assert.equal(pool.stats().state, 'draining')
})

test('drain gives up on a loan that never ends, and says how many there are', async () => {
  const { clock, pool } = onFakeTime({ max: 2, drainTimeoutMillis: 300 })
  await pool.acquire()
  const byDefault = rejection(pool.drain())
  const asked = rejection(pool.drain({ timeoutMillis: 50 }))
  await clock.advance(50)
  assert.match(
    (await asked).message,
    /after 50 ms: 1 connection still lent, 0 acquires waiting.*Held, longest first: #1 for 50 ms at .*ending\.test/,
  )
  await clock.advance(250)
  assert.equal((await byDefault).code, 'POOL_DRAIN_TIMEOUT')
})

test('close ends every connection, also those being made, and is the same however often it is called', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 3, min: 2, autostart: false })
  factory.onCreate.always('held')
  pool.acquire().catch(() => {})
  const dials = [await factory.onCreate.call(), await factory.onCreate.call()]
  dials[0]?.ok()
  await settle()
  const resource = factory.ledger.created[0] as Connection
  const closing = pool.close()
  assert.equal(pool.close(), closing)
  pool.release(resource)
  await settle()
  assert.ok(dials[1]?.signal?.aborted, 'the dial is told that nobody wants it any more')
  dials[1]?.ok()
  await closing
  assert.equal(factory.ledger.open.size, 0)
  assert.equal(pool.stats().state, 'closed')
  assert.equal(clock.pending, 0, clock.describe())
})

test('close at its deadline destroys what is still lent and rejects who still waits', async () => {
  const { clock, pool, factory, reasons } = onFakeTime({ max: 1 })
  const held = await pool.acquire()
  const waiting = rejection(pool.acquire({ timeoutMillis: false }))
  const closing = rejection(pool.close({ timeoutMillis: 100 }))
  await clock.advance(100)
  assert.equal((await closing).code, 'POOL_DRAIN_TIMEOUT')
  assert.equal((await waiting).code, 'POOL_CLOSED')
  assert.deepEqual(reasons, ['drain'])
  assert.equal(factory.ledger.open.size, 0)
  await pool.release(held)
  assert.equal((await rejection(pool.release(held))).code, 'POOL_NOT_BORROWED', 'the second time')
  const { totals } = pool.stats()
  assert.deepEqual([totals.acquired, totals.released], [1, 1])
})

test('a `use` that outlives a close by force ends quietly, with its own result', async () => {
  const { clock, pool } = onFakeTime({ max: 1 })
  let finish: (value: string) => void = () => {}
  const using = pool.use(() => new Promise<string>(resolve => (finish = resolve)))
  await settle()
  const closing = rejection(pool.close({ timeoutMillis: 100 }))
  await clock.advance(100)
  await closing
  finish('done')
  assert.equal(await using, 'done')
})

test('a validation and a reset that end after a close by force change nothing any more', async () => {
  const { clock, pool, factory, reasons } = onFakeTime({ max: 2, testOnBorrow: true }, 'validate', 'reset')
  const [idle, held] = await Promise.all([pool.acquire(), pool.acquire()])
  pool.release(idle)
  await settle()
  factory.onReset.next('held')
  pool.release(held)
  factory.onValidate.next('held')
  const waiting = rejection(pool.acquire())
  const [validation, reset] = [await factory.onValidate.call(), await factory.onReset.call()]
  const closing = rejection(pool.close({ timeoutMillis: 10 }))
  await clock.advance(10)
  assert.equal((await closing).code, 'POOL_DRAIN_TIMEOUT')
  assert.equal((await waiting).code, 'POOL_CLOSED')
  validation.ok()
  reset.ok()
  await settle()
  assert.deepEqual(reasons, ['drain', 'drain'])
  assert.equal(factory.ledger.open.size, 0)
  assert.equal(factory.ledger.strayDestroys, 0)
})

test('clear empties an open pool for good and fills it up to min again', async () => {
  const { pool, factory } = onFakeTime({ max: 4, min: 2 })
  await settle()
  const [a, b, c] = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  for (const each of [a, b, c]) pool.release(each)
  assert.equal(await pool.clear(), undefined)
  assert.equal(pool.available, 0)
  assert.equal(factory.ledger.destroyed.length, 3)
  await settle()
  assert.equal(pool.available, 2)
  assert.ok(![a, b, c].includes(await pool.acquire()), 'none of those destroyed is lent again')
})

for (const asked of ['is validated', 'is reset', 'is asked for the idle limit of its server'] as const) {
  for (const way of ['clear', 'drain, then clear,', 'close'] as const) {
    test(`${way} leaves no connection behind that ${asked} at that moment`, async () => {
      const { clock, pool, factory } = onFakeTime({ max: 1, testOnBorrow: true }, 'validate', 'reset')
      let answer = (): void => {}
      const connection = await pool.acquire()
      if (asked === 'is reset') factory.onReset.always('held')
      if (asked === 'is asked for the idle limit of its server') {
        const limit = new Promise<undefined>(resolve => {
          answer = () => resolve(undefined)
        })
        Object.assign(factory, { socket: () => undefined, serverIdleTimeout: () => limit })
      }
      await pool.release(connection)
      await settle()
      if (asked === 'is validated') {
        factory.onValidate.always('held')
        const leaves = new AbortController()
        const left = rejection(pool.acquire({ signal: leaves.signal }))
        leaves.abort()
        assert.equal((await left).code, 'POOL_ABORTED')
        answer = (await factory.onValidate.call()).ok
      } else if (asked === 'is reset') answer = (await factory.onReset.call()).ok
      else await clock.advance(5)
      const { validating, resetting } = pool.stats()
      assert.equal(validating + resetting, 1)
      const drained = way === 'drain, then clear,' ? pool.drain() : Promise.resolve()
      const ended = way === 'close' ? pool.close() : drained.then(() => pool.clear())
      await settle()
      answer()
      await ended
      await settle()
      assert.deepEqual([pool.size, factory.ledger.open.size], [0, 0])
    })
  }
}

test('purge ends the idle at once, the lent on their return, and those on their way on arrival', async () => {
  const { clock, pool, factory, reasons } = onFakeTime({ max: 3 })
  const lent = await pool.acquire()
  const idle = await pool.acquire()
  pool.release(idle)
  const again = await pool.acquire()
  factory.onCreate.next('held')
  const waiting = pool.acquire()
  const old = await factory.onCreate.call()
  pool.release(again)
  assert.equal(await waiting, again)
  pool.release(again)
  const details: (string | undefined)[] = []
  pool.on('destroy', event => details.push(event.detail))
  pool.purge('failover')
  assert.deepEqual(reasons, ['generation'])
  pool.release(lent)
  old.ok()
  await settle()
  assert.deepEqual(reasons, ['generation', 'generation', 'generation'])
  assert.deepEqual(details, ['failover', 'failover', 'failover'], 'each is told why')
  assert.equal(pool.size, 0)
  const asked = pool.acquire()
  await clock.advance(2)
  assert.ok(await asked)
})

test('a smaller pool loses its idle connections now and its lent ones as they come back', async () => {
  const { pool, reasons } = onFakeTime({ max: 4 })
  const lent = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire()])
  pool.release(lent[0] as Connection)
  pool.resize({ max: 1 })
  assert.deepEqual(reasons, ['surplus'])
  for (const each of lent.slice(1)) pool.release(each)
  await settle()
  assert.equal(pool.size, 1)
  assert.equal(pool.max, 1)
  assert.throws(() => pool.resize({ min: 2 }), { code: 'POOL_BAD_OPTIONS' })
  pool.resize({ min: 3, max: 3 })
  await settle()
  assert.equal(pool.available, 3, 'a new min is met without anyone asking')
})

test('a resize or a close that was given something else is refused, and changes nothing', async () => {
  const { pool } = onFakeTime({ max: 4, min: 1 })
  const resize = pool.resize.bind(pool) as (bounds?: unknown) => void
  for (const bounds of [undefined, null, 5, '5', [1, 2]]) {
    assert.throws(() => resize(bounds), {
      code: 'POOL_BAD_OPTIONS',
      pool: 'test',
      message: /resize needs \{ min, max \}/,
    })
  }
  const close = pool.close.bind(pool) as (patience?: unknown) => Promise<void>
  for (const patience of [5, '5', true]) {
    const error = await rejection(close(patience))
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
    assert.match(error.message, /close takes \{ timeoutMillis, signal \}/)
    assert.equal(error.stats?.state, 'open')
  }
  assert.deepEqual([pool.min, pool.max], [1, 4])
  await pool.close()
})

test('a typo in what ready, drain or close is asked for is refused, and so is a bare signal', async () => {
  const { pool } = onFakeTime({ max: 4, min: 1 })
  for (const call of ['ready', 'drain', 'close'] as const) {
    const ask = pool[call].bind(pool) as (patience: unknown) => Promise<void>
    const wrong = [{ timeout: 50 }, AbortSignal.abort(), AbortSignal.timeout(5)]
    for (const patience of [...wrong, ...(call === 'close' ? [[], new Map()] : [])]) {
      const error = await rejection(ask(patience))
      assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
      assert.equal(error.stats?.state, 'open', call)
    }
    assert.match((await rejection(ask(AbortSignal.abort()))).message, /pass the signal as \{ signal \}/)
    const nothing = { timeoutMillis: Object.create(null) }
    assert.match((await rejection(ask(nothing))).message, /timeoutMillis must be .* got an object/)
  }
  const drain = pool.drain.bind(pool) as (...given: unknown[]) => Promise<void>
  await drain('SIGTERM', 15)
  await drain(new Event('abort'))
  await pool.close({ hint: undefined } as object)
})

test('a larger pool serves those who wait at once', async () => {
  const { pool } = onFakeTime({ max: 1 })
  await pool.acquire()
  const waiting = pool.acquire()
  pool.resize({ max: 2 })
  assert.ok(await waiting)
})

test('connections that have been idle too long are ended, down to min, the longest idle first', async () => {
  const { clock, pool, factory, reasons } = onFakeTime({ max: 4, min: 1, softIdleTimeoutMillis: 1000 })
  const lent = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  for (const each of lent) {
    await clock.advance(10)
    pool.release(each)
  }
  await clock.advance(5000)
  assert.deepEqual(reasons, ['idle', 'idle'])
  assert.deepEqual(factory.ledger.destroyed, lent.slice(0, 2))
})

test('lifetimes are spread by their jitter, and end idle connections and lent ones on their return', async () => {
  const { clock, pool, reasons } = onFakeTime({ max: 2, maxLifetimeMillis: 1000, lifetimeJitter: 0.5 })
  const [lent, idle] = await Promise.all([pool.acquire(), pool.acquire()])
  pool.release(idle)
  // Chance is fixed at one half: each lives for 1000 × (1 − 0.5 × 0.5) = 750 ms.
  await clock.advance(740)
  assert.deepEqual(reasons, [])
  await clock.advance(600)
  assert.deepEqual(reasons, ['lifetime'])
  pool.release(lent)
  assert.deepEqual(reasons, ['lifetime', 'lifetime'])
})

test('ready waits for min, not for ever, and says why it does not come', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 3, min: 2, autostart: false })
  factory.onCreate.always({ rejects: new Error('no route to host') })
  const failed = rejection(pool.ready({ timeoutMillis: 400 }))
  await clock.advance(400)
  const error = await failed
  assert.equal(error.code, 'POOL_CONNECT_FAILED')
  assert.match(error.message, /min=2.*no route to host/)
  factory.onCreate.always('ok')
  const ready = pool.ready()
  await clock.advance(2000)
  await ready
  assert.equal(pool.available, 2)
})

test('drain and ready end at their signal, as at their deadline, and leave no listener behind', async () => {
  const { pool, factory } = onFakeTime({ max: 2, min: 2, autostart: false })
  factory.onCreate.next('ok', 'hangs')
  const caller = new AbortController()
  const { signal } = caller
  const reason = new Error('the process is asked to end')
  const notReady = rejection(pool.ready({ signal }))
  const held = await pool.acquire()
  const drains = Array.from({ length: 30 }, () => rejection(pool.drain({ signal, timeoutMillis: false })))
  await settle()
  caller.abort(reason)
  for (const error of await Promise.all([...drains])) {
    assert.equal(error.code, 'POOL_ABORTED')
    assert.equal(error.cause, reason)
  }
  assert.equal((await notReady).code, 'POOL_CLOSED', 'it was drained before')
  assert.equal(pool.stats().state, 'draining')
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  assert.equal((await rejection(pool.drain({ signal }))).code, 'POOL_ABORTED', 'a signal aborted already')
  pool.release(held)
  const calm = new AbortController()
  await pool.drain({ signal: calm.signal })
  assert.equal(getEventListeners(calm.signal, 'abort').length, 0)
  assert.equal((await rejection(pool.drain({ signal: {} as AbortSignal }))).code, 'POOL_BAD_OPTIONS')

  const waking = onFakeTime({ min: 1, autostart: false })
  waking.factory.onCreate.always('hangs')
  const given = new AbortController()
  const ready = rejection(waking.pool.ready({ signal: given.signal }))
  await settle()
  given.abort()
  assert.equal((await ready).code, 'POOL_ABORTED')
  assert.equal(waking.pool.stats().state, 'open')
})

test('close at its signal ends everything by force at once, whichever of its callers gave it', async () => {
  const { clock, pool, factory, reasons } = onFakeTime({ max: 1 })
  const held = await pool.acquire()
  const waiting = rejection(pool.acquire())
  const caller = new AbortController()
  const first = rejection(pool.close())
  const second = rejection(pool.close({ signal: caller.signal }))
  await settle()
  assert.equal(pool.isBorrowedResource(held), true)
  await clock.advance(40)
  caller.abort()
  for (const error of await Promise.all([first, second])) {
    assert.equal(error.code, 'POOL_ABORTED')
    assert.equal(error.cause, caller.signal.reason)
    assert.equal(error.waitedMillis, 40)
    assert.match(error.message, /have been destroyed/)
  }
  assert.equal((await waiting).code, 'POOL_CLOSED')
  assert.deepEqual(reasons, ['drain'])
  assert.equal(factory.ledger.open.size, 0)
  assert.equal(pool.stats().state, 'closed')
  assert.equal(getEventListeners(caller.signal, 'abort').length, 0)
})

test('a close whose signal was aborted already, or is while connections close, waits for nothing', async () => {
  const early = onFakeTime({ max: 1 })
  await early.pool.acquire()
  assert.equal((await rejection(early.pool.close({ signal: AbortSignal.abort() }))).code, 'POOL_ABORTED')
  assert.equal(early.factory.ledger.open.size, 0)

  const { pool, factory } = onFakeTime({ max: 1 })
  pool.release(await pool.acquire())
  factory.onDestroy.next('hangs')
  const caller = new AbortController()
  const closing = rejection(pool.close({ signal: caller.signal }))
  await settle()
  caller.abort()
  assert.match((await closing).message, /no longer waits for the connections that have not closed/)
})

test('a later close that will not wait for as long shortens the first one, and a longer or a plain one changes nothing', async () => {
  for (const later of [{ timeoutMillis: 50 }, { timeoutMillis: 0 }]) {
    const { clock, pool, reasons } = onFakeTime({ max: 1 })
    await pool.acquire()
    const first = rejection(pool.close({ timeoutMillis: 10_000 }))
    await clock.advance(100)
    const plain = rejection(pool.close())
    const longer = rejection(pool.close({ timeoutMillis: 60_000 }))
    const shorter = rejection(pool.close(later))
    await clock.advance(later.timeoutMillis + 1)
    for (const closing of [first, plain, longer, shorter]) {
      const { code, message } = await closing
      assert.equal(code, 'POOL_DRAIN_TIMEOUT')
      assert.match(message, new RegExp(`has not ended after ${100 + later.timeoutMillis} ms`))
    }
    assert.deepEqual(reasons, ['drain'])
    assert.equal(pool.size, 0)
  }
})

test('a later close shortens also the wait for connections that do not close', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 1, destroyTimeoutMillis: 60_000 })
  await pool.release(await pool.acquire())
  factory.onDestroy.always('hangs')
  const first = rejection(pool.close({ timeoutMillis: 10_000 }))
  await clock.advance(100)
  const second = rejection(pool.close({ timeoutMillis: 50 }))
  await clock.advance(51)
  assert.equal((await first).code, 'POOL_DRAIN_TIMEOUT')
  assert.equal((await second).code, 'POOL_DRAIN_TIMEOUT')
})
