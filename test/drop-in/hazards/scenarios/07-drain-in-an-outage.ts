import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** Creates fail, somebody waits without a limit, and the process wants to end. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: false })
  const waiter = pool.acquire()
  const drained = settledWithin(pool.drain({ timeoutMillis: 100 }), 1000)
  const waited = settledWithin(waiter, 1200)
  return { drain: ending(await drained), waiter: ending(await waited) }
}
