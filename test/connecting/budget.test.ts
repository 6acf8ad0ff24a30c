import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Budget } from '../../src/api/budget.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { createBudget, isPoolError, type Pool } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { settle } from '../support/clock.ts'
import { type Connection, type ScriptedFactory, scripted } from '../support/factories.ts'
import { insidesOf } from '../support/insides.ts'
import { JumpingClock } from '../support/jumping-clock.ts'

interface Tenant {
  readonly pool: Pool<Connection>
  readonly factory: ScriptedFactory
}

/** Pools on one clock that share one budget. */
class Tenants {
  readonly clock = new JumpingClock()
  readonly budget: Budget
  readonly all: Tenant[] = []

  constructor(max: number) {
    this.budget = createBudget({ name: 'shared', max })
  }

  add(options: PoolOptions = {}): Tenant {
    const factory = scripted()
    const given = { max: 100, maxConnecting: 100, acquireTimeoutMillis: false as const, ...options }
    const environment = { clock: this.clock, random: () => 0.5 }
    const pool = openPool(factory, { ...given, budget: this.budget }, false, environment)
    const tenant = { pool, factory }
    this.all.push(tenant)
    return tenant
  }

  get open(): number {
    return this.all.reduce((sum, { factory }) => sum + factory.ledger.open.size, 0)
  }

  /** Keeps so many callers busy, each of which takes a connection for `millis`, over and over, until the clock says so. */
  load(
    pool: Pool<Connection>,
    callers: number,
    millis: number,
    until: number,
  ): { served: number; longest: number } {
    const seen = { served: 0, longest: 0 }
    const caller = async (): Promise<void> => {
      while (this.clock.now() < until) {
        const asked = this.clock.now()
        await pool.use(() => {
          seen.served += 1
          seen.longest = Math.max(seen.longest, this.clock.now() - asked)
          return this.clock.sleep(millis)
        })
      }
    }
    for (let index = 0; index < callers; index += 1) void caller()
    return seen
  }
}

const sizes = (tenants: Tenants): number[] => tenants.all.map(({ pool }) => pool.size)

describe('a budget over several pools', () => {
  test('a server that allows so many connections is not asked for more by pools that know nothing of each other', async () => {
    const tenants = new Tenants(3)
    const [a, b] = [tenants.add(), tenants.add()]
    const held = [a.pool.acquire(), a.pool.acquire(), b.pool.acquire(), b.pool.acquire(), a.pool.acquire()]
    await tenants.clock.advance(0)
    assert.equal(tenants.open, 3)
    assert.deepEqual([a.pool.pending, b.pool.pending], [1, 1])
    assert.equal(tenants.budget.stats().used, 3)
    await a.pool.release(await (held[0] as Promise<Connection>))
    await b.pool.release(await (held[2] as Promise<Connection>))
    await tenants.clock.advance(10)
    assert.deepEqual([a.pool.pending, b.pool.pending], [0, 0])
    assert.equal(tenants.open, 3)
  })

  test('a connection that still closes counts: its place is given to nobody before the close has ended', async () => {
    const tenants = new Tenants(1)
    const [a, b] = [tenants.add(), tenants.add()]
    a.factory.onDestroy.next('held')
    await a.pool.release(await a.pool.acquire())
    const waiting = b.pool.acquire()
    const close = await a.factory.onDestroy.call()
    await tenants.clock.advance(10)
    assert.equal(b.factory.onCreate.calls, 0)
    assert.equal(tenants.budget.stats().used, 1)
    close.ok()
    await tenants.clock.advance(10)
    assert.equal((await waiting).id, 0)
    assert.equal(tenants.open, 1)
  })

  test('a create that fails gives its place back, to the pool that waits for it', async () => {
    const tenants = new Tenants(1)
    const [a, b] = [tenants.add({ acquireTimeoutMillis: 30 }), tenants.add()]
    a.factory.onCreate.next('held').always({ rejects: new Error('refused') })
    const failing = a.pool.acquire()
    failing.catch(() => {})
    const dial = await a.factory.onCreate.call()
    const waiting = b.pool.acquire()
    await settle()
    assert.equal(b.factory.onCreate.calls, 0)
    dial.reject(new Error('refused'))
    await tenants.clock.advance(5)
    assert.equal((await waiting).id, 0)
  })

  test('a pool whose server is away does not keep the place that it cannot use', async () => {
    const tenants = new Tenants(2)
    const [dead, fine] = [tenants.add({ acquireTimeoutMillis: 20_000 }), tenants.add()]
    dead.factory.onCreate.always({ rejects: Object.assign(new Error('gone'), { code: 'ECONNREFUSED' }) })
    const failed = Promise.allSettled([dead.pool.acquire(), dead.pool.acquire(), dead.pool.acquire()])
    const seen = tenants.load(fine.pool, 4, 10, tenants.clock.now() + 5000)
    await tenants.clock.advance(6000)
    assert.ok(seen.served > 4 * 250 * 0.8, `${seen.served} served`)
    await tenants.clock.advance(20_000)
    await failed
  })
})

describe('idle connections of one pool are given up for another', () => {
  test('the one that has been idle longest, of any pool', async () => {
    const tenants = new Tenants(4)
    const [a, b, c] = [tenants.add({ fifo: false }), tenants.add({ fifo: false }), tenants.add()]
    const [a0, a1] = await Promise.all([a.pool.acquire(), a.pool.acquire()])
    const [b0, b1] = await Promise.all([b.pool.acquire(), b.pool.acquire()])
    for (const [pool, connection] of [
      [b.pool, b1],
      [a.pool, a0],
      [b.pool, b0],
      [a.pool, a1],
    ] as const) {
      await pool.release(connection)
      await tenants.clock.advance(100)
    }
    const gone: string[] = []
    a.pool.on('destroy', ({ resource, reason }) => gone.push(`a${resource.id} ${reason}`))
    b.pool.on('destroy', ({ resource, reason }) => gone.push(`b${resource.id} ${reason}`))
    await c.pool.acquire()
    await c.pool.acquire()
    await c.pool.acquire()
    assert.deepEqual(gone, [`b${b1.id} surplus`, `a${a0.id} surplus`, `b${b0.id} surplus`])
  })

  test('only as many as are needed, and none while a place is free', async () => {
    const tenants = new Tenants(6)
    const [a, b] = [tenants.add(), tenants.add()]
    const held = await Promise.all(Array.from({ length: 4 }, () => a.pool.acquire()))
    for (const connection of held) await a.pool.release(connection)
    const taken = await Promise.all([b.pool.acquire(), b.pool.acquire()])
    assert.deepEqual(sizes(tenants), [4, 2])
    await b.pool.acquire()
    await tenants.clock.advance(10)
    assert.deepEqual(sizes(tenants), [3, 3])
    assert.equal(taken.length, 2)
  })

  test('never below its min: that is kept for it, even while it has none', async () => {
    const tenants = new Tenants(4)
    const a = tenants.add({ min: 2 })
    await tenants.clock.advance(1)
    const b = tenants.add({ min: 1, autostart: false })
    const c = tenants.add()
    const served = [c.pool.acquire(), c.pool.acquire()]
    await tenants.clock.advance(50)
    assert.deepEqual(sizes(tenants), [2, 0, 1])
    assert.equal(c.pool.pending, 1)
    assert.equal(tenants.budget.stats().reserved, 1)
    await b.pool.acquire()
    assert.deepEqual(sizes(tenants), [2, 1, 1])
    await c.pool.release(await (served[0] as Promise<Connection>))
    await served[1]
    assert.equal(a.factory.ledger.destroyed.length, 0)
  })

  test('a pool that takes no waiting acquires still gets them', async () => {
    const tenants = new Tenants(2)
    const [a, b] = [tenants.add(), tenants.add({ maxWaitingClients: 0 })]
    const held = [await a.pool.acquire(), await a.pool.acquire()] as const
    await assert.rejects(b.pool.acquire(), { code: 'POOL_QUEUE_FULL' })
    await a.pool.release(held[0])
    assert.equal((await b.pool.acquire()).id, 0)
  })

  test('those whose acquires have gone meanwhile are given up, too, by whichever way they became idle', async () => {
    const tenants = new Tenants(1)
    const [a, b] = [tenants.add(), tenants.add()]
    a.factory.onCreate.next('held')
    const abort = new AbortController()
    const left = a.pool.acquire({ signal: abort.signal })
    left.catch(() => {})
    const dial = await a.factory.onCreate.call()
    const waiting = b.pool.acquire()
    await settle()
    abort.abort()
    dial.ok()
    await tenants.clock.advance(10)
    assert.equal((await waiting).id, 0)
    assert.deepEqual(sizes(tenants), [0, 1])
  })
})

describe('no pool of a budget starves', () => {
  test('two tenants with more callers than places: both get half of them, and then no connection moves any more', async () => {
    const tenants = new Tenants(10)
    const [a, b] = [tenants.add(), tenants.add()]
    const end = tenants.clock.now() + 20_000
    tenants.load(a.pool, 50, 10, end)
    await tenants.clock.advance(1000)
    assert.deepEqual(sizes(tenants), [10, 0])
    const late = tenants.load(b.pool, 50, 10, end)
    await tenants.clock.advance(1000)
    assert.deepEqual(sizes(tenants), [5, 5])
    assert.ok(late.longest < 300, `waited ${late.longest} ms`)
    const made = tenants.all.map(({ factory }) => factory.ledger.created.length)
    await tenants.clock.advance(10_000)
    assert.deepEqual(sizes(tenants), [5, 5])
    assert.deepEqual(
      tenants.all.map(({ factory }) => factory.ledger.created.length),
      made,
    )
    await tenants.clock.advance(20_000)
  })

  test('more tenants than places take turns: whoever has none gets the place of one whose acquires came later', async () => {
    const tenants = new Tenants(2)
    for (let index = 0; index < 5; index += 1) tenants.add()
    const end = tenants.clock.now() + 10_000
    const seen = tenants.all.map(({ pool }) => tenants.load(pool, 3, 10, end))
    await tenants.clock.advance(12_000)
    for (const { served, longest } of seen) {
      assert.ok(served > 200, `served ${served} times`)
      assert.ok(longest <= 500, `waited ${longest} ms`)
    }
    assert.ok(tenants.all.every(({ factory }) => factory.ledger.mostOpen <= 2))
  })

  test('a stream of high priorities in one pool, which its own low ones may starve by, does not starve another', async () => {
    const tenants = new Tenants(1)
    const [a, b] = [tenants.add({ priorityRange: 2 }), tenants.add()]
    const end = tenants.clock.now() + 2000
    tenants.load(a.pool, 5, 10, end)
    const low = a.pool.use(() => {}, 1)
    await tenants.clock.advance(100)
    const other = b.pool.acquire()
    await tenants.clock.advance(200)
    assert.equal(b.pool.borrowed, 1)
    await b.pool.release(await other)
    await tenants.clock.advance(3000)
    await low
  })

  test('a pool keeps its min although its own acquires wait and those of others do, too', async () => {
    const tenants = new Tenants(4)
    const [a, b] = [tenants.add({ min: 3 }), tenants.add()]
    const end = tenants.clock.now() + 3000
    tenants.load(a.pool, 20, 10, end)
    tenants.load(b.pool, 20, 10, end)
    await tenants.clock.advance(1000)
    assert.deepEqual(sizes(tenants), [3, 1])
    await tenants.clock.advance(5000)
  })

  test('a place that comes free goes to the pool that has fewest, and among equals to the one that waits longest', async () => {
    const tenants = new Tenants(3)
    const [a, b, c] = [tenants.add(), tenants.add(), tenants.add()]
    const [first, second] = await Promise.all([a.pool.acquire(), a.pool.acquire()])
    await b.pool.acquire()
    const order: string[] = []
    const later = [
      ['b', b.pool.acquire()],
      ['c', c.pool.acquire()],
      ['a', a.pool.acquire()],
    ] as const
    for (const [name, acquire] of later)
      acquire.then(
        () => order.push(name),
        () => {},
      )
    await settle()
    // Destroyed, so that the places come free, and nothing is passed on within a.
    await a.pool.destroy(first)
    await tenants.clock.advance(10)
    await a.pool.destroy(second)
    await tenants.clock.advance(10)
    assert.deepEqual(order, ['c', 'a'])
  })
})

describe('the life of the pools of a budget', () => {
  test('a closed pool returns all that it had, in whatever order they are closed', async () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
    ]) {
      const tenants = new Tenants(6)
      tenants.add({ min: 2 })
      tenants.add({ min: 1 })
      tenants.add()
      const taken = tenants.all.map(({ pool }) => pool.acquire())
      await tenants.clock.advance(10)
      await Promise.all(taken)
      for (const [closed, index] of order.entries()) {
        const { pool } = tenants.all[index] as Tenant
        const closing = pool.close({ timeoutMillis: 5 }).catch(error => assert.ok(isPoolError(error)))
        await tenants.clock.advance(100)
        await closing
        const left = tenants.budget.stats()
        assert.equal(left.pools.length, 2 - closed)
        assert.equal(left.used, tenants.open)
      }
      assert.deepEqual(tenants.budget.stats(), { name: 'shared', max: 6, used: 0, reserved: 0, pools: [] })
    }
  })

  test('what a closed pool leaves goes to those that wait', async () => {
    const tenants = new Tenants(2)
    const [a, b] = [tenants.add(), tenants.add()]
    const held = await Promise.all([a.pool.acquire(), a.pool.acquire()])
    const waiting = Promise.all([b.pool.acquire(), b.pool.acquire()])
    const closing = a.pool.close()
    for (const connection of held) await a.pool.release(connection)
    await tenants.clock.advance(10)
    await closing
    assert.equal((await waiting).length, 2)
  })

  test('a pool that is dropped with a claim on a place takes none when it is closed', async () => {
    const tenants = new Tenants(1)
    const [a, b] = [tenants.add(), tenants.add()]
    const held = await a.pool.acquire()
    const waiting = b.pool.acquire()
    waiting.catch(() => {})
    const closing = b.pool.close({ timeoutMillis: 1 })
    closing.catch(() => {})
    await tenants.clock.advance(5)
    await assert.rejects(waiting, { code: 'POOL_CLOSED' })
    await a.pool.release(held)
    await tenants.clock.advance(5)
    assert.deepEqual(sizes(tenants), [1, 0])
    assert.equal(b.factory.onCreate.calls, 0)
  })

  test('resize: what a pool gives up goes to the others, and a min that does not fit is refused', async () => {
    const tenants = new Tenants(4)
    const [a, b] = [tenants.add({ min: 2 }), tenants.add()]
    await tenants.clock.advance(1)
    const served = [b.pool.acquire(), b.pool.acquire(), b.pool.acquire()]
    await tenants.clock.advance(5)
    assert.deepEqual(sizes(tenants), [2, 2])
    a.pool.resize({ min: 0 })
    await tenants.clock.advance(5)
    assert.deepEqual(sizes(tenants), [1, 3])
    await Promise.all(served)
    assert.throws(
      () => a.pool.resize({ min: 5 }),
      /min \(5\) must not be above the max of the budget 'shared' \(4\)/,
    )
    b.pool.resize({ min: 2 })
    assert.throws(
      () => a.pool.resize({ min: 3 }),
      /min \(3\), with the min of pools .+ \(2\), must not be above the max of the budget 'shared' \(4\)/,
    )
  })

  test('listeners and hooks that call back into the pools do no harm', async () => {
    const tenants = new Tenants(2)
    const [a, b] = [tenants.add(), tenants.add()]
    const more: Promise<unknown>[] = []
    a.pool.on('destroy', () =>
      more.push(
        b.pool.use(() => {}),
        a.pool.use(() => {}),
      ),
    )
    b.pool.on('connect', () => more.push(a.pool.use(() => {})))
    for (const connection of await Promise.all([a.pool.acquire(), a.pool.acquire()]))
      await a.pool.release(connection)
    await b.pool.use(() => {})
    await tenants.clock.advance(100)
    await Promise.all(more)
    assert.ok(more.length > 2)
    assert.ok(tenants.budget.stats().used <= 2)
  })
})

describe('what is said of a budget', () => {
  test('a timeout names who has used it up', async () => {
    const tenants = new Tenants(3)
    const [a, b] = [tenants.add({ name: 'a' }), tenants.add({ name: 'b', acquireTimeoutMillis: 50 })]
    await Promise.all([a.pool.acquire(), a.pool.acquire(), b.pool.acquire()])
    const failed = b.pool.acquire().catch(error => error)
    await tenants.clock.advance(100)
    const error = await failed
    assert.equal(error.code, 'POOL_ACQUIRE_TIMEOUT')
    assert.match(error.message, /the budget 'shared' of 3 is used up by pools a \(2\), b \(1\)/)
    assert.match(error.message, /raise the max of the budget/)
    assert.deepEqual(error.stats.budget.pools, [
      { pool: 'a', used: 2, pending: 0 },
      { pool: 'b', used: 1, pending: 0 },
    ])
    await assert.rejects(
      b.pool.acquire({ timeoutMillis: 0 }),
      /the budget 'shared' of 3 is used up by pools a \(2\)/,
    )
  })

  test('not where the pool itself is full, or the budget has places', async () => {
    const tenants = new Tenants(2)
    const { pool } = tenants.add({ name: 'a', max: 1, acquireTimeoutMillis: 50 })
    await pool.acquire()
    const failed = pool.acquire().catch(error => error)
    await tenants.clock.advance(100)
    assert.match((await failed).message, /All connections are lent/)
  })

  test('places that are kept for others are named', async () => {
    const tenants = new Tenants(2)
    tenants.add({ min: 1, autostart: false })
    const { pool } = tenants.add({ name: 'b', acquireTimeoutMillis: 50 })
    await pool.acquire()
    const failed = pool.acquire().catch(error => error)
    await tenants.clock.advance(100)
    assert.match((await failed).message, /used up by pool b \(1\), with 1 kept for pools below their min/)
  })

  test('stats and reports show it', async () => {
    const tenants = new Tenants(20)
    const [a, b] = [tenants.add({ name: 'a' }), tenants.add({ name: 'b' })]
    await Promise.all([a.pool.acquire(), a.pool.acquire(), b.pool.acquire()])
    assert.equal(
      tenants.budget.report(),
      "budget 'shared': 3 of 20 connections in use\n  pool 'a': 2 connections, 0 acquires waiting\n" +
        "  pool 'b': 1 connections, 0 acquires waiting",
    )
    assert.match(a.pool.report(), /budget 'shared': 3 of 20 connections in use by pools a \(2\), b \(1\)\n/)
    assert.deepEqual(a.pool.stats().budget, tenants.budget.stats())
    const alone = openPool(scripted(), { max: 1 }, false)
    assert.ok(!('budget' in alone.stats()))
    assert.ok(!alone.report().includes('budget'))
    await alone.close()
    assert.equal(insidesOf(alone).connector.capacity.share, undefined)
  })

  test('bad input is refused, in words', () => {
    const bad = (options: unknown): string => {
      try {
        createBudget(options as { max: number })
        return 'accepted'
      } catch (error) {
        assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
        return error.message
      }
    }
    assert.match(bad(undefined), /createBudget needs \{ max \}, got undefined/)
    assert.match(bad({}), /max must be a whole number ≥ 1, got undefined/)
    assert.match(
      bad({ max: 0, name: '', min: 2 }),
      /max must be .+ got 0; name must be .+; min is not an option of a budget/,
    )
    assert.match(bad({ max: Number.POSITIVE_INFINITY }), /max must be a whole number/)
    const pool = (budget: unknown, more = {}): void =>
      void openPool(scripted(), { budget: budget as Budget, max: 9, ...more }, false)
    for (const budget of [20, { max: 20 }, null, 'shared'])
      assert.throws(() => pool(budget), /budget must be made by createBudget\(\{ max \}\), got/)
    const budget = createBudget({ max: 5, name: 'small' })
    pool(budget, { name: 'a', min: 3, autostart: false })
    assert.throws(
      () => pool(budget, { min: 3 }),
      /min \(3\), with the min of pools a \(3\), must not be above the max of the budget 'small' \(5\)/,
    )
    assert.throws(
      () => pool(createBudget({ max: 2 }), { min: 3 }),
      /min \(3\) must not be above the max of the budget/,
    )
    // Nothing of a pool that was refused stays behind.
    pool(budget, { min: 2, autostart: false })
    assert.throws(
      () => pool(budget),
      /min \(0\), with the min of pools .+, must leave a place, for pools without a min, of the max of the budget/,
    )
    assert.match(createBudget({ max: 1 }).name, /^budget-\d+$/)
  })
})
