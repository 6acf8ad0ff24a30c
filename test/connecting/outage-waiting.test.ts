import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Connection } from '../support/factories.ts'
import { insidesOf } from '../support/insides.ts'
import { call, hangUp, refused, setUp, setUpWired, type Told, type World } from './outage-pool.ts'

/*
 * Who waits in an outage, for whom, and for how long.
 */

async function lent({ pool, clock }: World, count: number): Promise<Connection[]> {
  const asked = Array.from({ length: count }, () => pool.acquire())
  await clock.advance(50)
  return Promise.all(asked)
}

/** What becomes of callers, one every 50 ms, from 4 s after the server has gone until 12 s after it. */
async function lateCallers({ pool, clock }: World): Promise<Told[]> {
  const told: Told[] = []
  const early: Told[] = []
  for (let at = 0; at < 12_000; at += 50) {
    call(pool, clock, at < 4000 ? early : told)
    await clock.advance(50)
  }
  return told
}

const KEPT: Readonly<Record<string, (world: World) => Promise<void>>> = {
  'is dead and held by its borrower': async world => {
    const [held] = await lent(world, 1)
    hangUp(held as Connection)
  },
  'is held by its borrower and of a generation that has ended': async world => {
    await lent(world, 1)
    world.pool.purge('a failover')
  },
  'has been held for longer than anybody waits, and may be alive for all that is known': async world => {
    await lent(world, 1)
    await world.clock.advance(4000)
  },
  'is dead and being reset for ever': async world => {
    const [held] = await lent(world, 1)
    world.factory.onReset.always('hangs')
    void world.pool.release(held as Connection)
    hangUp(held as Connection)
  },
}

for (const [how, keep] of Object.entries(KEPT)) {
  test(`a connection that ${how}, does not keep callers waiting for it while the server is away`, async () => {
    const hooks = how.includes('reset') ? (['reset'] as const) : []
    const world = setUpWired({ max: 3, resetTimeoutMillis: 60_000 }, ...hooks)
    await keep(world)
    world.factory.onCreate.always({ rejects: refused() })
    const told = await lateCallers(world)
    assert.equal(told.length, 160)
    for (const { cameAt, at, error } of told) {
      assert.equal(error?.code, 'POOL_UNHEALTHY')
      assert.ok(at - cameAt <= 5, `told after ${at - cameAt} ms`)
    }
  })
}

test('a wrong password is told at once although a dead connection is still held', async () => {
  const world = setUpWired({ max: 3 })
  const [held] = await lent(world, 1)
  hangUp(held as Connection)
  world.factory.onCreate.always({ rejects: new TypeError('no password') })
  const told: Told[] = []
  call(world.pool, world.clock, told)
  await world.clock.advance(100)
  assert.equal(told[0]?.error?.code, 'POOL_CONNECT_FAILED')
})

test('the last working connection dies while the breaker is open: who waits for it is told by the next probe', async () => {
  const world = setUpWired({ max: 3 })
  const { clock, pool, factory } = world
  const [held] = await lent(world, 1)
  factory.onCreate.always({ rejects: refused() })
  const told: Told[] = []
  const early: Told[] = []
  for (let at = 0; at < 4500; at += 100) {
    call(pool, clock, pool.stats().breaker === 'open' ? told : early)
    await clock.advance(100)
  }
  assert.equal(told.length, 0, 'they wait for the one that is lent')
  hangUp(held as Connection)
  await clock.advance(1100)
  assert.ok(told.length >= 15)
  assert.ok(told.every(({ error }) => error?.code === 'POOL_UNHEALTHY'))
  assert.equal(pool.pending + early.length + told.length, 45)
})

for (const awayMillis of [3000, 4200, 4900]) {
  test(`a server that is back after ${awayMillis} ms, when the breaker is open, is found at once by those who have waited since before`, async () => {
    const { clock, pool, factory, since } = setUp({ max: 3 })
    factory.onCreate.always({ rejects: refused() })
    const told: Told[] = []
    const gone = clock.now()
    for (let at = 0; at < awayMillis; at += 20) {
      call(pool, clock, told)
      await clock.advance(20)
    }
    assert.equal(pool.stats().breaker, 'open')
    const early = told.length
    assert.ok(told.every(({ error }) => error?.code === 'POOL_UNHEALTHY'))
    factory.onCreate.always('ok')
    const back = clock.now()
    await clock.advance(60)
    const [first] = told.slice(early)
    assert.equal(first?.error, undefined)
    assert.ok((first?.at ?? 0) - back <= 60)
    await clock.advance(400)
    const served = told.slice(early)
    assert.ok(served.length > 100 && served.every(({ error }) => error === undefined))
    for (let at = gone; at < back - 1000; at += 250) {
      const inASecond = since(at).filter(dial => dial < at + 1000).length
      assert.ok(inASecond <= 20, `${inASecond} dials in a second`)
    }
  })
}

test('nobody has waited since before the breaker opened: it backs off at once, and whoever can wait longer does not hurry it', async () => {
  for (const timeoutMillis of [1000, 60_000]) {
    const { clock, pool, factory, since } = setUp({ max: 3 })
    factory.onCreate.always({ rejects: refused() })
    const gone = clock.now()
    for (let at = 0; at < 12_000; at += 50) {
      pool.acquire({ timeoutMillis }).catch(() => {})
      await clock.advance(50)
    }
    // As long again as it took to open, then nobody hurries it any more.
    const from = gone + (timeoutMillis === 1000 ? 3600 : 5100)
    const seconds = (clock.now() - from) / 1000
    const rate = since(from).length / seconds
    assert.ok(rate <= 2, `${rate} dials a second, who waits does so for ${timeoutMillis} ms`)
  }
})

for (const createTimeoutMillis of [100, 300, 1000]) {
  test(`a connect that hangs for its ${createTimeoutMillis} ms is followed by the next one at once, the time was pause enough`, async () => {
    const { clock, pool, factory, dials } = setUp({
      max: 3,
      createTimeoutMillis,
      unhealthyAfterMillis: 60_000,
    })
    factory.onCreate.always('hangs')
    pool.acquire({ timeoutMillis: 30_000 }).catch(() => {})
    await clock.advance(20 * createTimeoutMillis)
    const later = dials.slice(2)
    const gaps = later.slice(1).map((at, index) => at - (later[index] as number))
    assert.ok(Math.max(...gaps) <= createTimeoutMillis + 60, `${gaps}`)
    assert.ok(gaps.length >= 8)
  })
}

test('the stacks of those who wait in an outage are not taken: reading them all would delay its end', async () => {
  const world = setUpWired({ max: 3 })
  const { queue } = insidesOf(world.pool)
  const stacks = () => [...queue.waiters()].filter(({ trace }) => trace !== undefined).length
  const held = await lent(world, 3)
  const told: Told[] = []
  call(world.pool, world.clock, told)
  assert.equal(stacks(), 1, 'one who waits for a lease')
  world.factory.onCreate.always({ rejects: refused() })
  for (const connection of held) hangUp(connection)
  await Promise.all(held.map(connection => world.pool.destroy(connection)))
  await world.clock.advance(200)
  for (let caller = 0; caller < 50; caller += 1) call(world.pool, world.clock, told)
  assert.deepEqual([queue.waiting, stacks()], [51, 1])
})
