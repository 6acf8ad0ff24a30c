import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createPool, type Pool } from '../../src/index.ts'
import type { UseFrame } from '../../src/nested/host.ts'
import { insidesOf } from '../support/insides.ts'
import { endings, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

/*
 * The functions that `use` runs under are used again and again, and each has a name that tells a lease. Whoever takes one
 * lease for another accuses innocents, or misses a deadlock.
 */

/** The name of the innermost lease in the async stack of the caller, which has awaited something before. */
function leaseName(): string {
  const [name] = new Error('for its stack').stack?.match(/\blease \d+/) ?? []
  assert.ok(name, 'the stack shows the lease')
  return name
}

/** All such functions of this process. */
function allFrames(): Map<number, WeakRef<UseFrame>> {
  const shared = Reflect.get(globalThis, Symbol.for('lifeguard-pool.nested.v8'))
  return (shared as { frames: Map<number, WeakRef<UseFrame>> }).frames
}

const frames = (): number => allFrames().size

/** Runs in a `use` and returns the name of the function that it runs under. */
const nameOf = async (): Promise<string> => {
  await turn()
  return leaseName()
}

test('a function that goes on after its loan keeps its name', async () => {
  const pool = new World().pool({ max: 1 })
  const names: string[] = []
  await pool.use(async thing => {
    pool.release(thing)
    names.push(await pool.use(nameOf), await pool.use(nameOf), await nameOf())
  })
  const [next, again, own] = names
  assert.equal(next, again)
  assert.notEqual(next, own)
  await pool.close()
})

test('a use that waits holds nothing, whatever its name has held before', async () => {
  const world = new World()
  const pool = world.pool({ max: 1 })
  await pool.use(async () => {})
  const held = await pool.acquire()
  const waiting = pool.use(async () => 'done')
  await world.clock.advance(30 * GRACE)
  assert.deepEqual(world.deadlocks, [])
  pool.release(held)
  assert.equal(await waiting, 'done')
})

test('a plain lease is one, although the function that ran on its connection runs elsewhere now', async () => {
  const pool = new World().pool({ max: 2 })
  await pool.use(async () => {})
  const held = await pool.acquire()
  // The same function, on the other connection, until the numbers of the loans are the same.
  await pool.use(async () => {})
  await pool.use(async () => {
    const leases = insidesOf(pool).leases()
    assert.deepEqual(
      leases.map(({ loan, isPlain }) => ({ loan, isPlain })),
      [
        { loan: 2, isPlain: true },
        { loan: 2, isPlain: false },
      ],
    )
  })
  pool.release(held)
})

test('behind thousands of waiting uses, a nested one is proved as well, and no more functions are made', async () => {
  const world = new World()
  const pool = world.pool({ max: 1 })
  const before = frames()
  const others: Promise<string>[] = []
  const outer = pool.use(async () => {
    for (let count = 0; count < 3000; count += 1) others.push(pool.use(async () => 'done'))
    return pool.use(async () => 'done')
  })
  const ended = endings([outer])
  await world.clock.advance(3 * GRACE)
  assert.deepEqual(tally(await ended), { POOL_DEADLOCK: 1 })
  assert.deepEqual(tally(await endings(others)), { done: 3000 })
  assert.ok(frames() - before <= 1001, `${frames() - before} were made`)
})

test('whose acquire fails leaves its function to the next', async () => {
  const pool: Pool<Thing> = createPool(new World().factory(), { max: 1 })
  const held = await pool.acquire()
  const before = frames()
  for (let count = 0; count < 50; count += 1) {
    const abort = new AbortController()
    const waiting = pool.use(async () => {}, { signal: abort.signal })
    abort.abort()
    await assert.rejects(waiting, { code: 'POOL_ABORTED' })
  }
  assert.ok(frames() - before <= 1, `${frames() - before} were made`)
  pool.release(held)
  await pool.close()
})

test('a function that is free keeps no closed connection alive', async () => {
  await using pool = new World().pool({ max: 1 })
  const frame = await pool.use(async () => [...allFrames().values()].at(-1)?.deref())
  assert.equal(frame?.loan, 1)
  assert.equal(frame.connection, undefined)
})
