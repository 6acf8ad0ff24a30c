import type { Contender } from './contenders.ts'

/** One measurement of one contender: a figure and its unit. */
export interface Figure {
  readonly value: number
  readonly unit: 'ns' | 'ms' | 'B'
}

export interface Scene {
  readonly max: number
  /** Only contenders that can do it: abort, deadline per call. */
  readonly onlyOurs?: boolean
  run(pool: Contender, quick: boolean): Promise<Figure>
}

const now = (): number => performance.now()

/** Many workers, each lending and returning in a loop. Nanoseconds a cycle. */
function cycles(workers: number, max: number, viaUse: boolean): Scene {
  return {
    max,
    async run(pool, quick) {
      const round = async (count: number): Promise<number> => {
        const each = Math.ceil(count / workers)
        const lend = async (): Promise<void> => {
          for (let done = 0; done < each; done += 1) {
            const resource = await pool.acquire()
            pool.release(resource)
          }
        }
        const work = async (): Promise<void> => {}
        const use = async (): Promise<void> => {
          for (let done = 0; done < each; done += 1) await pool.use(work)
        }
        const start = now()
        await Promise.all(Array.from({ length: workers }, viaUse ? use : lend))
        return ((now() - start) / (each * workers)) * 1e6
      }
      await round(quick ? 60_000 : 200_000)
      return { value: await round(quick ? 150_000 : 600_000), unit: 'ns' }
    },
  }
}

/** The longest time for which the loop stood still while something went on. */
async function longestPause(during: () => Promise<void>): Promise<number> {
  let last = now()
  let longest = 0
  let over = false
  const look = (): void => {
    const at = now()
    longest = Math.max(longest, at - last)
    last = at
    if (!over) setImmediate(look)
  }
  setImmediate(look)
  await during()
  over = true
  look()
  return longest
}

const CROWD = 100_000
const crowdOf = (quick: boolean): number => (quick ? CROWD / 10 : CROWD)

/** A hundred thousand acquires wait on a full pool; one connection serves them all. Nanoseconds a waiter. */
const handOver: Scene = {
  max: 1,
  async run(pool, quick) {
    const held = await pool.acquire()
    const crowd = crowdOf(quick)
    const start = now()
    const waiting: Promise<void>[] = []
    for (let asked = 0; asked < crowd; asked += 1) {
      waiting.push(pool.acquire().then(resource => void pool.release(resource)))
    }
    pool.release(held)
    await Promise.all(waiting)
    return { value: ((now() - start) / crowd) * 1e6, unit: 'ns' }
  },
}

/** What a waiter costs in memory. Bytes. */
const waiterMemory: Scene = {
  max: 1,
  async run(pool, quick) {
    const held = await pool.acquire()
    const crowd = crowdOf(quick)
    const kept: Promise<unknown>[] = new Array(crowd)
    const collect = globalThis.gc as unknown as () => void
    collect()
    const before = process.memoryUsage().heapUsed
    for (let asked = 0; asked < crowd; asked += 1) kept[asked] = pool.acquire()
    collect()
    const bytes = (process.memoryUsage().heapUsed - before) / crowd
    pool.release(held)
    for (const each of kept) pool.release((await each) as never)
    return { value: bytes, unit: 'B' }
  },
}

/** A hundred thousand deadlines in one moment: the longest pause of the loop. Milliseconds. */
const massTimeout: Scene = {
  max: 1,
  async run(pool, quick) {
    await pool.acquire()
    return {
      value: await longestPause(async () => {
        // Asked in portions, so that asking is not what is measured; all are due within a few milliseconds.
        const outcomes: Promise<unknown>[] = []
        const crowd = crowdOf(quick)
        for (let asked = 0; asked < crowd; asked += 1) {
          outcomes.push(pool.acquire().catch(() => undefined))
          if (asked % 500 === 499) await new Promise(setImmediate)
        }
        await Promise.all(outcomes)
      }),
      unit: 'ms',
    }
  },
}

/** A hundred thousand waiters behind one signal that is aborted. Nanoseconds a waiter. */
const massAbort: Scene = {
  max: 1,
  onlyOurs: true,
  async run(pool, quick) {
    await pool.acquire()
    const crowd = crowdOf(quick)
    const caller = new AbortController()
    const outcomes: Promise<unknown>[] = []
    for (let asked = 0; asked < crowd; asked += 1) {
      outcomes.push(pool.acquire({ signal: caller.signal }).catch(() => undefined))
    }
    const start = now()
    caller.abort()
    await Promise.all(outcomes)
    return { value: ((now() - start) / crowd) * 1e6, unit: 'ns' }
  },
}

/** The scenes by name. */
export const SCENES: Readonly<Record<string, Scene>> = {
  'acquire+release, 1 worker, max 1': cycles(1, 1, false),
  'acquire+release, 1 worker, max 10': cycles(1, 10, false),
  'acquire+release, 10 workers, max 10': cycles(10, 10, false),
  'acquire+release, 100 workers, max 10': cycles(100, 10, false),
  'acquire+release, 1000 workers, max 100': cycles(1000, 100, false),
  'use, 1 worker, max 10': cycles(1, 10, true),
  'use, 10 workers, max 10': cycles(10, 10, true),
  'use, 100 workers, max 10': cycles(100, 10, true),
  'queue of 100 000: served, per waiter': handOver,
  'queue of 100 000: memory of a waiter': waiterMemory,
  'queue of 100 000: all time out, longest pause': massTimeout,
  'queue of 100 000: all aborted, per waiter': massAbort,
}
