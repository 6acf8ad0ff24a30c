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
