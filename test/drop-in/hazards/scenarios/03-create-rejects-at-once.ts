import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, causeOf, ending, type Facts } from '../scenario.ts'

/** Each create rejects within the same turn of the event loop: the acquire must still time out. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ rejects: new Error('connect ECONNREFUSED') })
  const pool = createPool(factory, { max: 2, acquireTimeoutMillis: 200 })
  const acquire = await settledWithin(pool.acquire(), 1500)
  return { acquire: ending(acquire), cause: causeOf(acquire), attempts: factory.onCreate.calls }
}
