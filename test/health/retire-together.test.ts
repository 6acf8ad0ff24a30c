import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'

test('connections that become too old together do not all end at once: at most an eighth of them in one run', async () => {
  const clock = new FakeClock()
  const factory = { create: () => ({}), destroy: () => {} }
  const options = { max: 16, maxLifetimeMillis: 60_000, lifetimeJitter: 0, nested: 'allow' } as const
  const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
  const all = await Promise.all(Array.from({ length: 16 }, () => pool.acquire()))
  await Promise.all(all.map(each => pool.release(each)))
  const ended: number[] = []
  pool.on('destroy', () => ended.push(clock.now()))
  await clock.advance(80_000)
  assert.equal(ended.length, 16, 'all of them have ended')
  const together = new Map<number, number>()
  for (const at of ended) together.set(at, (together.get(at) ?? 0) + 1)
  assert.ok(Math.max(...together.values()) <= 2, `so many at a time: ${[...together.values()]}`)
  await pool.close()
})
