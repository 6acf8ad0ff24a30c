import { POOLS, poolOf } from '../contenders/pools.ts'
import type { Scene } from './scene.ts'
import { callers, perOperation } from './timing.ts'

const work = async (): Promise<void> => {}

/** Many workers, each lending and returning in a loop. */
function cycles(
  group: string,
  viaUse: boolean,
  workers: number,
  max: number,
  together: (count: number, run: () => Promise<void>) => Promise<unknown> = callers,
): [string, Scene] {
  const many = together === siblings ? 'siblings' : 'workers'
  const row = `${group}, ${workers} ${workers === 1 ? 'worker' : many}, max ${max}`
  const telling = max === 10 && together === callers
  const quick = telling && (!viaUse || workers === 10)
  return [
    row,
    {
      group,
      contenders: telling ? POOLS : POOLS.filter(name => TELLING.test(name)),
      rounds: telling && !viaUse ? 5 : 3,
      ...(quick ? { quickRounds: 3 } : {}),
      eachNode: telling,
      async run(contender) {
        const pool = poolOf(contender, { max })
        const cost = await perOperation(async count => {
          const each = Math.ceil(count / workers)
          const lend = async (): Promise<void> => {
            for (let done = 0; done < each; done += 1) {
              const resource = await pool.acquire()
              pool.release(resource)
            }
          }
          const use = async (): Promise<void> => {
            for (let done = 0; done < each; done += 1) await pool.use(work)
          }
          await together(workers, viaUse ? use : lend)
        }, workers * 20)
        return [{ row, unit: 'ns', ...cost }]
      },
    },
  ]
}

/** The contenders that tell most. */
const TELLING = /^(?!generic-pool \+ p-timeout|tarn|sequelize-pool)/

/** Of one caller: what a service does with `Promise.all(items.map(…))`. */
const siblings = (count: number, run: () => Promise<void>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, run))

const LENDING = 'acquire+release'
const USING = 'use'

export const SCENES: Readonly<Record<string, Scene>> = Object.fromEntries([
  cycles(LENDING, false, 1, 1),
  cycles(LENDING, false, 1, 10),
  cycles(LENDING, false, 10, 10),
  cycles(LENDING, false, 100, 10),
  cycles(LENDING, false, 1000, 100),
  cycles(LENDING, false, 100, 10, siblings),
  cycles(USING, true, 1, 1),
  cycles(USING, true, 1, 10),
  cycles(USING, true, 10, 10),
  cycles(USING, true, 100, 10),
  cycles(USING, true, 1000, 100),
])
