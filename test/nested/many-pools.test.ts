/* What the search for deadlocks costs where many pools wait, as those of tenants do behind one slow server. */

import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { test } from 'node:test'
import { allPools } from '../../src/nested/process-wide.ts'
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

test('a pool that is closed takes part no more, also while somebody keeps it', async () => {
  const world = new World()
  const namesOf = (): string[] => allPools().map(({ name }) => name)
  const closed = world.pool({ name: 'closed' })
  const destroyed = world.pool({ name: 'closed while a loan is out', drainTimeoutMillis: 10 })
  const open = world.pool({ name: 'open' })
  await destroyed.acquire()
  assert.deepEqual(namesOf(), ['closed', 'closed while a loan is out', 'open'])
  await closed.close()
  const closing = assert.rejects(destroyed.close(), { code: 'POOL_DRAIN_TIMEOUT' })
  await world.clock.advance(100)
  await closing
  assert.deepEqual(namesOf(), ['open'])
  assert.deepEqual([closed.name, destroyed.name], ['closed', 'closed while a loan is out'])
  await open.close()
})
