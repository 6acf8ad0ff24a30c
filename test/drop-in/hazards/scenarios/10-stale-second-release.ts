import { CountingFactory, settledWithin } from '../../../support/factories.ts'
import { type AnyPool, type CreatePool, ending, type Facts } from '../scenario.ts'

/** A returns its connection, B gets it, A returns it again, C asks. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 1, acquireTimeoutMillis: 200 })
  const a = await borrow(pool)
  await a.release()
  const b = await borrow(pool)
  const second = await settledWithin(a.release(), 500)
  const c = await settledWithin(borrow(pool), 1000)
  const shared = c.state === 'fulfilled' && c.value.resource === b.resource
  return { second: ending(second), shared, third: ending(c) }
}

/** By a token of its own where the pool has such; only a token can tell A's second return from B's first. */
function borrow<T>(pool: AnyPool<T>): Promise<{ resource: T; release(): Promise<void> }> {
  if (pool.lease !== undefined) return pool.lease()
  return pool.acquire().then(resource => ({ resource, release: () => pool.release(resource) }))
}
