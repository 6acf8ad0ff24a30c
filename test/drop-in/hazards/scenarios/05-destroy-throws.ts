import { scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts, throwsSynchronously } from '../scenario.ts'

/** A destroy throws while somebody waits for the slot that it is to free. */
export async function run(createPool: CreatePool): Promise<Facts> {
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
