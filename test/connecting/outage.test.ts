import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { Chance } from '../support/random.ts'
import { call, refused, setUp, type Told } from './outage-pool.ts'

for (const max of [1, 3, 10]) {
  test(`a server that is away for 2 s costs nobody an error who can wait for 5 s, with max ${max}`, async () => {
    const { clock, pool, factory, since } = setUp({ max })
    const breaker: string[] = []
    pool.on('breaker', ({ state }) => breaker.push(state))
    const told: Told[] = []
    factory.onCreate.always({ rejects: refused() })
    const gone = clock.now()
    for (let at = 0; at < 2000; at += 10) {
      call(pool, clock, told)
      await clock.advance(10)
    }
    assert.deepEqual(told, [], 'all of them wait')
    assert.deepEqual(breaker, [])
    for (let second = 0; second < 2; second += 1) {
      const from = gone + second * 1000
      const count = since(from).filter(at => at < from + 1000).length
      assert.ok(count >= 10 && count <= 20, `${count} dials in a second`)
    }
    factory.onCreate.always('ok')
    const back = clock.now()
    await clock.advance(60)
    const firstAt = Math.min(...told.map(({ at }) => at))
    assert.ok(firstAt - back <= 60, `first answer after ${firstAt - back} ms`)
    await clock.advance(300)
    assert.equal(told.length, 200)
    assert.ok(told.every(({ error }) => error === undefined))
    assert.ok(since(back).length <= max + 3, `${since(back).length} dials at its return`)
    await pool.close()
  })
}

test('once the server has been away for longer than callers can wait, who comes is told at once, and who waits waits on', async () => {
  const { clock, pool, factory, since } = setUp({ max: 5 })
  const breaker: { state: string; at: number }[] = []
  pool.on('breaker', ({ state }) => breaker.push({ state, at: clock.now() }))
  factory.onCreate.always({ rejects: refused() })
  const gone = clock.now()
  const early: Told[] = []
  call(pool, clock, early)
  await clock.advance(2400)
  assert.deepEqual(breaker, [], 'half of the 5 s that callers wait have not passed')
  await clock.advance(200)
  assert.deepEqual(
    breaker.map(({ state }) => state),
    ['open'],
  )
  const late: Told[] = []
  for (let at = 0; at < 10_000; at += 5) {
    call(pool, clock, late)
    await clock.advance(5)
  }
  assert.equal(late.length, 2000)
  for (const { cameAt, at, error } of late) {
    assert.equal(error?.code, 'POOL_UNHEALTHY')
    assert.match(String(error?.cause), /ECONNREFUSED/)
    assert.ok(at - cameAt <= 5, `told after ${at - cameAt} ms`)
  }
  // Until then those who had come before it opened were waiting.
  const quiet = since(gone + 5100).length / 7.5
  assert.ok(quiet <= 2, `${quiet} dials a second`)
  assert.equal(early[0]?.error?.code, 'POOL_ACQUIRE_TIMEOUT')
  assert.ok((early[0]?.at ?? 0) - gone >= 5000, 'its own deadline, and no earlier')
})

test('how long callers wait for a server to come back is an option, and at least a second by default', async () => {
  for (const [options, after] of [
    [{ acquireTimeoutMillis: 800 }, 1000],
    [{ acquireTimeoutMillis: 20_000 }, 10_000],
    [{ unhealthyAfterMillis: 300 }, 300],
  ] as const) {
    const { clock, pool, factory } = setUp({ max: 2, ...options })
    factory.onCreate.always({ rejects: refused() })
    const opened: number[] = []
    pool.on('breaker', () => opened.push(clock.now()))
    const gone = clock.now()
    for (let at = 0; at < 12_000; at += 50) {
      pool.acquire({ timeoutMillis: 5000 }).catch(() => {})
      await clock.advance(50)
    }
    const took = (opened[0] ?? Number.POSITIVE_INFINITY) - gone
    assert.ok(took >= after && took <= after + 120, `opened after ${took} ms, and not ${after}`)
  }
})

test('after an outage and a quiet night nobody gets the error of the night before', async () => {
  const { clock, pool, factory, since, inFlight } = setUp({ max: 5 })
  factory.onCreate.always({ rejects: refused() })
  for (let at = 0; at < 4000; at += 50) {
    pool.acquire().catch(() => {})
    await clock.advance(50)
  }
  await clock.advance(8 * 3600_000)
  assert.equal(pool.stats().breaker, 'open')
  factory.onCreate.next('held').always('ok')
  const morning = clock.now()
  inFlight.most = 0
  const callers = Array.from({ length: 5 }, () => pool.acquire())
  const probe = await factory.onCreate.call()
  const another = pool.acquire()
  await clock.advance(20)
  assert.equal(since(morning).length, 1, 'one dial finds out for all')
  probe.ok()
  await clock.advance(10)
  for (const connection of await Promise.all(callers)) void pool.release(connection)
  void pool.release(await another)
  assert.equal(pool.stats().breaker, 'closed')
})

test('a dial that hangs is waited for and not doubled, and callers do not wait for it beyond half a second', async () => {
  const { clock, pool, factory, dials } = setUp({ max: 5, createTimeoutMillis: 60_000 })
  factory.onCreate.always({ rejects: refused() })
  for (let at = 0; at < 4000; at += 50) {
    pool.acquire({ timeoutMillis: 400 }).catch(() => {})
    await clock.advance(50)
  }
  await clock.advance(2000)
  factory.onCreate.always('hangs')
  const before = dials.length
  const told: Told[] = []
  for (let at = 0; at < 20_000; at += 50) {
    call(pool, clock, told)
    await clock.advance(50)
  }
  assert.equal(dials.length, before + 1)
  const longest = Math.max(...told.map(({ cameAt, at }) => at - cameAt))
  assert.ok(longest <= 500, `${longest} ms`)
  const last = told.at(-1)
  assert.equal(last?.error?.code, 'POOL_UNHEALTHY')
  assert.ok((last?.at ?? 0) - (last?.cameAt ?? 0) <= 5)
})

test('processes that have lost the same server do not come back in step', async () => {
  const times = await Promise.all(
    [1, 2].map(async seed => {
      const { clock, pool, factory, dials } = setUp({ max: 1 }, new Chance(seed).next)
      factory.onCreate.always({ rejects: refused() })
      pool.acquire().catch(() => {})
      await clock.advance(4900)
      return dials
    }),
  )
  const [a = [], b = []] = times
  const same = a.slice(2).filter(at => b.includes(at)).length
  assert.ok(same < a.length / 4, `${same} of ${a.length} in the same millisecond`)
})

test('a server that is back is not overrun: no more dials at once than maxConnecting, however short the loans are', async () => {
  for (const maxConnecting of [1, 2, 5]) {
    const { clock, pool, factory, inFlight, since } = setUp({ max: 50, maxConnecting })
    factory.onCreate.always({ rejects: refused() })
    const told: Told[] = []
    for (let at = 0; at < 1000; at += 1) {
      call(pool, clock, told, 2)
      await clock.advance(1)
    }
    inFlight.most = 0
    const back = clock.now()
    // Each takes 20 ms, so that loans end and begin by the dozen meanwhile.
    factory.onCreate.always('held')
    const answer = async (): Promise<void> => {
      for (;;) {
        const dial = await factory.onCreate.call()
        clock.after(20, () => dial.ok())
      }
    }
    void answer()
    for (let at = 0; at < 1000; at += 1) {
      call(pool, clock, told, 2)
      await clock.advance(1)
    }
    assert.ok(inFlight.most <= maxConnecting, `${inFlight.most} dials at once`)
    assert.ok(since(back).length <= 50 + 3)
    assert.ok(told.every(({ error }) => error === undefined))
    await clock.advance(2000)
    assert.equal(told.length, 2000)
  }
})

test('callers who give up do not have ever more dials made beside those that hang', async () => {
  const { clock, pool, factory, inFlight } = setUp({ max: 50, maxConnecting: 2, createTimeoutMillis: 10_000 })
  factory.onCreate.always('hangs')
  for (let at = 0; at < 5000; at += 5) {
    pool.acquire({ timeoutMillis: 100 }).catch(() => {})
    await clock.advance(5)
  }
  assert.ok(inFlight.most <= 4, `${inFlight.most} dials at once`)
})

test('a connection that comes back while the server is away serves the next one, and nobody is refused', async () => {
  const { clock, pool, factory } = setUp({ max: 2 })
  const held = await pool.acquire()
  factory.onCreate.always({ rejects: refused() })
  const told: Told[] = []
  for (let at = 0; at < 4000; at += 100) {
    call(pool, clock, told)
    await clock.advance(100)
  }
  assert.equal(pool.stats().breaker, 'open')
  assert.equal(told.length, 0)
  void pool.release(held)
  await clock.advance(100)
  await settle()
  assert.ok(told.length >= 38 && told.every(({ error }) => error === undefined), `${told.length}`)
})

test('a server that goes away when a connection is new has been away since then, not since that was made', async () => {
  const clock = new FakeClock()
  const factory = new ScriptedFactory<Connection>(id => ({ id }), 'validate')
  const options = { max: 2, min: 1, testOnBorrow: true, unhealthyAfterMillis: 1000 }
  const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
  await pool.ready()
  await clock.advance(800)
  // Gone now: what is new does not answer, and no other can be made.
  factory.onValidate.always({ rejects: refused() })
  factory.onCreate.always({ rejects: refused() })
  const waiting = pool.acquire({ timeoutMillis: 60_000 })
  waiting.catch(() => {})
  await clock.advance(700)
  assert.equal(pool.stats().breaker, 'closed', '700 ms after it has gone')
  await clock.advance(600)
  assert.equal(pool.stats().breaker, 'open', '1300 ms after it has gone')
})
