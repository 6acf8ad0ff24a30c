import { POOLS, poolOf } from '../contenders/pools.ts'
import type { Figure, Scene } from './scene.ts'
import { callers, cpuMicros, quantile, turn } from './timing.ts'

const STORM = 1000
const CREATE_MILLIS = 5
const HOLD_MILLIS = 1

/** A thousand acquires at once on an empty pool; each holds its connection for a millisecond. */
const storm: Scene = {
  group: 'create storm',
  contenders: POOLS.filter(name => name !== 'floor'),
  // V8 compiles generic-pool in one storm or the other: its time in the third is 5 ms or 15.
  rounds: 5,
  async run(contender) {
    const figures: Figure[] = []
    // Once to get warm, as a service in its second storm.
    for (let time = 0; time < 3; time += 1) {
      let count = 0
      const made = (): void => {
        count += 1
      }
      const pool = poolOf(contender, { max: STORM, createMillis: CREATE_MILLIS, made })
      const [start, cpu] = [performance.now(), cpuMicros()]
      await callers(STORM, async () => {
        const resource = await pool.acquire()
        await new Promise(resolve => setTimeout(resolve, HOLD_MILLIS))
        pool.release(resource)
      })
      const title = `max ${STORM}, ${STORM} acquires at once, ${CREATE_MILLIS} ms a create`
      figures.splice(0)
      figures.push(
        { row: `${title}: connections made`, unit: '', value: count },
        { row: `${title}: until all are served`, unit: 'ms', value: performance.now() - start },
        { row: `${title}: CPU`, unit: 'ms', value: (cpuMicros() - cpu) / 1000 },
      )
    }
    return figures
  },
}

/** How long each of many callers waits, and not only on average. */
const latency: Scene = {
  group: 'latency of an acquire',
  contenders: POOLS,
  rounds: 2,
  async run(contender) {
    const figures: Figure[] = []
    for (const workers of [1, 10, 100]) {
      const pool = poolOf(contender, { max: 10 })
      const run = async (count: number): Promise<number[]> => {
        const waits: number[] = []
        const loop = async (): Promise<void> => {
          while (waits.length < count) {
            const start = performance.now()
            const resource = await pool.acquire()
            waits.push((performance.now() - start) * 1000)
            // What is asked of a server takes a turn of the loop at the least.
            await turn()
            pool.release(resource)
          }
        }
        await callers(workers, loop)
        return waits
      }
      await run(10_000)
      const waits = await run(20_000)
      const title = `${workers} ${workers === 1 ? 'worker' : 'workers'}, max 10, held for a turn`
      figures.push(
        { row: `${title}: p50`, unit: 'µs', value: quantile(waits, 0.5) },
        { row: `${title}: p99`, unit: 'µs', value: quantile(waits, 0.99) },
        { row: `${title}: longest`, unit: 'µs', value: quantile(waits, 1) },
      )
    }
    return figures
  },
}

export const SCENES: Readonly<Record<string, Scene>> = { 'create storm': storm, latency }
