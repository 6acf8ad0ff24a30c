import { eventually, scripted } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** The destroy of an idle connection throws inside the sweep that retires it. */
export async function run(createPool: CreatePool): Promise<Facts> {
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
