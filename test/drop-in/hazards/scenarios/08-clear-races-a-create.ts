import { scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** A create is in flight as the pool is cleared. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next('held')
  const pool = createPool(factory, { max: 1, min: 1, acquireTimeoutMillis: 300 })
  const create = await factory.onCreate.call()
  const cleared = pool.clear()
  create.ok()
  await cleared
  await turns(2)
  const acquire = await settledWithin(pool.acquire(), 1000)
  const lentDestroyed = acquire.state === 'fulfilled' && !factory.ledger.open.has(acquire.value)
  return { acquire: ending(acquire), lentDestroyed, strayDestroys: factory.ledger.strayDestroys }
}
