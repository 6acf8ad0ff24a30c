import { scripted } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** Connections are destroyed as fast as they come; each takes its time to close. How many sockets are open at most? */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onDestroy.always('held')
  const pool = createPool(factory, { max: 2, acquireTimeoutMillis: 2000 })
  for (let round = 0; round < 5; round += 1) {
    const pair = [pool.acquire(), pool.acquire()]
    // The closes of the last round end only when this one's acquires have had every chance to overtake them.
    setTimeout(() => void endCloses(), 100)
    for (const resource of await Promise.all(pair)) pool.destroy(resource).catch(() => {})
  }
  return { mostOpen: factory.ledger.mostOpen, created: factory.ledger.created.length }

  async function endCloses(): Promise<void> {
    const due = factory.onDestroy.calls - factory.ledger.destroyed.length
    for (let close = 0; close < due; close += 1) (await factory.onDestroy.call()).ok()
  }
}
