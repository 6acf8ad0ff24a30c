import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** A destroy never settles. No limit is given: the defaults have to do. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onDestroy.always('hangs')
  const pool = createPool(factory, { max: 1 })
  await pool.release(await pool.acquire())
  await pool.drain()
  return { clear: ending(await settledWithin(pool.clear(), 4000)) }
}
