/*
 * Loans of every kind, at once and after a wait, with defaults: is a promise hook on afterwards? Run by
 * `contexts.test.ts` in a process of its own. Inside a promise continuation the id of the execution is 0 as long as no
 * hook is active, as each `AsyncLocalStorage` that was entered is on Node 20 and 22.
 */

import { executionAsyncId } from 'node:async_hooks'
import { createPool } from '../../src/index.ts'

const [, , nested] = process.argv
const ids = new Set<number>()
const pool = createPool(
  { create: async () => ({}), destroy: () => {}, validate: () => true },
  { max: 2, ...(nested === 'forbid' || nested === 'reuse' ? { nested } : {}) },
)

async function caller(): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    await pool.use(async () => {
      await null
    })
    const connection = await pool.acquire()
    await null
    await pool.release(connection)
    await using lease = await pool.lease({ priority: 0 })
    if (!lease.active) throw new Error('not lent')
    await new Promise(resolve => setImmediate(resolve))
  }
}

await Promise.all(Array.from({ length: 6 }, caller))
// A deadlock, too: those who wait are asked.
await pool.use(() => pool.use(() => pool.use(() => {}))).catch(() => {})
await pool.close()
for (let round = 0; round < 3; round += 1) {
  await null
  ids.add(executionAsyncId())
}
process.stdout.write(`${pool.stats().totals.deadlocks} deadlock, ids ${[...ids].join(', ')}`)
