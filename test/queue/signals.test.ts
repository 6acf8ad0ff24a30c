import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { createPool } from '../../src/index.ts'
import { scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

/** How an acquire with a signal may end. */
const ENDS = ['served', 'expired', 'refused by close'] as const

for (const end of ENDS)
  test(`a signal that outlives many acquires keeps no listener of one that was ${end}`, async () => {
    const { signal } = new AbortController()
    const pool = createPool(scripted(), { max: 1, nested: 'allow' })
    const held = await pool.acquire()
    const timeoutMillis = end === 'expired' ? 20 : 60_000
    const waiting = Array.from({ length: 5 }, () => pool.use(() => {}, { signal, timeoutMillis }))
    const outcomes = Promise.allSettled(waiting)
    assert.ok(getEventListeners(signal, 'abort').length > 0, 'they listen while they wait')
    if (end === 'expired') await rejection(waiting[4] as Promise<unknown>)
    if (end === 'refused by close') await rejection(pool.close({ timeoutMillis: 1 }))
    else await pool.release(held)
    await outcomes
    assert.deepEqual(getEventListeners(signal, 'abort'), [])
    await pool.close().catch(() => {})
  })

test('thousands of acquires that go to another pool leave in one step, and the loop turns before all have been told', async () => {
  const pool = createPool(scripted(), { max: 1, nested: 'allow', priorityRange: 2 })
  const held = await pool.acquire()
  const elsewhere = new Error('elsewhere')
  const told: number[] = []
  const count = 3000
  const signals = Array.from({ length: count }, () => new AbortController().signal)
  const waiting = signals.map((signal, index) => {
    const ended = pool.acquire({ signal, priority: index === count - 1 ? 0 : 1, timeoutMillis: 60_000 })
    return ended.catch((error: unknown) => {
      assert.equal(error, elsewhere)
      told.push(index)
    })
  })
  const stays = pool.use(() => 'served', { signal: new AbortController().signal })
  pool.withdraw(new Set(signals), elsewhere)
  assert.equal(pool.pending, 1, 'only the one that stays')
  await new Promise(resolve => setImmediate(resolve))
  assert.ok(told.length > 0 && told.length < count, `${told.length} have been told`)
  await Promise.all(waiting)
  assert.equal(told[0], count - 1, 'by priority')
  assert.equal(new Set(told).size, count)
  for (const signal of signals) assert.deepEqual(getEventListeners(signal, 'abort'), [])
  await pool.release(held)
  assert.equal(await stays, 'served')
  pool.withdraw(new Set(signals), elsewhere)
  await pool.close()
})
