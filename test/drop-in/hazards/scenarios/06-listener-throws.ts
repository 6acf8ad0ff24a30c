import { scripted, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

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
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.next({ later: { rejects: new Error('connect ECONNREFUSED') } })
  factory.onDestroy.next({ rejects: new Error('already closed') })
  const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 400 })
  let heard = 0
  for (const event of EVENTS) {
    pool.on(event, () => {
      heard += 1
      throw new Error(`listener of ${event}`)
    })
  }
  const first = await settledWithin(pool.acquire(), 1000)
  if (first.state === 'fulfilled') await settledWithin(pool.destroy(first.value), 500)
  const second = await settledWithin(pool.acquire(), 1000)
  if (second.state === 'fulfilled') await settledWithin(pool.release(second.value), 500)
  await turns(2)
  return { first: ending(first), second: ending(second), heard, available: pool.available }
}
