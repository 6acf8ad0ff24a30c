import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { PoolOptions } from '../../src/api/options/options.ts'
import type { ControlConnection, ControlPlace } from '../../src/connecting/control-place.ts'
import { createBudget, createPool, type Pool } from '../../src/index.ts'
import { settle } from '../support/clock.ts'
import { type Connection, eventually, type ScriptedFactory, scripted } from '../support/factories.ts'
import { Chance, seedFrom } from '../support/random.ts'

/** Long enough never to be over in these tests. */
const PATIENT = 600_000

// Nothing here keeps the process alive by itself.
const hold = setInterval(() => {}, 1000)
after(() => clearInterval(hold))

interface Scene {
  readonly factory: ScriptedFactory
  readonly pool: Pool<Connection>
  readonly place: ControlPlace<Connection>
}

function scene(options: PoolOptions, ...hooks: readonly ('validate' | 'reset')[]): Scene {
  const factory = scripted(...hooks)
  const pool = createPool(factory, { nested: 'allow', ...options })
  return { factory, pool, place: pool.controlPlace }
}

/** A control connection that is closed a turn after the pool has asked for its place. */
class Control implements ControlConnection {
  asked = 0
  #isLeaving = false
  readonly #place: ControlPlace<Connection>

  constructor(place: ControlPlace<Connection>) {
    this.#place = place
  }

  giveWay(): void {
    this.asked += 1
    if (this.#isLeaving) return
    this.#isLeaving = true
    setImmediate(() => {
      this.#isLeaving = false
      this.#place.leave(this)
    })
  }
}

/** Ways in which a connection is not simply handed on when it is returned. */
const WAYS: readonly (readonly [string, PoolOptions, readonly ('validate' | 'reset')[]])[] = [
  ['as usual', {}, []],
  ['testOnBorrow', { testOnBorrow: true }, ['validate']],
  ['testOnReturn', { testOnReturn: true }, ['validate']],
  ['a reset', {}, ['reset']],
]

for (const [way, options, hooks] of WAYS)
  describe(`a full pool whose acquires wait, ${way}`, () => {
    test('the next connection that is returned gives its place, and who waits is served after it', async () => {
      const { factory, pool, place } = scene({ ...options, max: 1 }, ...hooks)
      const control = new Control(place)
      const held = await pool.acquire()
      const waiting = pool.use(({ id }) => id)
      const claimed = place.claim(control, PATIENT, 0)
      await settle()
      assert.equal(place.isTaken, false)
      await pool.release(held)
      assert.equal(await claimed, true)
      assert.equal(factory.ledger.open.size, 0)
      await eventually(() => control.asked > 0, { what: 'the place is asked for' })
      assert.equal(await waiting, 1, 'over a new connection')
      assert.equal(factory.ledger.mostOpen, 1)
      await pool.close()
    })

    test('the next connection that is returned answers a question, and is lent then', async () => {
      const { factory, pool, place } = scene({ ...options, max: 1 }, ...hooks)
      const held = await pool.acquire()
      const order: string[] = []
      const waiting = pool.use(() => order.push('served'))
      const answered = place.ask(async ({ id }) => {
        await settle()
        order.push('asked')
        return id
      }, PATIENT)
      await pool.release(held)
      assert.deepEqual(await answered, { answer: 0 })
      await waiting
      assert.deepEqual(order, ['asked', 'served'])
      assert.equal(factory.ledger.created.length, 1)
      await pool.close()
    })
  })

test('a connection that was never lent is not given up: whoever waits for it would start again and again', async () => {
  const { factory, pool, place } = scene({ max: 1 })
  factory.onCreate.next('held')
  const served = pool.use(({ id }) => id)
  await settle()
  const claimed = place.claim(new Control(place), PATIENT, 0)
  const create = await factory.onCreate.call()
  create.ok()
  assert.equal(await served, 0)
  assert.equal(await claimed, true)
  await pool.close()
})

test('a connection that is closed before it was lent gives its place to a claim, and who waits waits again', async () => {
  const { factory, pool, place } = scene({ max: 1 })
  factory.onCreate.next('held')
  const order: string[] = []
  const served = pool.use(() => order.push('served'))
  await settle()
  const claimed = place.claim(new Control(place), PATIENT, 0).then(() => order.push('claimed'))
  const create = await factory.onCreate.call()
  pool.purge()
  create.ok()
  await Promise.all([served, claimed])
  assert.deepEqual(order, ['served', 'claimed'])
  await pool.close()
})

test('a connection is given up although two places are free, as only one more may be connected at a time', async () => {
  const { factory, pool, place } = scene({ max: 3, maxConnecting: 1 })
  factory.onCreate.next('held')
  const served = [pool.use(({ id }) => id), pool.use(({ id }) => id)]
  const control = new Control(place)
  const claimed = place.claim(control, PATIENT, 0)
  assert.equal(place.isTaken, true)
  assert.equal(await claimed, true)
  const create = await factory.onCreate.call()
  create.ok()
  await Promise.all(served)
  assert.equal(factory.ledger.destroyed.length, 0)
  await pool.close()
})

test('the last place is not taken while an acquire needs it, and given back when one does', async () => {
  const { pool, place } = scene({ max: 2 })
  const control = new Control(place)
  assert.equal(place.take(control), true)
  const first = await pool.acquire()
  assert.equal(control.asked, 0, 'there was another place')
  const second = await pool.acquire()
  assert.ok(control.asked > 0)
  assert.equal(place.isFree, false)
  assert.equal(place.take(control), false)
  assert.equal(pool.max, 2)
  assert.equal(pool.stats().max, 2)
  await pool.release(first)
  await pool.release(second)
  await pool.close()
})

test('min is kept in the end: the control connection makes room for it', async () => {
  const { pool, place } = scene({ max: 2, min: 2, autostart: false })
  const control = new Control(place)
  assert.equal(place.take(control), true)
  pool.start()
  await pool.ready()
  assert.equal(pool.available, 2)
  assert.equal(place.isTaken, false)
  assert.deepEqual(await place.ask(async ({ id }) => typeof id, PATIENT), { answer: 'number' })
  await eventually(() => pool.available === 2)
  await pool.close()
})

test('who holds all connections itself is told at once that there is no place', async () => {
  const { pool, place } = scene({ max: 1 })
  const held = await pool.acquire()
  assert.equal(await place.claim(new Control(place), PATIENT, 1), false)
  await pool.release(held)
  await pool.close()
})

test('a place that comes too late is used by the pool', async () => {
  const { factory, pool, place } = scene({ max: 1 })
  const held = await pool.acquire()
  assert.equal(await place.claim(new Control(place), 5, 0), false)
  assert.equal(await place.ask(async () => 'never', 5), undefined)
  const waiting = pool.use(({ id }) => id)
  await pool.release(held)
  assert.equal(await waiting, 0)
  assert.equal(factory.ledger.created.length, 1)
  await pool.close()
})

for (const max of [1, 2, 3])
  test(`a pool whose min and max are ${max} has one socket too many for ever, as nothing waits for its place`, async () => {
    const { factory, pool, place } = scene({ max, min: max })
    const control = new Control(place)
    place.enter(control)
    await pool.ready()
    await eventually(() => !place.isTaken, { what: 'the place is given back' })
    assert.equal(factory.ledger.open.size, max)
    assert.equal(place.take(control), false)
    await pool.close()
  })

for (const max of [1, 2, 3])
  test(`a pool that starts beside a control connection in its last place never has min = max = ${max}`, async () => {
    const { factory, pool, place } = scene({ max, min: max, autostart: false })
    const control = new Control(place)
    place.enter(control)
    await pool.ready()
    assert.equal(place.isTaken, false)
    assert.equal(factory.ledger.mostOpen, max)
    await pool.close()
  })

for (const autostart of [true, false])
  test(`a min that is raised while a control connection has the only place is never kept, autostart ${autostart}`, async () => {
    const { pool, place } = scene({ max: 1, autostart })
    const control = new Control(place)
    assert.equal(place.take(control), true)
    pool.resize({ min: 1 })
    await pool.ready()
    assert.equal(place.isTaken, false)
    await pool.close()
  })

test('a claim that gets the only place during a clear keeps it for ever, and min is not kept again', async () => {
  const { factory, pool, place } = scene({ max: 1, min: 1 })
  await pool.use(() => {})
  factory.onDestroy.next('held')
  const cleared = pool.clear()
  const claimed = place.claim(new Control(place), PATIENT, 0)
  const destroy = await factory.onDestroy.call()
  destroy.ok()
  await cleared
  assert.equal(await claimed, true)
  await pool.ready()
  assert.equal(place.isTaken, false)
  await pool.close()
})

test('a resize to fewer leaves a control connection above max, as nothing waits for its place', async () => {
  const { pool, place } = scene({ max: 2 })
  const control = new Control(place)
  const held = await pool.acquire()
  assert.equal(place.take(control), true)
  pool.resize({ max: 1 })
  await eventually(() => !place.isTaken, { what: 'the place is given back' })
  await pool.release(held)
  await pool.close()
})

test('a resize while a connection is given up: its place is no longer within max', async () => {
  const { factory, pool, place } = scene({ max: 2 })
  const held = [await pool.acquire(), await pool.acquire()]
  const claimed = place.claim(new Control(place), PATIENT, 0)
  void pool.release(held[0] as Connection)
  pool.resize({ max: 1 })
  await eventually(() => factory.ledger.open.size === 1, { what: 'it is closed' })
  assert.equal(place.isTaken, false)
  await pool.release(held[1] as Connection)
  assert.equal(await claimed, true)
  assert.equal(factory.ledger.open.size, 0)
  await pool.close()
})

/** Ways in which a connection ends with its loan. */
const ENDS: readonly (readonly [
  string,
  PoolOptions,
  (pool: Pool<Connection>, held: Connection) => unknown,
])[] = [
  ['maxUses: 1', { maxUses: 1 }, (pool, held) => pool.release(held)],
  ['destroy', {}, (pool, held) => pool.destroy(held)],
  [
    'a purge',
    {},
    (pool, held) => {
      pool.purge()
      return pool.release(held)
    },
  ],
]

for (const [end, options, giveBack] of ENDS)
  test(`a connection that ends with its loan gives its place to nobody who claims one: ${end}`, async () => {
    const { factory, pool, place } = scene({ ...options, max: 1 })
    const held = await pool.acquire()
    const waiting = pool.use(({ id }) => id)
    const claimed = place.claim(new Control(place), PATIENT, 0)
    await settle()
    await giveBack(pool, held)
    assert.equal(await Promise.race([claimed, waiting.then(() => 'served first')]), true)
    assert.equal(await waiting, 1)
    assert.equal(factory.ledger.mostOpen, 1)
    await pool.close()
  })

test('a connection is given up although a place is free, as a budget keeps the pool from using it', async () => {
  const budget = createBudget({ max: 2 })
  const { factory, pool, place } = scene({ max: 2, budget })
  const other = createPool(scripted(), { max: 2, budget, nested: 'allow' })
  const [held, others] = [await pool.acquire(), await other.acquire()]
  const waiting = [pool.use(({ id }) => id), other.use(({ id }) => id)]
  await settle()
  let asked = 0
  const control = { giveWay: () => (asked += 1) }
  assert.equal(await place.claim(control, PATIENT, 0), true)
  assert.ok(asked > 0, 'it is asked to give the place back at once: the budget may have one soon')
  await other.destroy(others)
  place.leave(control)
  assert.equal(await waiting[1], 1)
  await pool.release(held)
  assert.equal(await waiting[0], 0)
  assert.equal(factory.ledger.destroyed.length, 0)
  await Promise.all([pool.close(), other.close()])
  assert.equal(budget.stats().used, 0)
})

test('a pool without a connection keeps its turn in the budget', async () => {
  const budget = createBudget({ max: 1 })
  const { pool, place } = scene({ max: 1, budget })
  const other = createPool(scripted(), { max: 1, budget, nested: 'allow' })
  const held = await other.acquire()
  const waiting = pool.use(({ id }) => id)
  const control = new Control(place)
  const claimed = place.claim(control, PATIENT, 0)
  await settle()
  assert.equal(place.isTaken || control.asked > 0, false)
  await other.release(held)
  assert.equal(await waiting, 0)
  assert.equal(await claimed, true)
  await Promise.all([pool.close(), other.close()])
})

test('a budget gets the place of a connection that was given up, and the pool gets one again', async () => {
  const budget = createBudget({ max: 2 })
  const { pool, place } = scene({ max: 1, budget })
  const other = createPool(scripted(), { max: 2, budget, nested: 'allow' })
  const control = new Control(place)
  const held = [await pool.acquire(), await other.acquire()]
  const waiting = pool.use(({ id }) => id)
  const claimed = place.claim(control, PATIENT, 0)
  await pool.release(held[0] as Connection)
  assert.equal(await claimed, true)
  assert.equal(await waiting, 1)
  await other.release(held[1] as Connection)
  await Promise.all([pool.close(), other.close()])
  assert.equal(budget.stats().used, 0)
})

test('a question that is never answered ends its connection, and no acquire', async () => {
  const { factory, pool, place } = scene({ max: 1, validateTimeoutMillis: 20 })
  await pool.use(() => {})
  void place.ask(() => new Promise(() => {}), PATIENT)
  assert.equal(await pool.use(({ id }) => id), 1)
  assert.equal(factory.ledger.mostOpen, 1)
  await pool.close()
})

test('whatever happens in whatever order: never more than max, and in the end everybody is served', async () => {
  const seed = seedFrom('CONTROL_SEED')
  for (let round = 0; round < 150; round += 1) {
    const chance = new Chance(seed + round)
    const max = 1 + chance.below(3)
    const hooks = chance.pick([[], ['reset'], ['validate']] as const)
    const testOnBorrow = hooks[0] === 'validate' && chance.oneIn(2)
    const min = chance.below(max + 1)
    const maxUses = chance.pick([1, 2, Number.POSITIVE_INFINITY])
    const budget = chance.oneIn(2) ? createBudget({ max: min + 1 + chance.below(2) }) : undefined
    const shared = budget === undefined ? {} : { budget }
    const { factory, pool, place } = scene({ max, testOnBorrow, min, maxUses, ...shared }, ...hooks)
    // It has the budget's other places, and waits for more.
    const other = createPool(scripted(), { max: 2, nested: 'allow', ...shared })
    const othersLent: Connection[] = []
    const acquireOther = () => waits.push(other.acquire().then(each => othersLent.push(each)))
    const controls = [new Control(place), new Control(place)]
    const lent: Connection[] = []
    const waits: Promise<unknown>[] = []
    const acquire = () => waits.push(pool.acquire().then(each => lent.push(each)))
    const steps: readonly (() => unknown)[] = [
      acquire,
      acquire,
      () => lent.length > 0 && pool.release(lent.splice(chance.below(lent.length), 1)[0] as Connection),
      () => lent.length > 0 && pool.release(lent.splice(chance.below(lent.length), 1)[0] as Connection),
      () => lent.length > 0 && pool.destroy(lent.splice(chance.below(lent.length), 1)[0] as Connection),
      () => place.take(chance.pick(controls)),
      () => waits.push(place.claim(chance.pick(controls), PATIENT, 0)),
      () => waits.push(place.ask(() => settle(), PATIENT)),
      () => place.leave(chance.pick(controls)),
      () => chance.oneIn(5) && pool.purge(),
      acquireOther,
      () => othersLent.length > 0 && other.release(othersLent.pop() as Connection),
      () => othersLent.length > 0 && other.destroy(othersLent.pop() as Connection),
    ]
    const check = (): void => {
      const all = pool.size + (place.isTaken ? 1 : 0)
      assert.ok(all <= max, `${all} of ${max}, CONTROL_SEED=${seed + round}`)
      assert.ok(factory.ledger.open.size + (place.isTaken ? 1 : 0) <= max, `CONTROL_SEED=${seed + round}`)
      const used = pool.size + other.size
      assert.ok(budget === undefined || used <= budget.max, `${used} shared, CONTROL_SEED=${seed + round}`)
    }
    // A control connection that was there before the pool may be one too many at first, and gives way then.
    if (chance.oneIn(2)) {
      place.enter(controls[0] as Control)
      for (let turn = 0; pool.size + (place.isTaken ? 1 : 0) > max || pool.size < min; turn += 1) {
        assert.ok(turn < 1000, `one too many for ever, CONTROL_SEED=${seed + round}: ${pool.report()}`)
        await settle()
      }
    }
    for (let step = 0; step < 60; step += 1) {
      chance.pick(steps)()
      check()
      if (chance.oneIn(2)) await settle()
      check()
    }
    let isOver = false
    const all = Promise.all(waits).then(() => {
      isOver = true
    })
    for (let turn = 0; !isOver; turn += 1) {
      assert.ok(turn < 5000, `somebody waits for ever, CONTROL_SEED=${seed + round}: ${pool.report()}`)
      for (const each of lent.splice(0)) void pool.release(each)
      for (const each of othersLent.splice(0)) void other.release(each)
      for (const control of controls) place.leave(control)
      await settle()
      check()
    }
    await all
    for (const each of lent.splice(0)) void pool.release(each)
    for (const each of othersLent.splice(0)) void other.release(each)
    await Promise.all([pool.close(), other.close()])
    assert.equal(factory.ledger.open.size, 0)
  }
})
