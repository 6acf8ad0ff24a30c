/* Hazards 1 and 2: validates that hang, reject or throw. */

import { eventually, scripted, settledWithin, turns } from '../../../support/factories.ts'
import {
  type AnyPool,
  type CreatePool,
  ending,
  type Facts,
  serveInTurn,
  throwsSynchronously,
} from '../scenario.ts'

/** One validate never answers. */
export async function hungValidate(createPool: CreatePool): Promise<Facts> {
  const factory = scripted('validate')
  factory.onValidate.next('hangs')
  const pool = createPool(factory, {
    max: 4,
    testOnBorrow: true,
    validateTimeoutMillis: 50,
    acquireTimeoutMillis: 300,
  })
  const served = await serveInTurn(pool, 4)
  // Its time may not be over yet: a second one was made beside it.
  await eventually(() => factory.ledger.open.size === 1, { within: 500 }).catch(() => {})
  return { served, open: factory.ledger.open.size, available: pool.available }
}

/** One validate rejects, as a ping on a dead connection does. */
export async function validateRejects(createPool: CreatePool): Promise<Facts> {
  const factory = scripted('validate')
  factory.onValidate.next({ rejects: new Error('ping failed') })
  const pool = createPool(factory, {
    max: 1,
    testOnBorrow: true,
    validateTimeoutMillis: 50,
    acquireTimeoutMillis: 200,
  })
  const served = await serveInTurn(pool, 3)
  return { served, destroyed: factory.ledger.destroyed.length, spare: pool.spareResourceCapacity }
}

/** A validate throws on the way out of an idle connection; then two acquires in turn. */
export async function validateThrows(createPool: CreatePool): Promise<Facts> {
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
