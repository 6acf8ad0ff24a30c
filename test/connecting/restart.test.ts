import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { eventually } from '../support/factories.ts'
import { ensureRedisBinary, startRedis } from '../support/redis-server.ts'

const binary = await ensureRedisBinary()
const skip = 'missing' in binary ? binary.missing : false

/** One wave of `maxConnecting` connects, and then one each 50 ms. */
const MOST_DIALS = 4 + 1000 / 50

for (const max of [1, 10]) {
  test(`a Redis that is killed and is back 1.5 s later costs no caller an error who was not at work, max ${max}`, {
    skip,
  }, async () => {
    const first = await startRedis()
    // On a busy machine a server takes its time to start: the breaker must not open for that.
    const pool = createRedisPool(first.url, { max, acquireTimeoutMillis: 30_000 })
    const dialled: number[] = []
    pool.on('factoryCreateError', () => dialled.push(performance.now()))
    const told: { cameAt: number; at: number; error: unknown }[] = []
    let inFlight = 0
    let cut = 0
    const call = async (): Promise<void> => {
      const cameAt = performance.now()
      let atWork = false
      try {
        await pool.use(async client => {
          atWork = true
          inFlight += 1
          await client.get('key').finally(() => {
            inFlight -= 1
          })
        })
        told.push({ cameAt, at: performance.now(), error: undefined })
      } catch (error) {
        // Its command had been sent, and may have run: that is for the caller to judge.
        if (atWork) cut += 1
        else told.push({ cameAt, at: performance.now(), error })
      }
    }
    const calls: Promise<void>[] = []
    const timer = setInterval(() => void calls.push(call()), 4)
    await eventually(() => told.length > 50)
    await first.stop()
    const gone = performance.now()
    // One try each 50 ms or more: it is away for a second and a half at least.
    await eventually(() => dialled.length >= 30, { within: 30_000 })
    const second = await startRedis({ port: String(first.port) })
    const served = told.length
    await eventually(() => told.length > served + 500, { within: 20_000 })
    clearInterval(timer)
    await Promise.all(calls)
    await pool.close()
    await second.stop()
    assert.deepEqual(
      told.filter(({ error }) => error !== undefined).map(({ error }) => String(error)),
      [],
    )
    assert.ok(cut <= max, `${cut} were at work`)
    const perSecond = dialled.filter(at => at > gone && at < gone + 1000).length
    assert.ok(perSecond <= MOST_DIALS, `${perSecond} dials in a second`)
    assert.equal(inFlight, 0)
  })
}
