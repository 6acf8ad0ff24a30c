import { scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type AnyPool, type CreatePool, ending, type Facts, throwsSynchronously } from '../scenario.ts'

/** A validate throws on the way out of an idle connection; then two acquires in turn. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted('validate')
  const pool = createPool(factory, {
    max: 1,
    testOnBorrow: true,
    validateTimeoutMillis: 50,
    acquireTimeoutMillis: 200,
  })
  await pool.release(await pool.acquire())
  factory.onValidate.next({ throws: new Error('no such method') })
  let first: Promise<unknown> = Promise.resolve()
  const threw = throwsSynchronously(() => {
    first = lendAndReturn(pool)
    return first
  })
  const firstEnded = ending(await settledWithin(first, 1000))
  await turns(2)
  const orphans = pool.pending
  const second = await settledWithin(lendAndReturn(pool), 1000)
  return { threw, orphans, first: threw ? null : firstEnded, second: ending(second) }
}

function lendAndReturn<T>(pool: AnyPool<T>): Promise<void> {
  return pool.acquire().then(resource => pool.release(resource))
}
