/* Hazards 1, 3, 4 and 12: creates that hang, reject, throw or are slow. */

import { eventually, scripted, settledNow, settledWithin, turns } from '../../../support/factories.ts'
import {
  type AnyPool,
  type CreatePool,
  causeOf,
  ending,
  type Facts,
  serveInTurn,
  throwsSynchronously,
} from '../scenario.ts'

/** Ten acquires, one after the other, of a pool of ten whose first create never answers in time. */
export async function hungCreate(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next('held')
  const pool = createPool(factory, { max: 10, acquireTimeoutMillis: 250, createTimeoutMillis: 5000 })
  const served = await serveInTurn(pool, 10)
  const creates = factory.onCreate.calls
  // Long after everybody has left, the connection arrives; it must not be lost.
  const late = await factory.onCreate.call()
  late.ok()
  await turns(3)
  const { open } = factory.ledger
  const known = pool.size
  await settledWithin(pool.drain(), 500)
  await settledWithin(pool.clear(), 500)
  return { served, creates, opened: factory.ledger.created.length, known, openAtLast: open.size }
}

/** The only slot of a pool is taken by a create that hangs, and whose connection arrives when it was given up. */
export async function hungCreateOnlySlot(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next('held')
  const pool = createPool(factory, { max: 1, createTimeoutMillis: 50, acquireTimeoutMillis: 1000 })
  const served = await serveInTurn(pool, 3)
  const late = await factory.onCreate.call()
  late.ok()
  const lateIsClosed = await eventually(() => factory.ledger.destroyed.length === 1, { within: 300 }).then(
    () => true,
    () => false,
  )
  return { served, lateIsClosed, open: factory.ledger.open.size }
}

/** Each create rejects within the same turn of the event loop: the acquire must still time out. */
export async function createRejectsAtOnce(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ rejects: new Error('connect ECONNREFUSED') })
  const pool = createPool(factory, { max: 2, acquireTimeoutMillis: 200 })
  const acquire = await settledWithin(pool.acquire(), 1500)
  return { acquire: ending(acquire), cause: causeOf(acquire), attempts: factory.onCreate.calls }
}

/** Four callers wait, each create rejects a turn of the event loop later: how often is it tried, and who hears why? */
export async function createKeepsFailing(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 4, acquireTimeoutMillis: 300 })
  let reported = 0
  pool.on('factoryCreateError', () => {
    reported += 1
  })
  let inFlight = 0
  let mostOnceFailing = 0
  const create = factory.create.bind(factory)
  factory.create = signal => {
    inFlight += 1
    // The first round was made in good faith.
    if (factory.onCreate.calls >= 4) mostOnceFailing = Math.max(mostOnceFailing, inFlight)
    return Promise.resolve(create(signal)).finally(() => {
      inFlight -= 1
    })
  }
  let loopTurns = 0
  let isOver = false
  const count = (): void => {
    loopTurns += 1
    if (!isOver) setImmediate(count)
  }
  count()
  const waiters = Array.from({ length: 4 }, () => settledWithin(pool.acquire(), 2000))
  const [acquire] = await Promise.all(waiters)
  isOver = true
  // One may be under way as they give up.
  await turns(3)
  const { calls: attempts } = factory.onCreate
  return {
    acquire: acquire ? ending(acquire) : null,
    cause: acquire ? causeOf(acquire) : null,
    attempts,
    perTurn: attempts / loopTurns,
    reported: reported === attempts,
    mostOnceFailing,
  }
}

/** The server is away. Somebody waits already; who comes later need not wait to hear it; then the server returns. */
export async function outageWithoutEnd(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 2, acquireTimeoutMillis: 2000, unhealthyAfterMillis: 100 })
  const patient = pool.acquire()
  patient.catch(() => {})
  await eventually(() => factory.onCreate.calls >= 5)
  const asked = performance.now()
  const newcomer = await settledWithin(pool.acquire(), 4000)
  const quick = performance.now() - asked < 1500
  const earlier = await settledWithin(patient, 4000)
  factory.onCreate.always('ok')
  const recovered = await eventually(
    () =>
      pool.acquire().then(
        resource => pool.release(resource).then(() => true),
        () => false,
      ),
    { within: 3000 },
  ).then(
    () => true,
    () => false,
  )
  return {
    newcomer: ending(newcomer),
    newcomerCause: causeOf(newcomer),
    quick,
    earlier: ending(earlier),
    earlierCause: causeOf(earlier),
    recovered,
  }
}

/** The first create throws before it returns a promise; two callers come, one after the other. */
export async function createThrows(createPool: CreatePool): Promise<Facts> {
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

/** The first create, made for `min`, throws before it returns a promise. */
export async function createThrowsAtStart(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ throws: new Error('bad host') })
  let pool: AnyPool<unknown> | undefined
  try {
    pool = createPool(factory, { max: 2, min: 2 })
  } catch {
    return { threw: true }
  }
  const filled = await eventually(() => pool.available === 2).then(
    () => true,
    () => false,
  )
  return { threw: false, filled }
}

/** One of the creates for `min` fails; nobody acquires. */
export async function minNotRestored(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 4, min: 3 })
  const filled = await eventually(() => pool.available >= 3, { within: 1000 }).then(
    () => true,
    () => false,
  )
  return { filled }
}

/** `ready()` while no create succeeds. */
export async function readyInAnOutage(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 2, min: 1, acquireTimeoutMillis: 300 })
  const ready = await settledWithin(pool.ready(), 2500)
  return { ready: ready.state, code: ending(ready), cause: causeOf(ready) }
}

/** Is `ready()` told in the turn in which the last connection of `min` arrives, or some time later? */
export async function readyPolls(createPool: CreatePool): Promise<Facts> {
  // A poll may happen to come right then, or a busy machine give it the time.
  for (let round = 0; round < 10; round += 1) {
    const factory = scripted()
    factory.onCreate.always('held')
    const pool = createPool(factory, { max: 2, min: 2 })
    const ready = pool.ready()
    const creates = [await factory.onCreate.call(), await factory.onCreate.call()]
    for (const create of creates) create.ok()
    await turns(3)
    const { state } = await settledNow(ready)
    if (state !== 'fulfilled') return { available: pool.available, ready: state }
  }
  return { available: 2, ready: 'fulfilled' }
}
