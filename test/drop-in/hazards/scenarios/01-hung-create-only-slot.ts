import { eventually, scripted } from '../../../support/factories.ts'
import { type CreatePool, type Facts, serveInTurn } from '../scenario.ts'

/** The only slot of a pool is taken by a create that hangs, and whose connection arrives when it was given up. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next('held')
  const pool = createPool(factory, { max: 1, createTimeoutMillis: 50, acquireTimeoutMillis: 400 })
  const served = await serveInTurn(pool, 3)
  const late = await factory.onCreate.call()
  late.ok()
  const lateIsClosed = await eventually(() => factory.ledger.destroyed.length === 1, { within: 300 }).then(
    () => true,
    () => false,
  )
  return { served, lateIsClosed, open: factory.ledger.open.size }
}
