import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** The create of the one connection of `min` hangs, and everything is to be cleared. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always('hangs')
  const pool = createPool(factory, { max: 1, min: 1, createTimeoutMillis: 100 })
  const drained = await settledWithin(pool.drain({ timeoutMillis: 400 }), 1500)
  return { drain: ending(drained), clear: ending(await settledWithin(pool.clear(), 1500)) }
}
