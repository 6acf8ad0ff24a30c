import { CountingFactory, settledWithin } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** Two acquires of a pool of one that has just been cleared, and then another clear. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = new CountingFactory()
  const { ledger } = factory
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 100 })
  const before = await pool.acquire()
  await pool.release(before)
  await pool.clear()
  const availableOnceCleared = pool.available
  const after = await pool.acquire()
  const lentDestroyed = !ledger.open.has(after)
  await settledWithin(pool.acquire(), 1000)
  const { borrowed } = pool
  await pool.release(after)
  await pool.clear()
  return { availableOnceCleared, lentDestroyed, borrowed, strayDestroys: ledger.strayDestroys }
}
