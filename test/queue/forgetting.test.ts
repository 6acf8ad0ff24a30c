import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { rejection } from '../support/rejection.ts'

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = { create: () => ({}), destroy: () => {} }
  return { clock, pool: openPool(factory, options, false, { clock, random: () => 0 }) }
}

/** Each of so many callers holds its connection for so long. */
function burst(
  { clock, pool }: ReturnType<typeof poolOf>,
  callers: number,
  holdMillis: number,
): Promise<unknown> {
  const call = async (): Promise<void> => {
    const held = await pool.acquire()
    await new Promise<void>(resolve => void clock.after(holdMillis, resolve))
    await pool.release(held)
  }
  return Promise.allSettled(Array.from({ length: callers }, call))
}

/** A pool of one connection that was slow, a hand-over a second, as far as is known; it is lent, and nobody waits. */
async function slowPool() {
  const set = poolOf({ max: 1, earlyRefusal: true, acquireTimeoutMillis: 100_000 })
  const { clock, pool } = set
  const caller = new AbortController()
  const held = await pool.acquire()
  let latest = held
  const patient = Array.from({ length: 30 }, () =>
    pool.acquire({ signal: caller.signal }).then(
      connection => {
        latest = connection
      },
      () => {},
    ),
  )
  for (let round = 0; round < 20; round += 1) {
    await clock.advance(1000)
    void pool.release(latest)
    await clock.advance(0)
  }
  assert.equal((await rejection(pool.acquire({ timeoutMillis: 500 }))).code, 'POOL_SHED')
  return { ...set, caller, patient, latest: () => latest }
}

test('an estimate from a slow hour does not refuse everybody once those who waited have given up', async () => {
  const { clock, pool, caller, patient, latest } = await slowPool()
  caller.abort()
  await Promise.all(patient)
  assert.equal(pool.pending, 0)
  clock.after(50, () => void pool.release(latest()))
  const asked = pool.acquire({ timeoutMillis: 500 })
  await clock.advance(100)
  assert.ok(await asked)
})

test('an estimate that refuses everybody who comes is put to the test by one of them in its time', async () => {
  const { clock, pool } = await slowPool()
  const outcomes: string[] = []
  for (let at = 0; at < 30_000; at += 100) {
    pool.acquire({ timeoutMillis: 500 }).then(
      () => outcomes.push('served'),
      error => outcomes.push(error.code),
    )
    await clock.advance(100)
  }
  const letIn = outcomes.filter(code => code === 'POOL_ACQUIRE_TIMEOUT').length
  assert.ok(letIn >= 1 && letIn <= 4, `${letIn} of 300 were let in`)
})

test('after an overload and a pause, the first burst is served in order and none of it is shed', async () => {
  const set = poolOf({
    max: 2,
    shedding: { targetMillis: 50, intervalMillis: 2000 },
    acquireTimeoutMillis: 60_000,
  })
  const { clock, pool } = set
  for (let at = 0; at < 10_000; at += 20) {
    pool.acquire().then(
      held => void clock.after(100, () => void pool.release(held)),
      () => {},
    )
    await clock.advance(20)
  }
  assert.ok(pool.stats().totals.shed > 50)
  // The last of them have been served, and connections are idle.
  await clock.advance(1500)
  assert.equal(pool.pending, 0)
  const shed = pool.stats().totals.shed
  const order: number[] = []
  for (let caller = 0; caller < 20; caller += 1) {
    pool.acquire().then(
      held => {
        order.push(caller)
        clock.after(100, () => void pool.release(held))
      },
      () => {},
    )
  }
  await clock.advance(1000)
  assert.equal(pool.stats().totals.shed, shed)
  assert.deepEqual(
    order,
    Array.from({ length: 20 }, (_, caller) => caller),
  )
})

test('early refusal still refuses those who would wait in vain', async () => {
  const set = poolOf({ max: 1, earlyRefusal: true, acquireTimeoutMillis: 100_000 })
  void burst(set, 40, 100)
  await set.clock.advance(2050)
  assert.equal((await rejection(set.pool.acquire({ timeoutMillis: 500 }))).code, 'POOL_SHED')
})
