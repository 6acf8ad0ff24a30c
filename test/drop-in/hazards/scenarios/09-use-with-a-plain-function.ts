import { CountingFactory, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** `use` is given functions that are not async: one that returns, one that throws. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 2, acquireTimeoutMillis: 200 })
  const returned = await settledWithin(
    pool.use(() => 'result'),
    1000,
  )
  const threw = await settledWithin(
    pool.use(() => {
      throw new Error('business')
    }),
    1000,
  )
  return {
    returned: returned.state === 'fulfilled' ? returned.value : ending(returned),
    threw: ending(threw),
    borrowed: pool.borrowed,
  }
}
