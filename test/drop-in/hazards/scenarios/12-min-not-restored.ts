import { eventually, scripted } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** One of the creates for `min` fails; nobody acquires. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 4, min: 3 })
  const filled = await eventually(() => pool.available >= 3, { within: 1000 }).then(
    () => true,
    () => false,
  )
  return { filled }
}
