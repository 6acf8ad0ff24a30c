import { poolOf } from '../contenders/pools.ts'
import type { Figure, Scene } from './scene.ts'
import { callers, cpuMicros, perOperation, turn } from './timing.ts'

const SIZES = [1, 10, 100, 1000, 10_000]
const QUEUES = [0, 10, 100, 1000, 10_000, 100_000]
const GROUP = 'growth'
// The other two search or copy their queues and lists, so that they take minutes.
const CONTENDERS = ['generic-pool', 'lightning-pool', 'lifeguard-pool', 'floor']

const inWords = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ' ')

/** The last beside the first: 1 is flat. */
function slope(figures: readonly Figure[], row: string): Figure {
  return { row, unit: '×', value: (figures.at(-1)?.value ?? Number.NaN) / (figures[0]?.value ?? Number.NaN) }
}

/** Takes so many connections, in batches, as they would come to a service. */
async function take(pool: ReturnType<typeof poolOf>, count: number): Promise<unknown[]> {
  const lent: unknown[] = []
  for (let at = 0; at < count; at += 100)
    lent.push(...(await callers(Math.min(100, count - at), () => pool.acquire())))
  return lent
}

/** A loan of one connection, beside ever more that are all idle, or all lent. */
const bySize = (state: 'idle' | 'lent'): Scene => ({
  group: GROUP,
  contenders: CONTENDERS,
  rounds: 2,
  async run(contender) {
    const figures: Figure[] = []
    for (const size of SIZES) {
      const pool = poolOf(contender, { max: size + 1, timeoutMillis: 60_000 })
      const lent = await take(pool, size)
      if (state === 'idle') for (const each of lent) pool.release(each as never)
      await turn()
      const loans = async (count: number): Promise<void> => {
        for (let done = 0; done < count; done += 1) pool.release(await pool.acquire())
      }
      // The first loans, three for each connection, have their stacks taken: with 10 000 more than a warm-up has.
      await loans(4 * size)
      const { value } = await perOperation(loans)
      figures.push({ row: `acquire+release, ${inWords(size)} ${state}`, unit: 'ns', value })
    }
    return [...figures, slope(figures, `acquire+release, 10 000 ${state} beside 1`)]
  },
})

/** Release to the first of ever more who wait, who then joins them at the end. */
const byQueue: Scene = {
  group: GROUP,
  contenders: CONTENDERS,
  rounds: 2,
  async run(contender) {
    const figures: Figure[] = []
    for (const waiters of QUEUES) {
      const pool = poolOf(contender, { max: 1, timeoutMillis: 60_000 })
      const value = await handOff(pool, waiters, waiters + 50_000, Math.max(100_000, waiters))
      figures.push({ row: `acquire+release, ${inWords(waiters)} waiting`, unit: 'ns', value })
    }
    // Without a queue it is another path: the shortest queue is what the longest is measured by.
    return [...figures, slope(figures.slice(1), 'acquire+release, 100 000 waiting beside 10')]
  },
}

/** Nanoseconds of CPU a cycle, the queue always as long; all in one go, as nothing yields to the event loop. */
async function handOff(
  pool: ReturnType<typeof poolOf>,
  waiters: number,
  warmUp: number,
  count: number,
): Promise<number> {
  let done = 0
  let [start, end] = [0, 0]
  const worker = async (): Promise<void> => {
    while (end === 0) {
      const resource = await pool.acquire()
      done += 1
      if (done === warmUp) start = cpuMicros()
      if (done === warmUp + count) end = cpuMicros()
      pool.release(resource)
    }
  }
  await callers(waiters + 1, worker)
  return ((end - start) * 1000) / count
}

export const SCENES: Readonly<Record<string, Scene>> = {
  'growth: idle': bySize('idle'),
  'growth: lent': bySize('lent'),
  'growth: waiting': byQueue,
}
