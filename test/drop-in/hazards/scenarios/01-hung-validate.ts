import { scripted } from '../../../support/factories.ts'
import { type CreatePool, type Facts, serveInTurn } from '../scenario.ts'

/** One validate never answers. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted('validate')
  factory.onValidate.next('hangs')
  const pool = createPool(factory, {
    max: 4,
    testOnBorrow: true,
    validateTimeoutMillis: 50,
    acquireTimeoutMillis: 300,
  })
  const served = await serveInTurn(pool, 4)
  return { served, open: factory.ledger.open.size, available: pool.available }
}
