import { CountingFactory, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** The function given to `use` fails; with a `reset` that succeeds, and without one. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const failing = async (factory: CountingFactory) => {
    const pool = createPool(factory, { max: 1 })
    const used = await settledWithin(
      pool.use(() => Promise.reject(new Error('out of stock'))),
      1000,
    )
    await turns(2)
    return { used: ending(used), destroyed: factory.ledger.destroyed.length, available: pool.available }
  }
  const unvouched = await failing(new CountingFactory())
  const reset = await failing(Object.assign(new CountingFactory(), { reset: () => {} }))
  return { ...unvouched, destroyedThoughReset: reset.destroyed, availableAfterReset: reset.available }
}
