import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import type { PoolError } from '../../src/index.ts'
import { withRedis } from '../support/redis.ts'
import { tally } from './pools-on-one-clock.ts'

const redis = await withRedis()
after(() => redis.stop())

const TASKS = 300

/**
 * The deadline would free them as well. How soon the proof does it is seen on the injected clock, in knots.test.ts; a
 * busy machine takes its time.
 */
const DEADLINE_MILLIS = 60_000
const SOON_MILLIS = DEADLINE_MILLIS / 6

/** @returns how long the knot stood, in milliseconds */
async function scene(how: 'acquire' | 'use'): Promise<number> {
  await using pool = createRedisPool(redis.url, {
    max: TASKS,
    min: TASKS,
    acquireTimeoutMillis: DEADLINE_MILLIS,
    name: 'incident',
  })
  await pool.ready({ timeoutMillis: 30_000 })
  let brokenAt = Number.NaN
  let tiedAt = Number.NaN
  let asking = 0
  pool.once('deadlock', () => {
    brokenAt = performance.now()
  })
  /** Each holds its own by now, and asks for another: the last one ties the knot. */
  const ask = (): void => {
    asking += 1
    if (asking === TASKS) tiedAt = performance.now()
  }
  async function read(): Promise<string> {
    ask()
    if (how === 'use') return pool.use(client => client.ping())
    const client = await pool.acquire()
    try {
      return await client.ping()
    } finally {
      await pool.release(client)
    }
  }
  let ready = 0
  let everybody!: () => void
  const all = new Promise<void>(resolve => {
    everybody = resolve
  })
  /** Nobody goes on before all have their first connection. */
  const meet = (): Promise<void> => {
    ready += 1
    if (ready === TASKS) everybody()
    return all
  }
  async function task(): Promise<string> {
    if (how === 'use') {
      return pool.use(async client => {
        await client.ping()
        await meet()
        return read()
      })
    }
    const client = await pool.acquire()
    try {
      await client.ping()
      await meet()
      return await read()
    } finally {
      await pool.release(client)
    }
  }
  const ended = await Promise.all(
    Array.from({ length: TASKS }, () => task().catch((error: PoolError) => error.code)),
  )
  const counts = tally(ended)
  assert.ok((counts.PONG ?? 0) >= TASKS - 1, JSON.stringify(counts))
  assert.equal((counts.PONG ?? 0) + (counts.POOL_DEADLOCK ?? 0), TASKS, JSON.stringify(counts))
  assert.equal(pool.borrowed + pool.pending, 0)
  return brokenAt - tiedAt
}

for (const how of ['acquire', 'use'] as const) {
  test(`300 tasks on 300 connections to Redis each take a second one: freed at once, nothing left (${how})`, {
    skip: redis.skip,
  }, async () => {
    const took = await scene(how)
    assert.ok(took < SOON_MILLIS, `${Math.round(took)} ms from the knot to its end`)
  })
}
