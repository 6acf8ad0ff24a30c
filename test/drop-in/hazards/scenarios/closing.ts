/* Hazards 5, 7, 8 and 11: destroys that throw or hang, drain, clear, and sockets that are still closing. */

import { CountingFactory, eventually, scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts, throwsSynchronously } from '../scenario.ts'

/** A destroy throws while somebody waits for the slot that it is to free. */
export async function destroyThrows(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onDestroy.next({ throws: new Error('already closed') })
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 300 })
  const reported: string[] = []
  pool.on('factoryDestroyError', error => {
    reported.push(String(error))
  })
  const resource = await pool.acquire()
  const waiter = pool.acquire()
  const threw = throwsSynchronously(() => pool.destroy(resource))
  return { threw, waiter: ending(await settledWithin(waiter, 1000)), reported: reported.length }
}

/** The destroy of an idle connection throws inside the sweep that retires it. */
export async function destroyThrowsInSweep(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onDestroy.always({ throws: new Error('already closed') })
  const pool = createPool(factory, { max: 3, idleTimeoutMillis: 30, evictionRunIntervalMillis: 10 })
  const resources = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  for (const resource of resources) await pool.release(resource)
  const all = await eventually(() => factory.onDestroy.calls === 3, { within: 800 }).then(
    () => true,
    () => false,
  )
  return { all, available: pool.available }
}

/** Somebody never returns a connection; the process wants to end. */
export async function drainWithAForgottenLoan(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 2 })
  await pool.acquire()
  return { drain: ending(await settledWithin(pool.drain({ timeoutMillis: 100 }), 1000)) }
}

/** Creates fail, somebody waits without a limit, and the process wants to end. */
export async function drainInAnOutage(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: false })
  const waiter = pool.acquire()
  const drained = settledWithin(pool.drain({ timeoutMillis: 100 }), 1000)
  const waited = settledWithin(waiter, 1200)
  return { drain: ending(await drained), waiter: ending(await waited) }
}

/** The create of the one connection of `min` hangs, and everything is to be cleared. */
export async function clearWithAHungCreate(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always('hangs')
  const pool = createPool(factory, { max: 1, min: 1, createTimeoutMillis: 100 })
  const drained = await settledWithin(pool.drain({ timeoutMillis: 400 }), 1500)
  return { drain: ending(drained), clear: ending(await settledWithin(pool.clear(), 1500)) }
}

/** A destroy never settles. No limit is given: the defaults have to do. */
export async function clearWithAHungDestroy(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onDestroy.always('hangs')
  const pool = createPool(factory, { max: 1 })
  await pool.release(await pool.acquire())
  await pool.drain()
  return { clear: ending(await settledWithin(pool.clear(), 4000)) }
}

/** Two acquires of a pool of one that has just been cleared, and then another clear. */
export async function clearLendsTheDestroyed(createPool: CreatePool): Promise<Facts> {
  const factory = new CountingFactory()
  const { ledger } = factory
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 500 })
  const before = await pool.acquire()
  await pool.release(before)
  await pool.clear()
  const availableOnceCleared = pool.available
  const after = await pool.acquire()
  const lentDestroyed = !ledger.open.has(after)
  await settledWithin(pool.acquire(), 1000)
  const { borrowed } = pool
  await pool.release(after)
  await pool.clear()
  return { availableOnceCleared, lentDestroyed, borrowed, strayDestroys: ledger.strayDestroys }
}

/** A create is in flight as the pool is cleared. */
export async function clearRacesACreate(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next('held')
  const pool = createPool(factory, { max: 1, min: 1, acquireTimeoutMillis: 300 })
  const create = await factory.onCreate.call()
  const cleared = pool.clear()
  create.ok()
  await cleared
  await turns(2)
  const acquire = await settledWithin(pool.acquire(), 1000)
  const lentDestroyed = acquire.state === 'fulfilled' && !factory.ledger.open.has(acquire.value)
  return { acquire: ending(acquire), lentDestroyed, strayDestroys: factory.ledger.strayDestroys }
}

/** Connections are destroyed as fast as they come; each takes its time to close. How many sockets are open at most? */
export async function closingConnectionsNotCounted(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onDestroy.always('held')
  const pool = createPool(factory, { max: 2, acquireTimeoutMillis: 2000 })
  for (let round = 0; round < 5; round += 1) {
    const pair = [pool.acquire(), pool.acquire()]
    // The closes of the last round end only when this one's acquires have had every chance to overtake them.
    void turns(20).then(endCloses)
    for (const resource of await Promise.all(pair)) pool.destroy(resource).catch(() => {})
  }
  return { mostOpen: factory.ledger.mostOpen, created: factory.ledger.created.length }

  async function endCloses(): Promise<void> {
    const due = factory.onDestroy.calls - factory.ledger.destroyed.length
    for (let close = 0; close < due; close += 1) (await factory.onDestroy.call()).ok()
  }
}
