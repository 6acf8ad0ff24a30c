import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, causeOf, ending, type Facts } from '../scenario.ts'

/** `ready()` while no create succeeds. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 2, min: 1, acquireTimeoutMillis: 300 })
  const ready = await settledWithin(pool.ready(), 2500)
  return { ready: ready.state, code: ending(ready), cause: causeOf(ready) }
}
