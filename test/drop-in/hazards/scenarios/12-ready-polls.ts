import { scripted, settledNow, turns } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** Is `ready()` told in the turn in which the last connection of `min` arrives, or some time later? */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always('held')
  const pool = createPool(factory, { max: 2, min: 2 })
  const ready = pool.ready()
  const creates = [await factory.onCreate.call(), await factory.onCreate.call()]
  for (const create of creates) create.ok()
  await turns(3)
  return { available: pool.available, ready: (await settledNow(ready)).state }
}
