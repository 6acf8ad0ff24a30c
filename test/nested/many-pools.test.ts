/* What the search for deadlocks costs where many pools wait, as those of tenants do behind one slow server. */

import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { test } from 'node:test'
import { World } from './pools-on-one-clock.ts'

/** How many stacks are taken in ten seconds in which so many pools are full, each with a waiter. */
async function stacksOf(count: number): Promise<number> {
  const world = new World()
  const abort = new AbortController()
  setMaxListeners(count, abort.signal)
  const pools = Array.from({ length: count }, () => world.pool({ max: 1 }))
  const held = await Promise.all(pools.map(pool => pool.acquire()))
  const waits = pools.map(async pool => await pool.acquire({ signal: abort.signal }))
  await world.clock.advance(3000)
  const take = Error.captureStackTrace
  let taken = 0
  Error.captureStackTrace = (target, above) => {
    taken += 1
    take(target, above)
  }
  await world.clock.advance(10_000)
  Error.captureStackTrace = take
  abort.abort()
  await Promise.allSettled(waits)
  for (const [at, pool] of pools.entries()) pool.release(held[at] as never)
  await Promise.all(pools.map(pool => pool.close()))
  return taken
}

test('a waiter is not asked more often because other pools have waiters, too', async () => {
  const alone = await stacksOf(1)
  const among = await stacksOf(30)
  assert.ok(alone > 20, `${alone} stacks: it is asked again and again`)
  assert.ok(among / 30 <= 2 * alone, `${among} stacks for thirty, ${alone} for one`)
})
