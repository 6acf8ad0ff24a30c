/** CPU time of this process in microseconds, its threads for GC and compilation included. */
export const cpuMicros = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** One turn of the event loop. */
export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/**
 * Callers that have nothing to do with each other, as requests come to a service: each in an async context of its own.
 * Started side by side from one context, they would look to a pool that tracks contexts like parts of one caller.
 */
export async function callers<R>(count: number, run: (caller: number) => Promise<R>): Promise<R[]> {
  // One start for all: a loop that never yields to the event loop would else be over before the next has begun.
  const start = turn()
  return Promise.all(
    Array.from({ length: count }, async (_, caller) => {
      await start
      return run(caller)
    }),
  )
}

/** Somebody else's call: what it leaves in its async context is not left in the caller's. */
export const elsewhere = async <R>(run: () => Promise<R>): Promise<R> => (await callers(1, run))[0] as R

export const collect = (): void => (globalThis.gc as unknown as () => void)()

export function heapUsed(): number {
  collect()
  return process.memoryUsage().heapUsed
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? Number.NaN
}

/** Nanoseconds of an operation: CPU time, and by the clock on the wall. */
export interface Cost {
  readonly value: number
  readonly wall: number
}

async function timed(count: number, run: (count: number) => Promise<unknown>): Promise<Cost> {
  const [start, cpu] = [performance.now(), cpuMicros()]
  await run(count)
  return {
    value: ((cpuMicros() - cpu) * 1e3) / count,
    wall: ((performance.now() - start) * 1e6) / count,
  }
}

/** Long enough for V8 to have compiled everything, and for what a pool does to its first thousand loans. */
const WARM_UP_MICROS = 400_000
const BATCH_NANOS = 15e6
/** More of them for a profile, which is to show this and not the start of the process. */
const BATCHES = Number(process.env.BENCH_BATCHES ?? 6)

/**
 * What one operation costs, warmed up: the second cheapest of six batches of about 15 ms each, as other processes only
 * ever make it dearer. Each batch has minor collections in it.
 *
 * @param run - does the operation so many times
 * @param least - fewest operations of a batch that make sense
 */
export async function perOperation(run: (count: number) => Promise<unknown>, least = 1): Promise<Cost> {
  let count = Math.max(least, 1000)
  let cost = 0
  for (const end = cpuMicros() + WARM_UP_MICROS; cpuMicros() < end; ) {
    cost = (await timed(count, run)).value
    if (cost * count < BATCH_NANOS / 2) count *= 2
  }
  count = Math.max(Math.ceil(BATCH_NANOS / Math.max(cost, 1)), least)
  const batches: Cost[] = []
  while (batches.length < BATCHES) batches.push(await timed(count, run))
  return batches.toSorted((a, b) => a.value - b.value)[1] as Cost
}

/**
 * The longest time for which the loop stood still while something went on, in milliseconds. Of the turn's CPU time and
 * its time on the wall the smaller counts: the first has other threads in it, the second other processes.
 */
export async function longestPause(during: () => Promise<unknown>): Promise<number> {
  let [last, cpu] = [performance.now(), cpuMicros()]
  let longest = 0
  let over = false
  const look = (): void => {
    const [now, used] = [performance.now(), cpuMicros()]
    longest = Math.max(longest, Math.min(now - last, (used - cpu) / 1000))
    last = now
    cpu = used
    if (!over) setImmediate(look)
  }
  setImmediate(look)
  await during()
  over = true
  look()
  return longest
}
