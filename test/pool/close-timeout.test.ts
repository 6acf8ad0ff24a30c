import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'

test('close takes its timeout once: what the drain has taken is no longer there for connections that do not close', async () => {
  const clock = new FakeClock()
  const factory = { create: () => ({}), destroy: () => new Promise<void>(() => {}) }
  const options = { max: 1, destroyTimeoutMillis: 60_000 }
  const pool = openPool(factory, options, false, { clock, random: () => 0.5 })
  const held = await pool.acquire()
  const since = clock.now()
  let took: number | undefined
  const closing = pool.close({ timeoutMillis: 400 }).catch(() => {
    took = clock.now() - since
  })
  await clock.advance(300)
  await pool.release(held)
  await clock.advance(99)
  assert.equal(took, undefined)
  await clock.advance(301)
  assert.equal(took, 400)
  await closing
})
