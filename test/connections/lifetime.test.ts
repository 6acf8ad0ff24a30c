import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Factory } from '../../src/api/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import type { DestroyReason } from '../../src/api/stats.ts'
import type { Pool } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { type Connection, type ScriptedFactory, scripted } from '../support/factories.ts'

interface Scene {
  clock: FakeClock
  factory: ScriptedFactory
  pool: Pool<Connection>
  /** When each connection was destroyed, and why. */
  ends: { at: number; id: number; reason: DestroyReason }[]
}

function open(options: PoolOptions, hooks: Partial<Factory<Connection>> = {}, step = 0.37): Scene {
  const clock = new FakeClock()
  const factory = Object.assign(scripted('validate'), hooks)
  // Chance spreads over its whole range, in a fixed order.
  let chance = 0
  const random = (): number => {
    chance = (chance + step) % 1
    return chance
  }
  const pool = openPool<Connection>(factory, { fifo: false, ...options }, true, { clock, random })
  const ends: Scene['ends'] = []
  const start = clock.now()
  pool.on('destroy', ({ resource, reason }) =>
    ends.push({ at: clock.now() - start, id: resource.id, reason }),
  )
  return { clock, factory, pool, ends }
}

async function fill({ pool, clock }: Scene, count: number): Promise<void> {
  const acquires = Array.from({ length: count }, () => pool.acquire())
  await clock.advance(0)
  for (const connection of await Promise.all(acquires)) await pool.release(connection)
}

describe('an idle connection', () => {
  test('retires when its lifetime is over, although others have been idle for longer', async () => {
    const scene = open({ max: 2, maxLifetimeMillis: 1000, lifetimeJitter: 0, acquireTimeoutMillis: false })
    const { pool, clock, ends } = scene
    const first = pool.acquire()
    await clock.advance(500)
    const second = pool.acquire()
    await clock.advance(0)
    await pool.release(await second)
    await clock.advance(100)
    await pool.release(await first)
    await clock.advance(525)
    assert.deepEqual(
      ends.map(({ id, reason }) => [id, reason]),
      [[0, 'lifetime']],
    )
    assert.ok((ends[0]?.at ?? 0) <= 1125)
    await clock.advance(1000)
    assert.equal(ends.length, 2)
  })

  test('retires before the server closes it, one of `min` after the other and never all in one tick', async () => {
    const scene = open({ max: 8, min: 8, serverIdleTimeoutMillis: 10_000 })
    const { clock, pool, ends } = scene
    await clock.advance(0)
    await clock.advance(9450)
    assert.ok(ends.length >= 8, `${ends.length}`)
    for (const { at, reason } of ends) {
      assert.equal(reason, 'server-timeout')
      assert.ok(at <= 9450, `${at}`)
    }
    const ticks = new Map<number, number>()
    for (const { at } of ends) ticks.set(at, (ticks.get(at) ?? 0) + 1)
    assert.ok(Math.max(...ticks.values()) <= 2, `${[...ticks.values()]}`)
    await clock.advance(100)
    assert.equal(pool.available, 8)
  })

  test('that is kept warm is validated instead, eight at a time, and still ends when it has been idle for too long', async () => {
    const options: PoolOptions = {
      max: 20,
      serverIdleTimeoutMillis: 10_000,
      keepWarm: true,
      idleTimeoutMillis: 9500,
      evictionRunIntervalMillis: 100,
      numTestsPerEvictionRun: 20,
    }
    const scene = open(options, {}, 0)
    const { clock, factory, ends } = scene
    await fill(scene, 20)
    let most = 0
    factory.onValidate.always('held')
    for (let step = 0; step < 31; step += 1) {
      await clock.advance(300)
      const { validating } = scene.pool.stats()
      most = Math.max(most, validating)
      for (let call = 0; call < validating; call += 1) (await factory.onValidate.call()).ok()
    }
    assert.equal(most, 8)
    assert.deepEqual(ends, [])
    factory.onValidate.always('ok')
    await clock.advance(0)
    // Those that began while the last ones were answered.
    for (let left = scene.pool.stats().validating; left > 0; left -= 1) (await factory.onValidate.call()).ok()
    await clock.advance(2500)
    assert.deepEqual(new Set(ends.map(({ reason }) => reason)), new Set(['idle']))
  })

  test('that is kept warm is not closed because somebody asks for it before the round that validates it', async () => {
    const scene = open({ max: 1, serverIdleTimeoutMillis: 2000, keepWarm: true }, {}, 0)
    const { pool, clock, factory, ends } = scene
    await fill(scene, 1)
    // It is due after 1000 ms, and rounds come every 250 ms.
    for (let idle = 1001; idle < 1250; idle += 17) {
      await clock.advance(idle)
      const lent = pool.acquire()
      await clock.advance(0)
      await pool.release(await lent)
    }
    assert.deepEqual(ends, [])
    assert.ok(factory.onValidate.calls >= 15)
  })

  test('is not retired because of a limit when halfClose is off and nobody gave one', async () => {
    let asked = 0
    const scene = open({ max: 1, halfClose: 'off' }, { serverIdleTimeout: async () => (asked += 1) })
    await fill(scene, 1)
    await scene.clock.advance(60_000)
    assert.equal(asked, 0)
    assert.equal(scene.ends.length, 0)
  })

  test('carries the question for the limit once in a generation, also when the answer is a refusal', async () => {
    let asked = 0
    const refuse = async (): Promise<number> => {
      asked += 1
      throw new Error('NOPERM')
    }
    const scene = open({ max: 3 }, { serverIdleTimeout: refuse })
    await fill(scene, 3)
    await scene.clock.advance(60_000)
    assert.equal(asked, 1)
    assert.equal(scene.pool.available, 3, 'a refusal does not cost the connection')
    scene.pool.purge()
    await scene.clock.advance(0)
    await fill(scene, 1)
    await scene.clock.advance(60_000)
    assert.equal(asked, 2)
  })

  test('that does not answer the question for the limit is destroyed, and nobody waits for it for long', async () => {
    const scene = open({ max: 1 }, { serverIdleTimeout: () => new Promise(() => {}) })
    const { clock, pool, ends } = scene
    await fill(scene, 1)
    await clock.advance(150)
    const waiting = pool.acquire()
    await clock.advance(1200)
    assert.equal((await waiting).id, 1)
    assert.deepEqual(
      ends.map(({ id, reason }) => [id, reason]),
      [[0, 'invalid']],
    )
  })
})
