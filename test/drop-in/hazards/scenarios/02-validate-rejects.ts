import { scripted } from '../../../support/factories.ts'
import { type CreatePool, type Facts, serveInTurn } from '../scenario.ts'

/** One validate rejects, as a ping on a dead connection does. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted('validate')
  factory.onValidate.next({ rejects: new Error('ping failed') })
  const pool = createPool(factory, {
    max: 1,
    testOnBorrow: true,
    validateTimeoutMillis: 50,
    acquireTimeoutMillis: 200,
  })
  const served = await serveInTurn(pool, 3)
  return { served, destroyed: factory.ledger.destroyed.length, spare: pool.spareResourceCapacity }
}
