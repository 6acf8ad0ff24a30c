import { scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts, throwsSynchronously } from '../scenario.ts'

/** The first create throws before it returns a promise; two callers come, one after the other. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ throws: new Error('bad host') })
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 300 })
  let first: Promise<unknown> = Promise.reject(new Error('none'))
  first.catch(() => {})
  const threw = throwsSynchronously(() => {
    first = pool.acquire().then(resource => pool.release(resource))
    return first
  })
  const firstEnded = threw ? 'threw' : ending(await settledWithin(first, 1000))
  const second = await settledWithin(
    pool.acquire().then(resource => pool.release(resource)),
    1000,
  )
  await turns(2)
  return { first: firstEnded, second: ending(second), lentToNobody: pool.borrowed }
}
