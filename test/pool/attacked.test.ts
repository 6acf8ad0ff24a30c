import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { createPool, type Factory, type PoolError } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { block, type Connection, eventually, ScriptedFactory, scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

/* Each of these once broke a promise of the pool. */

for (const [event, how] of [
  ['release', 'destroy'],
  ['release', 'release'],
  ['acquire', 'destroy'],
  ['acquire', 'release'],
] as const) {
  test(`a listener of '${event}' that calls ${how} for the same resource corrupts nothing`, async () => {
    const factory = scripted()
    const pool = createPool(factory, { max: 1 })
    const meddle = ({ resource }: { resource: Connection }): void => void pool[how](resource).catch(() => {})
    pool.on(event, meddle)
    for (let round = 0; round < 5; round += 1) {
      const lent = await pool.acquire()
      const waiting = pool.acquire()
      await pool.release(lent).catch(error => assert.equal(error.code, 'POOL_NOT_BORROWED'))
      const next = await waiting
      await pool.release(next).catch(error => assert.equal(error.code, 'POOL_NOT_BORROWED'))
    }
    await settle()
    assert.equal(pool.borrowed, 0)
    await pool.close()
    assert.equal(factory.ledger.open.size, 0)
    assert.equal(factory.ledger.strayDestroys, 0)
  })
}

test('a busy that ends the loan itself corrupts nothing', async () => {
  const factory = scripted()
  const pool = createPool<Connection>(
    {
      create: () => factory.create(),
      destroy: resource => factory.destroy(resource),
      busy: resource => {
        pool.destroy(resource).catch(() => {})
        return false
      },
    },
    { max: 1 },
  )
  for (let round = 0; round < 3; round += 1) await pool.use(() => {})
  await pool.close()
  assert.deepEqual([factory.ledger.created.length, factory.ledger.strayDestroys], [3, 0])
})

test('things thrown that cannot be shown hang nobody and lose nothing', async () => {
  const unspeakable = Object.create(null) as unknown
  const circular = new AggregateError([], '')
  circular.errors.push(circular)
  for (const thrown of [unspeakable, circular, undefined]) {
    const factory = new ScriptedFactory<Connection>(id => ({ id }), 'validate', 'reset')
    const pool = createPool(factory, {
      max: 1,
      acquireTimeoutMillis: 60,
      validateTimeoutMillis: 30,
      testOnBorrow: true,
    })
    pool.on('connect', () => {
      throw thrown
    })
    factory.onCreate.always({ rejects: thrown })
    assert.equal((await rejection(pool.acquire())).code, 'POOL_ACQUIRE_TIMEOUT')
    factory.onCreate.always('ok')
    factory.onValidate.next('ok', { rejects: thrown })
    factory.onReset.next({ throws: thrown })
    await eventually(
      () =>
        pool.stats().breaker === 'closed' ||
        pool
          .use(() => {})
          .then(
            () => true,
            () => false,
          ),
    )
    for (let round = 0; round < 3; round += 1) await pool.use(() => {})
    const held = await pool.acquire()
    const caller = new AbortController()
    const aborted = rejection(pool.acquire({ signal: caller.signal, timeoutMillis: 5000 }))
    caller.abort(thrown)
    assert.equal((await aborted).code, 'POOL_ABORTED')
    await pool.release(held)
    await pool.close()
    assert.equal(factory.ledger.open.size, 0)
  }
})

test('a socket hook that throws, or gives no socket, costs the connection at most, never the slot', async () => {
  const answers: (() => unknown)[] = [
    () => {
      throw new Error('no stream yet')
    },
    () => Promise.resolve(),
    () => null,
  ]
  const factory = scripted()
  const pool = createPool<Connection>(
    {
      create: () => factory.create(),
      destroy: resource => factory.destroy(resource),
      socket: () => (answers.shift()?.() ?? undefined) as Socket,
    },
    { max: 1 },
  )
  assert.equal(await pool.use(connection => connection.id), 2, 'null means that there is none')
  await pool.close()
  assert.equal(factory.ledger.open.size, 0)
})

test('a close that was asked for wrongly can be asked for again', async () => {
  const pool = createPool(scripted(), { max: 1, min: 1 })
  assert.equal((await rejection(pool.close({ timeoutMillis: Number.NaN }))).code, 'POOL_BAD_OPTIONS')
  await pool.close(null as unknown as undefined)
  assert.equal(pool.stats().state, 'closed')
})

for (const where of ['create', 'validate', 'connect'] as const) {
  test(`a purge in ${where} does not freeze the loop`, async () => {
    const factory = new ScriptedFactory<Connection>(id => ({ id }), 'validate')
    const hooks: Factory<Connection> = {
      create: () => {
        if (where === 'create') pool.purge()
        return factory.create()
      },
      validate: () => {
        if (where === 'validate') pool.purge()
        return true
      },
      destroy: resource => factory.destroy(resource),
    }
    const pool = createPool(hooks, { max: 2, testOnBorrow: where === 'validate', acquireTimeoutMillis: 80 })
    if (where === 'connect') pool.on('connect', () => pool.purge())
    await pool.acquire().then(
      resource => pool.release(resource),
      error => assert.equal(error.code, 'POOL_ACQUIRE_TIMEOUT'),
    )
    assert.ok(factory.ledger.created.length < 200, `${factory.ledger.created.length} connections in 80 ms`)
    await pool.close({ timeoutMillis: 500 })
  })
}

test('a hook that enters a context does not make it everybody else’s', async () => {
  const spans = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  const tracing = createPool({ create: async () => spans.enterWith('span of a connect'), destroy: () => {} })
  await tracing.use(() => {})
  const other = createPool({ create: async () => void seen.push(spans.getStore()), destroy: () => {} })
  other.on('acquire', () => seen.push(spans.getStore()))
  await spans.run('a request', () => other.use(() => {}))
  assert.deepEqual(seen, [undefined, undefined])
  await Promise.all([tracing.close(), other.close()])
})

test('connections that fall silent one after the other do not starve a caller who could have a new one', async () => {
  const clock = new FakeClock()
  const factory = new ScriptedFactory<Connection>(id => ({ id }), 'validate')
  const options = {
    max: 12,
    validateAfterIdleMillis: 10,
    validateTimeoutMillis: 1000,
    acquireTimeoutMillis: 1500,
  }
  const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
  const lent = await Promise.all(Array.from({ length: 10 }, () => pool.acquire()))
  for (const each of lent) pool.release(each)
  await clock.advance(100)
  factory.onValidate.always('hangs')
  const asked = pool.acquire()
  await clock.advance(1400)
  assert.ok(await asked)
})

test('a reset that hangs does not hold up a caller while permits are free', async () => {
  const clock = new FakeClock()
  const factory = new ScriptedFactory<Connection>(id => ({ id }), 'reset')
  const pool = openPool(factory, { max: 10 }, false, { clock, random: () => 0.5 })
  factory.onReset.next('hangs')
  pool.release(await pool.acquire())
  const asked = pool.acquire()
  await clock.advance(150)
  assert.ok(await asked)
})

test('a server that stays silent is probed by one dial at a time, and callers are told at once', async () => {
  const clock = new FakeClock()
  const factory = scripted()
  factory.onCreate.always('hangs')
  const options = { max: 5, createTimeoutMillis: 1000, acquireTimeoutMillis: 200 }
  const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
  await Promise.all([...Array.from({ length: 5 }, () => rejection(pool.acquire())), clock.advance(3000)])
  const before = factory.onCreate.calls
  const codes = new Map<string, number>()
  for (let asked = 0; asked < 200; asked += 1) {
    rejection(pool.acquire()).then(({ code }) => codes.set(code, (codes.get(code) ?? 0) + 1))
    await clock.advance(50)
  }
  assert.ok(factory.onCreate.calls - before <= 11, `${factory.onCreate.calls - before} dials in ten seconds`)
  assert.ok((codes.get('POOL_UNHEALTHY') ?? 0) > 150, JSON.stringify([...codes]))
})

test('a connection that arrives late but has an owner by now is left alone', async () => {
  const clock = new FakeClock()
  let arrive: (one: Connection) => void = () => {}
  const shared = new Promise<Connection>(resolve => {
    arrive = resolve
  })
  const destroyed: Connection[] = []
  const factory = { create: () => shared, destroy: (one: Connection) => void destroyed.push(one) }
  const options = { max: 1, createTimeoutMillis: 100, acquireTimeoutMillis: 5000 }
  const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
  const asked = pool.acquire()
  // The next dial begins some 50 ms after the first was given up, and gets the same one.
  await clock.advance(180)
  arrive({ id: 1 })
  const lent = await asked
  await settle()
  assert.deepEqual(destroyed, [])
  assert.ok(pool.isBorrowedResource(lent))
})

test('a timeout of its own for every waiter is no slower than one for all', async () => {
  const pool = createPool(scripted(), { max: 1 })
  let lent = await pool.acquire()
  const measure = async (timeout: (asked: number) => number): Promise<number> => {
    const start = process.cpuUsage()
    for (let asked = 0; asked < 20_000; asked += 1) {
      const waiting = pool.acquire({ timeoutMillis: timeout(asked) })
      pool.release(lent)
      lent = await waiting
    }
    const { user, system } = process.cpuUsage(start)
    return user + system
  }
  await measure(() => 60_000)
  const one = await measure(() => 60_000)
  const many = await measure(asked => 60_000 + asked)
  // It was forty times as slow, and grew; the bound leaves room for any machine.
  assert.ok(many < one * 10 + 100_000, `${many} µs against ${one} µs`)
  await pool.release(lent)
  await pool.close()
})

test('a crowd whose deadlines are all its own, due at one moment, goes in portions', async () => {
  const crowd = 20_000
  const pool = createPool(scripted(), { max: 1 })
  const held = await pool.acquire()
  // Hundreds of timeouts, a few dozen waiters each: as where every request brings its own budget.
  const waiting = Array.from({ length: crowd }, (_, index) =>
    rejection(pool.acquire({ timeoutMillis: 100 + (index % 800) })),
  )
  block(950)
  let most = 0
  for (let before = pool.pending; before > 0; before = pool.pending) {
    await settle()
    most = Math.max(most, before - pool.pending)
  }
  assert.ok(most < crowd / 2, `${most} in one turn`)
  for (const error of await Promise.all(waiting)) assert.equal(error.code, 'POOL_ACQUIRE_TIMEOUT')
  await pool.release(held)
  await pool.close()
})

/** A machine so slow that each look at the clock takes a millisecond. */
class SlowClock extends FakeClock {
  #looks = 0
  override now(): number {
    this.#looks += 1
    return super.now() + this.#looks
  }
}

/** A full pool on such a machine, and a crowd that waits for it. */
async function crowded(crowd: number) {
  const clock = new SlowClock()
  const factory = scripted()
  const pool = openPool(factory, { max: 1, acquireTimeoutMillis: false, unhealthyAfterMillis: 0 }, false, {
    clock,
    random: () => 0.5,
  })
  const held = await pool.acquire()
  const told: PoolError[] = []
  const caller = new AbortController()
  const join = (): void => {
    for (let asked = 0; asked < crowd; asked += 1)
      pool.acquire({ signal: caller.signal }).catch(error => told.push(error))
  }
  return { clock, factory, pool, held, told, caller, join }
}

test('a crowd whose probe has failed hears of it in portions, and all of it why, although the next one succeeds', async () => {
  const crowd = 10_000
  const { clock, factory, pool, held, told, join } = await crowded(crowd)
  factory.onCreate.always({ rejects: new Error('refused') })
  pool.resize({ max: 2 })
  pool.acquire().catch(() => {})
  await clock.advance(50)
  assert.equal(pool.stats().breaker, 'open')
  join()
  factory.onCreate.always('held')
  await clock.advance(3000)
  const probe = await factory.onCreate.call()
  pool.destroy(held)
  assert.equal(told.length, 0)
  factory.onCreate.always('ok')
  probe.reject(new Error('refused'))
  await settle()
  assert.ok(told.length < crowd / 2, `${told.length} in one turn`)
  await clock.advance(5000)
  assert.equal(told.length, crowd)
  for (const error of told) assert.equal((error.cause as Error).message, 'refused')
})

test('a pool that is closed has told everybody when that is done', async () => {
  const crowd = 10_000
  const { pool, told, join } = await crowded(crowd)
  join()
  const closer = new AbortController()
  const closed = rejection(pool.close({ signal: closer.signal }))
  closer.abort()
  assert.equal((await closed).code, 'POOL_ABORTED')
  assert.equal(told.length, crowd)
})

for (const how of ['release', 'destroy'] as const) {
  test(`a stale ${how} before a loan from the queue has reached its borrower lends nothing twice`, async () => {
    const pool = createPool(scripted(), { max: 1 })
    const inUse = new Set<Connection>()
    const ends: string[] = []
    const work = (name: string, turns: number) => async (connection: Connection) => {
      assert.ok(!inUse.has(connection), `${name} got what is in use`)
      inUse.add(connection)
      for (let turn = 0; turn < turns; turn += 1) await settle()
      inUse.delete(connection)
      ends.push(name)
    }
    const held = await pool.acquire()
    const first = rejection(pool.use(work('first', 3)))
    await settle()
    void pool.release(held)
    void pool[how](held)
    const second = pool.use(work('second', 9))
    for (let turn = 0; turn < 6; turn += 1) await settle()
    await Promise.all([second, pool.use(work('third', 1))])
    assert.equal((await first).code, 'POOL_LEASE_ENDED')
    assert.deepEqual(ends, ['second', 'third'])
    assert.equal(pool.borrowed, 0)
    await pool.close()
  })
}

test('a token whose loan has ended before it was handed over does not stand for the next loan', async () => {
  const pool = createPool(scripted(), { max: 1 })
  const held = await pool.acquire()
  const early = pool.lease()
  const next = pool.lease()
  await settle()
  void pool.release(held)
  void pool.release(held)
  const token = await early
  const current = await next
  await rejection(token.destroy())
  assert.throws(() => token.resource)
  assert.equal(current.resource, held)
  assert.equal(pool.borrowed, 1)
  await current.release()
  await pool.close()
})
