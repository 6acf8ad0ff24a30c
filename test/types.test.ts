import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPool, type Factory, isPoolError, type Lease, type Pool, type PoolError } from '../src/index.ts'

/** Are the two types the same? The compiler answers; a wrong answer does not compile. */
type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false
const isTrue = <Condition extends true>(condition: Condition): void => assert.equal(condition, true)

class Client {
  readonly id = 1
}

test('types are inferred where users would not write them', async () => {
  const pool = createPool({ create: async () => new Client(), destroy: () => {} })
  isTrue<Same<typeof pool, Pool<Client>>>(true)
  const sync = await pool.use(client => client.id)
  isTrue<Same<typeof sync, number>>(true)
  const later = await pool.use(async client => String(client.id))
  isTrue<Same<typeof later, string>>(true)
  {
    await using lease = await pool.lease({ timeoutMillis: 100 })
    isTrue<Same<typeof lease, Lease<Client>>>(true)
  }
  const client = await pool.acquire({ signal: AbortSignal.timeout(1000), priority: 0 })
  isTrue<Same<typeof client, Client>>(true)
  const released: Promise<void> = pool.release(client)
  await released
  pool.on('destroy', event => {
    isTrue<Same<typeof event.resource, Client>>(true)
  })
  await pool.close()
})

test('factories of generic-pool fit, and misuse does not compile', () => {
  const theirs = {
    create: (): Promise<Client> => Promise.resolve(new Client()),
    destroy: (_client: Client): Promise<void> => Promise.resolve(),
    validate: (_client: Client): Promise<boolean> => Promise.resolve(true),
  }
  const factory: Factory<Client> = theirs
  const pool = createPool(factory, { max: 10, min: 2 })
  // @ts-expect-error: a string is no connection of this pool
  pool.release('client').catch(() => {})
  // @ts-expect-error: an unknown option
  assert.throws(() => createPool(factory, { maximum: 10 }))
  const error: unknown = undefined
  if (isPoolError(error, 'POOL_ACQUIRE_TIMEOUT')) isTrue<Same<typeof error, PoolError>>(true)
  return pool.close()
})
