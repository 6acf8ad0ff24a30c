import { eventually, scripted } from '../../../support/factories.ts'
import type { AnyPool, CreatePool, Facts } from '../scenario.ts'

/** The first create, made for `min`, throws before it returns a promise. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ throws: new Error('bad host') })
  let pool: AnyPool<unknown> | undefined
  try {
    pool = createPool(factory, { max: 2, min: 2 })
  } catch {
    return { threw: true }
  }
  const filled = await eventually(() => pool.available === 2).then(
    () => true,
    () => false,
  )
  return { threw: false, filled }
}
