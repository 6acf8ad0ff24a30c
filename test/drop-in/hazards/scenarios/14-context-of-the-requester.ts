import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { eventually } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

/** In whose `AsyncLocalStorage` context do the hooks run, and a timer that a connection keeps? */
export async function run(createPool: CreatePool): Promise<Facts> {
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
