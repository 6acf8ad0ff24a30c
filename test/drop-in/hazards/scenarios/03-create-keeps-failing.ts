import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, causeOf, ending, type Facts } from '../scenario.ts'

/** Four callers wait, each create rejects a turn of the event loop later: how often is it tried, and who hears why? */
export async function run(createPool: CreatePool): Promise<Facts> {
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
  const waiters = Array.from({ length: 4 }, () => settledWithin(pool.acquire(), 2000))
  const [acquire] = await Promise.all(waiters)
  const { calls: attempts } = factory.onCreate
  return {
    acquire: acquire ? ending(acquire) : null,
    cause: acquire ? causeOf(acquire) : null,
    attempts,
    reported: reported === attempts,
    mostOnceFailing,
  }
}
