/* Hazards 6, 9, 10, 13 and 14: listeners, use, second releases, surplus connections, and contexts. */

import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { CountingFactory, eventually, scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type AnyPool, type CreatePool, ending, type Facts } from '../scenario.ts'

const EVENTS = [
  'factoryCreateError',
  'factoryDestroyError',
  'connect',
  'acquire',
  'release',
  'destroy',
  'breaker',
]

/** Every listener throws, every time. */
export async function listenerThrows(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ later: { rejects: new Error('connect ECONNREFUSED') } })
  factory.onDestroy.next({ rejects: new Error('already closed') })
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 800 })
  let heard = 0
  for (const event of EVENTS) {
    pool.on(event, () => {
      heard += 1
      throw new Error(`listener of ${event}`)
    })
  }
  const first = await settledWithin(pool.acquire(), 2000)
  if (first.state === 'fulfilled') await settledWithin(pool.destroy(first.value), 500)
  const second = await settledWithin(pool.acquire(), 1000)
  if (second.state === 'fulfilled') await settledWithin(pool.release(second.value), 500)
  await turns(2)
  return { first: ending(first), second: ending(second), heard, available: pool.available }
}

/** `use` is given functions that are not async: one that returns, one that throws. */
export async function useWithAPlainFunction(createPool: CreatePool): Promise<Facts> {
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

/** The function given to `use` fails; with a `reset` that succeeds, and without one. */
export async function useAndABusinessError(createPool: CreatePool): Promise<Facts> {
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

/** A returns its connection, B gets it, A returns it again, C asks. */
export async function staleSecondRelease(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 1, acquireTimeoutMillis: 20_000 })
  const a = await borrow(pool)
  await a.release()
  const b = await borrow(pool)
  const second = await settledWithin(a.release(), 500)
  // That C waits for itself is proved only after some patience, as it holds a plain lease.
  const c = await settledWithin(borrow(pool), 25_000)
  const shared = c.state === 'fulfilled' && c.value.resource === b.resource
  return { second: ending(second), shared, third: ending(c) }
}

/** By a token of its own where the pool has such; only a token can tell A's second return from B's first. */
function borrow<T>(pool: AnyPool<T>): Promise<{ resource: T; release(): Promise<void> }> {
  if (pool.lease !== undefined) return pool.lease()
  return pool.acquire().then(resource => ({ resource, release: () => pool.release(resource) }))
}

/** After a burst of four, one caller at a time, latest connection first: the other three are idle for good. */
export async function surplusUnderTrickleLoad(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  const pool = createPool(factory, {
    max: 4,
    fifo: false,
    idleTimeoutMillis: 80,
    evictionRunIntervalMillis: 20,
    numTestsPerEvictionRun: 1,
  })
  const burst = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()))
  for (const resource of burst) await pool.release(resource)
  await eventually(
    async () => {
      await pool.release(await pool.acquire())
      return factory.ledger.destroyed.length >= 3
    },
    { within: 3000 },
  ).catch(() => {})
  return { retired: factory.ledger.destroyed.length }
}

/** In whose `AsyncLocalStorage` context do the hooks run, and a timer that a connection keeps? */
export async function contextOfTheRequester(createPool: CreatePool): Promise<Facts> {
  const request = new AsyncLocalStorage<string>()
  const seen = { create: 'not run', timer: 'not run', validate: 'not run', destroy: 'not run', fn: 'not run' }
  const note = (place: keyof typeof seen): void => {
    seen[place] = request.getStore() ?? 'nobody'
  }
  const factory = {
    async create() {
      note('create')
      setTimeout(note, 1, 'timer')
      await nextTurn()
      return {}
    },
    async validate() {
      note('validate')
      return true
    },
    async destroy() {
      note('destroy')
    },
  }
  const pool = createPool(factory, { max: 1, testOnBorrow: true })
  let after = 'not run'
  await request.run('request 1', async () => {
    await pool.release(await pool.acquire())
    await pool.use(async () => note('fn'))
    await pool.destroy(await pool.acquire())
    after = request.getStore() ?? 'nobody'
  })
  await eventually(() => seen.timer !== 'not run' && seen.destroy !== 'not run')
  return { ...seen, after }
}
