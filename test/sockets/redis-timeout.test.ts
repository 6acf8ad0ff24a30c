import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import type { DestroyReason } from '../../src/api/stats.ts'
import type { Pool } from '../../src/index.ts'
import { withRedis } from '../support/redis.ts'

/** Rounds of idling past the limit of the server. */
const ROUNDS = process.env.LIFEGUARD_LONG ? 10 : 3
/** Redis closes a connection with `timeout 2` after 2.0 to 3.3 s. */
const IDLING = 3500

const open = await withRedis({ timeout: '2' })
const denied = await withRedis({ timeout: '2', 'rename-command': 'CONFIG ""' })
after(() => Promise.all([open.stop(), denied.stop()]))

/** Uses all connections, lets them idle past the limit, again and again. Fails with the first command that does. */
async function idle(pool: Pool<Redis>, rounds: number): Promise<Map<DestroyReason, number>[]> {
  const perRound: Map<DestroyReason, number>[] = []
  const count = ({ reason }: { reason: DestroyReason }): void => {
    const counts = perRound.at(-1)
    counts?.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  pool.on('destroy', count)
  for (let round = 0; round < rounds; round += 1) {
    perRound.push(new Map())
    const replies = await Promise.all(
      Array.from({ length: 5 }, () => pool.use(redis => redis.incr(open.key('n')))),
    )
    assert.equal(replies.length, 5)
    await pause(IDLING)
  }
  await pool.use(redis => redis.ping())
  pool.off('destroy', count)
  return perRound
}

const options: PoolOptions = { max: 5, min: 2, validateTimeoutMillis: 500 }

describe('Redis with timeout 2', { concurrency: true }, () => {
  test('whose CONFIG can be read never closes first', { skip: open.skip }, async () => {
    const pool = createRedisPool(open.url, options)
    const rounds = await idle(pool, ROUNDS)
    const { serverTimeout } = pool.stats()
    await pool.close()
    assert.equal(serverTimeout.source, 'asked')
    assert.equal(serverTimeout.limitMillis, 2000)
    for (const counts of rounds) {
      assert.deepEqual([...counts.keys()], ['server-timeout'], 'the server was first')
    }
  })

  test('whose CONFIG is renamed away closes those of the first rounds; then its limit is known', {
    skip: denied.skip,
  }, async () => {
    const pool = createRedisPool(denied.url, options)
    const told: unknown[] = []
    pool.on('server-timeout', event => told.push(event))
    const rounds = await idle(pool, ROUNDS)
    const { serverTimeout } = pool.stats()
    await pool.close()
    assert.equal(serverTimeout.source, 'learned')
    assert.ok(told.length > 0)
    const lost = rounds.map(counts => (counts.get('half-closed') ?? 0) + (counts.get('broken') ?? 0))
    assert.ok((lost[0] ?? 0) > 0, 'the server closed none: the test proves nothing')
    assert.deepEqual(
      lost.slice(2).filter(count => count > 0),
      [],
      `lost ${lost}`,
    )
  })

  test('does not close connections that are kept warm', { skip: open.skip }, async () => {
    const pool = createRedisPool(open.url, { ...options, keepWarm: true })
    const rounds = await idle(pool, ROUNDS)
    const { totals } = pool.stats()
    await pool.close()
    assert.deepEqual(
      rounds.flatMap(counts => [...counts]),
      [],
    )
    assert.ok(totals.created <= 5, `${totals.created} were created`)
  })

  test('does not close one that a borrower holds without using it, and gives back late', {
    skip: open.skip,
  }, async () => {
    const pool = createRedisPool(open.url, { ...options, min: 0, serverIdleTimeoutMillis: 2000 })
    const client = await pool.acquire()
    await client.ping()
    await pause(1500)
    const released = pool.release(client)
    // It has been idle for the server all the while, so it retires at once instead of in a second.
    assert.equal(pool.size, 0)
    await released
    await pool.close()
  })
})
