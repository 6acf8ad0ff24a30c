import { eventually, scripted } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** After a burst of four, one caller at a time, latest connection first: the other three are idle for good. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  const pool = createPool(factory, {
    max: 4,
    fifo: false,
    idleTimeoutMillis: 80,
    evictionRunIntervalMillis: 20,
    numTestsPerEvictionRun: 1,
  })
  const burst = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()))
  for (const resource of burst) await pool.release(resource)
  await eventually(
    async () => {
      await pool.release(await pool.acquire())
      return factory.ledger.destroyed.length >= 3
    },
    { within: 1500 },
  ).catch(() => {})
  return { retired: factory.ledger.destroyed.length }
}
