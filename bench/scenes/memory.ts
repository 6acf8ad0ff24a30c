import { PerformanceObserver } from 'node:perf_hooks'
import { POOLS, poolOf } from '../contenders/pools.ts'
import type { Scene } from './scene.ts'
import { callers, elsewhere, heapUsed, turn } from './timing.ts'

const MANY = 10_000

/** What a connection costs in a pool, idle and lent, the connection itself apart. */
const connections: Scene = {
  group: 'memory',
  contenders: POOLS,
  rounds: 2,
  async run(contender) {
    const lent: Awaited<ReturnType<ReturnType<typeof poolOf>['acquire']>>[] = new Array(MANY)
    const pool = poolOf(contender, { max: MANY, timeoutMillis: 60_000 })
    // A resource is an object of one number. What else the factory or the first loan leaves behind is the pool's.
    const resource = 24
    const first = await elsewhere(() => pool.acquire())
    pool.release(first)
    const before = heapUsed()
    // One turn for each hundred, so that no pool is measured with a queue's remains.
    for (let at = 0; at < MANY; at += 100) {
      const batch = await callers(100, () => pool.acquire())
      for (const [index, each] of batch.entries()) lent[at + index] = each
      await turn()
    }
    const held = heapUsed()
    for (const [index, each] of lent.entries()) {
      pool.release(each)
      delete lent[index]
      if (index % 100 === 0) await turn()
    }
    await turn()
    const idle = heapUsed()
    return [
      { row: 'an idle connection', unit: 'B', value: (idle - before) / MANY - resource },
      { row: 'a lent connection', unit: 'B', value: (held - before) / MANY - resource },
    ]
  },
}

/** Heap allocated by something, garbage included: the least of three times, as V8 itself allocates now and then. */
async function allocated(during: () => Promise<unknown>): Promise<number> {
  const times = [await allocatedOnce(during), await allocatedOnce(during), await allocatedOnce(during)]
  return Math.min(...times)
}

/** Throws if a collection has come between. */
async function allocatedOnce(during: () => Promise<unknown>): Promise<number> {
  let collections = 0
  const observer = new PerformanceObserver(list => {
    collections += list.getEntries().length
  })
  heapUsed()
  await turn()
  observer.observe({ entryTypes: ['gc'] })
  const before = process.memoryUsage().heapUsed
  await during()
  const bytes = process.memoryUsage().heapUsed - before
  await turn()
  await turn()
  observer.disconnect()
  if (collections > 0) throw new Error('a collection came between: fewer cycles are needed')
  return bytes
}

/** Before the method is trusted, it has to find what is known. */
async function verify(): Promise<void> {
  const kept: number[][] = new Array(1000)
  // A header of two words, a length, and 100 elements of one word each; the array itself has four words.
  const known = 1000 * (2 * 8 + 100 * 8 + 4 * 8)
  const found = await allocated(async () => {
    for (let at = 0; at < 1000; at += 1) kept[at] = new Array<number>(100).fill(at)
  })
  if (Math.abs(found / known - 1) > 0.05) throw new Error(`found ${found} B allocated, of ${known} B known`)
}

/** Bytes allocated by a cycle, warmed up: what the garbage collector gets to do. */
const garbage: Scene = {
  group: 'memory',
  contenders: POOLS,
  rounds: 2,
  flags: ['--min-semi-space-size=128', '--max-semi-space-size=128'],
  async run(contender) {
    await verify()
    const work = async (): Promise<void> => {}
    const cycles = async (workers: number, count: number, viaUse: boolean): Promise<number> => {
      const pool = poolOf(contender, { max: 10 })
      const loop = async (each: number): Promise<void> => {
        for (let done = 0; done < each; done += 1) {
          if (viaUse) await pool.use(work)
          else pool.release(await pool.acquire())
        }
      }
      const all = (total: number) => () => callers(workers, () => loop(Math.ceil(total / workers)))
      await all(40_000)()
      return (await allocated(all(count))) / count
    }
    return [
      { row: 'allocated by acquire+release, uncontended', unit: 'B', value: await cycles(1, 15_000, false) },
      { row: 'allocated by use, uncontended', unit: 'B', value: await cycles(1, 15_000, true) },
      {
        row: 'allocated by acquire+release, 100 workers, max 10',
        unit: 'B',
        value: await cycles(100, 15_000, false),
      },
    ]
  },
}

/** Ten million cycles: uncontended, with a queue, and by way of `use`. What has the heap grown by since the first? */
/** Cycles before the growth of the heap is measured, in millions. */
const WARM_MILLIONS = 5

const growth: Scene = {
  group: 'memory',
  contenders: ['lifeguard-pool'],
  rounds: 1,
  patience: 90_000,
  async run(contender, quick) {
    const pool = poolOf(contender, { max: 10 })
    const work = async (): Promise<void> => {}
    const cycles = async (count: number): Promise<void> => {
      for (const workers of [1, 100]) {
        const loop = async (): Promise<void> => {
          for (let done = 0; done < count / 4 / workers; done += 1) {
            await pool.use(work)
            pool.release(await pool.acquire())
          }
        }
        await callers(workers, loop)
        await turn()
      }
    }
    const million = quick ? 100_000 : 1_000_000
    // What V8 learns and compiles on the way is no growth of the pool: some 150 kB, in the first millions.
    for (let done = 0; done < WARM_MILLIONS; done += 1) await cycles(million)
    const before = heapUsed()
    for (let done = 0; done < 10; done += 1) await cycles(million)
    return [
      { row: `growth of the heap, ${quick ? 1 : 10} million cycles`, unit: 'B', value: heapUsed() - before },
    ]
  },
}

export const SCENES: Readonly<Record<string, Scene>> = {
  'memory: connections': connections,
  'memory: garbage': garbage,
  'memory: growth': growth,
}
