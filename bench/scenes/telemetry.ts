import { inRequest, WATCHED, watchedPool } from '../contenders/telemetry.ts'
import type { Scene } from './scene.ts'
import { callers, perOperation } from './timing.ts'

/** What it costs a loan to be watched. */
function watched(workers: number): [string, Scene] {
  const row = `acquire+release, max 10, ${workers} ${workers === 1 ? 'worker' : 'workers'}`
  return [
    `telemetry: ${row}`,
    {
      group: 'telemetry',
      contenders: WATCHED,
      base: 'nobody watches',
      rounds: 3,
      async run(contender) {
        const pool = watchedPool(contender, 10)
        const cost = await perOperation(async count => {
          const each = Math.ceil(count / workers)
          const lend = async (): Promise<void> => {
            for (let done = 0; done < each; done += 1) {
              const connection = await pool.acquire()
              pool.release(connection)
            }
          }
          await inRequest(() => callers(workers, lend))
        }, workers * 20)
        return [{ row, unit: 'ns', ...cost }]
      },
    },
  ]
}

export const SCENES: Readonly<Record<string, Scene>> = Object.fromEntries([watched(1), watched(100)])
