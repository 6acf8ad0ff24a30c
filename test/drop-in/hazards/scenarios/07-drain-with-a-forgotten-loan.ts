import { CountingFactory, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** Somebody never returns a connection; the process wants to end. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 2 })
  await pool.acquire()
  return { drain: ending(await settledWithin(pool.drain({ timeoutMillis: 100 }), 1000)) }
}
