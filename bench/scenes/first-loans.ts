import { POOLS, poolOf } from '../contenders/pools.ts'
import type { Scene } from './scene.ts'
import { callers } from './timing.ts'

/**
 * What a quick check measures: code that V8 has hardly compiled yet. By the clock on the wall, as it is measured there; CPU
 * time would count V8's compiler threads, for which nobody waits.
 */
const LOANS = 100_000

function firstLoans(viaUse: boolean, workers: number): [string, Scene] {
  const what = viaUse ? 'use' : 'acquire+release'
  const row = `first 100 000 loans: ${what}, ${workers} ${workers === 1 ? 'worker' : 'workers'}, max 10`
  return [
    row,
    {
      group: 'The first 100 000 loans of a process, without a warm-up',
      contenders: POOLS.filter(name => !/p-timeout|sequelize/.test(name)),
      rounds: 9,
      eachNode: true,
      async run(contender) {
        const pool = poolOf(contender, { max: 10 })
        const each = LOANS / workers
        const started = performance.now()
        await callers(workers, async () => {
          for (let done = 0; done < each; done += 1) {
            if (viaUse) await pool.use(async () => {})
            else pool.release(await pool.acquire())
          }
        })
        const millis = performance.now() - started
        return [{ row, unit: 'ns', value: (millis * 1e6) / LOANS }]
      },
    },
  ]
}

export const SCENES: Readonly<Record<string, Scene>> = Object.fromEntries([
  firstLoans(false, 1),
  firstLoans(false, 10),
  firstLoans(false, 100),
  firstLoans(true, 10),
])
