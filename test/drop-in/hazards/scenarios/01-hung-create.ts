import { scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, type Facts, serveInTurn } from '../scenario.ts'

/** Ten acquires, one after the other, of a pool of ten whose first create never answers in time. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next('held')
  const pool = createPool(factory, { max: 10, acquireTimeoutMillis: 60, createTimeoutMillis: 700 })
  const served = await serveInTurn(pool, 10)
  const creates = factory.onCreate.calls
  // Long after everybody has left, the connection arrives; it must not be lost.
  const late = await factory.onCreate.call()
  late.ok()
  await turns(3)
  const { open } = factory.ledger
  const known = pool.size
  await settledWithin(pool.drain(), 500)
  await settledWithin(pool.clear(), 500)
  return { served, creates, opened: factory.ledger.created.length, known, openAtLast: open.size }
}
