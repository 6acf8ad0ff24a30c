import { CountingFactory } from '../../../support/factories.ts'
import type { CreatePool, Facts } from '../scenario.ts'

const CALLERS = 100_000

/** A hundred thousand callers give up at about the same time: for how long does the event loop stand still? */
export async function run(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 1, acquireTimeoutMillis: 1500 })
  await pool.acquire()
  let expired = 0
  const waiters: Promise<void>[] = []
  for (let caller = 0; caller < CALLERS; caller += 1) {
    waiters.push(
      pool.acquire().then(
        () => {},
        () => {
          expired += 1
        },
      ),
    )
  }
  const before = expired
  let longest = 0
  let last = performance.now()
  const look = setInterval(() => {
    const now = performance.now()
    // The turn in which the callers came is not what is measured.
    if (expired > before) longest = Math.max(longest, now - last)
    last = now
  }, 1)
  await Promise.all(waiters)
  await new Promise(resolve => setTimeout(resolve, 5))
  clearInterval(look)
  return { expired, longestStallMillis: Math.round(longest), pending: pool.pending }
}
