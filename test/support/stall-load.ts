import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import type { Pool } from '../../src/pool/pool.ts'
import { block, eventually } from './factories.ts'

/** What became of everything that was under way while the loop was blocked again and again. */
export interface StallOutcome {
  readonly served: number
  readonly failures: Readonly<Record<string, number>>
  readonly destroyed: Readonly<Record<string, number>>
  readonly createErrors: readonly string[]
  readonly stalls: number
  readonly created: number
}

/**
 * Blocks the event loop again and again while commands, PINGs (every loan is validated), creates (connections live for
 * a few loans only) and waiting acquires are under way, all with deadlines shorter than the block.
 */
export async function blockUnderLoad(
  url: string,
  options: {
    blocks: number
    blockMillis: number
    timeoutMillis: number
    acquireTimeoutMillis: number
    workers: number
  },
): Promise<StallOutcome> {
  const { blocks, blockMillis, timeoutMillis, acquireTimeoutMillis, workers } = options
  const pool = createRedisPool(url, {
    max: 8,
    testOnBorrow: true,
    acquireTimeoutMillis,
    validateTimeoutMillis: timeoutMillis,
    createTimeoutMillis: timeoutMillis,
  })
  const failures: Record<string, number> = {}
  const destroyed: Record<string, number> = {}
  const createErrors: string[] = []
  pool.on('destroy', ({ reason, detail }) => {
    const key = reason === 'user' || reason === 'drain' ? reason : `${reason}: ${detail}`
    destroyed[key] = (destroyed[key] ?? 0) + 1
  })
  pool.on('factoryCreateError', error => createErrors.push(String(error)))
  let served = 0
  let over = false
  const rounds: number[] = Array.from({ length: workers }, () => 0)
  const worker = async (index: number): Promise<void> => {
    for (let round = 0; !over; round += 1) {
      try {
        const client = await pool.acquire()
        await client.get('lifeguard')
        served += 1
        await ((round + index) % 20 === 0 ? pool.destroy(client) : pool.release(client))
      } catch (error) {
        const { code = '', message } = error as { code?: string; message: string }
        const key = `${code} ${message}`.slice(0, 160)
        failures[key] = (failures[key] ?? 0) + 1
      }
      rounds[index] = round
    }
  }
  const working = Array.from({ length: workers }, (_, index) => worker(index))
  for (let count = 0; count < blocks; count += 1) {
    // However little of the machine there is for this process: a caller that three blocks in a row hit may time out.
    const before = [...rounds]
    await eventually(() => rounds.every((round, index) => round > (before[index] as number)))
    await breathe(pool, count)
    block(blockMillis)
  }
  await breathe(pool, 0)
  over = true
  await Promise.all(working)
  const { stalls, totals } = pool.stats()
  await pool.close()
  return { served, failures, destroyed, createErrors, stalls: stalls.count, created: totals.created }
}

/** Lets the loop run for a moment, each time another one, so that blocks begin at all points of the work. */
function breathe<T>(pool: Pool<T>, count: number): Promise<void> {
  return new Promise(resolve => {
    if (count % 3 === 0) setTimeout(resolve, 20 + (count % 7))
    else if (count % 3 === 1) setTimeout(() => setImmediate(resolve), 30)
    else
      pool.acquire().then(
        resource => pool.release(resource).then(resolve),
        () => resolve(),
      )
  })
}
