import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as refusals from '../../src/api/messages/error-messages.ts'
import { badOptions } from '../../src/api/options/resolve-options.ts'
import { genericPool } from '../../src/generic-pool.ts'
import {
  type AcquirePhase,
  type Budget,
  type BudgetStats,
  createBudget,
  createPool,
  type Factory,
  isPoolError,
  type Lease,
  type Options,
  type Pool,
  type PoolError,
  type PoolErrorCode,
  type PoolStats,
} from '../../src/index.ts'
import { deadlock, nestedAcquire } from '../../src/nested/messages.ts'

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

test('what users of generic-pool import and listen to compiles', async () => {
  const options: Options = { max: 2 }
  const pool: Pool<Client> = createPool(
    { create: () => Promise.reject(new Error('down')), destroy: async () => {} },
    options,
  )
  const heard: string[] = []
  pool.on('factoryCreateError', (error: Error) => heard.push(error.message))
  pool.on('factoryDestroyError', error => heard.push(error.message))
  // Also where `undefined` is not the same as left out.
  const { timeoutMillis }: { timeoutMillis: number | undefined } = { timeoutMillis: undefined }
  await assert.rejects(pool.acquire({ timeoutMillis, signal: AbortSignal.timeout(20) }))
  assert.equal(heard[0], 'down')
  await pool.close({ timeoutMillis })
})

test('the types of generic-pool are reached through the default import, and any event may be listened for', async () => {
  const options: genericPool.Options = { max: 1, Promise }
  const factory: genericPool.Factory<Client> = { create: async () => new Client(), destroy: async () => {} }
  const pool: genericPool.Pool<Client> = genericPool.createPool(factory, options)
  isTrue<Same<typeof pool, Pool<Client>>>(true)
  pool.on('nobody has heard of this', (first, second) => [first, second])
  pool.once(Symbol('or of that'), () => {})
  pool.on('release', ({ resource, heldMillis }) => {
    isTrue<Same<typeof resource, Client>>(true)
    isTrue<Same<typeof heldMillis, number>>(true)
  })
  const emitter: NodeJS.EventEmitter = pool
  emitter.removeAllListeners()
  const name: string = 'connect'
  pool.on(name, () => {}).off(name, () => {})
  await pool.close()
})

test('an error of another library with a code like ours is not taken for ours', () => {
  const theirs = Object.assign(new Error('Pool is closed.'), { code: 'POOL_CLOSED' })
  assert.equal(isPoolError(theirs), false)
  assert.equal(isPoolError(theirs, 'POOL_CLOSED'), false)
  const ours = badOptions(['x'])
  assert.ok(isPoolError(ours) && isPoolError(ours, 'POOL_BAD_OPTIONS') && !isPoolError(ours, 'POOL_CLOSED'))
  assert.ok(!Object.keys(ours).some(key => key.includes('lifeguard')))
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
  return pool.close()
})

test('a budget has a type of its own, and no other value compiles in its place', async () => {
  const budget: Budget = createBudget({ max: 3 })
  const pool = createPool({ create: async () => new Client(), destroy: () => {} }, { max: 9, budget })
  isTrue<Same<ReturnType<typeof pool.stats>['budget'], BudgetStats | undefined>>(true)
  // @ts-expect-error: a number is no budget
  assert.throws(() => createPool({ create: async () => 1, destroy: () => {} }, { budget: 20 }))
  // @ts-expect-error: max is missing
  assert.throws(() => createBudget({ name: 'x' }))
  await pool.close()
})

test('who asks for a code gets what errors with it always say, and no more than that', async () => {
  const pool = createPool({ create: async () => new Client(), destroy: () => {} }, { autostart: false })
  const stats = pool.stats()
  await pool.close()
  const given = (error: unknown): unknown => error

  const timeout = given(refusals.acquireTimeout(stats, 'queue', 1, 0, undefined))
  assert.ok(isPoolError(timeout, 'POOL_ACQUIRE_TIMEOUT'))
  isTrue<Same<typeof timeout.code, 'POOL_ACQUIRE_TIMEOUT'>>(true)
  isTrue<Same<typeof timeout.phase, AcquirePhase>>(true)
  isTrue<Same<typeof timeout.stats, PoolStats>>(true)
  isTrue<Same<typeof timeout.holders, readonly string[] | undefined>>(true)
  const { phase, waitedMillis, stalledMillis } = timeout
  const numbers: number[] = [waitedMillis, stalledMillis]
  assert.deepEqual([phase, numbers, timeout.pool], ['queue', [1, 0], stats.name])

  const details = { heldStacks: [], waitStack: '', pools: [stats.name], waitedMillis: 3 }
  const knot = given(deadlock(stats, [], [], details))
  assert.ok(isPoolError(knot, 'POOL_DEADLOCK'))
  const told: [readonly string[], string, readonly string[], number] = [
    knot.heldStacks,
    knot.waitStack,
    knot.pools,
    knot.waitedMillis,
  ]
  assert.deepEqual(told, [[], '', [stats.name], 3])

  const nested = given(nestedAcquire(stats, [], undefined))
  assert.ok(isPoolError(nested, 'POOL_NESTED_ACQUIRE'))
  assert.deepEqual([nested.heldStacks.length, nested.waitStack.length, nested.pools.length], [0, 0, 0])

  const full = given(refusals.queueFull(stats, 1))
  assert.ok(isPoolError(full, 'POOL_QUEUE_FULL'))
  assert.ok(full.hint.length > 0)

  for (const error of [refusals.shed(stats, 2, 1), refusals.hopeless(stats, 5, 1)].map(given)) {
    assert.ok(isPoolError(error, 'POOL_SHED'))
    assert.ok(error.waitedMillis >= 0)
    isTrue<Same<typeof error.estimatedMillis, number | undefined>>(true)
  }

  const aborted = given(refusals.aborted(stats, 4, undefined))
  assert.ok(isPoolError(aborted, 'POOL_ABORTED') && aborted.waitedMillis.toFixed() === '4')

  const wrong = given(badOptions(['max']))
  assert.ok(isPoolError(wrong, 'POOL_BAD_OPTIONS'))
  assert.deepEqual([...wrong.issues], ['max'])
  isTrue<Same<typeof wrong.pool, string | undefined>>(true)

  for (const error of [
    refusals.cannotConnect(stats, { lastError: undefined, permanentAdvice: undefined }),
    refusals.closed(stats),
    refusals.notBorrowed(stats, 'release'),
    refusals.leaseEnded(stats, 'x'),
    refusals.drainTimeout(stats, 1, 'drain', '', []),
  ].map(given)) {
    assert.ok(
      isPoolError(error, 'POOL_UNHEALTHY') ||
        isPoolError(error, 'POOL_CLOSED') ||
        isPoolError(error, 'POOL_NOT_BORROWED') ||
        isPoolError(error, 'POOL_LEASE_ENDED') ||
        isPoolError(error, 'POOL_DRAIN_TIMEOUT'),
    )
    const name: string = error.stats.name
    assert.equal(error.pool, name)
  }

  const failed = given(refusals.connectTimeout(stats, 1, undefined))
  assert.ok(isPoolError(failed, 'POOL_CONNECT_FAILED'))
  isTrue<Same<typeof failed.stats, PoolStats | undefined>>(true)
})

test('who asks for no code, or for one that he does not know beforehand, gets a PoolError', () => {
  const error: unknown = badOptions([])
  assert.ok(isPoolError(error))
  isTrue<Same<typeof error, PoolError>>(true)
  const later: unknown = error
  const code = error.code as PoolErrorCode | undefined
  assert.ok(isPoolError(later, code))
  isTrue<Same<typeof later, PoolError>>(true)
})
