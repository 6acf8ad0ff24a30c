import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { createBudget, type Pool } from '../../src/index.ts'
import { endings, failure, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

const SOON = 2 * GRACE + 40
const PLAIN = 28 * GRACE + 40

function tenants(max: number, ...options: PoolOptions[]): { world: World; pools: Pool<Thing>[] } {
  const world = new World()
  const budget = createBudget({ max, name: 'shared' })
  return { world, pools: options.map(each => world.pool({ max: 50, budget, ...each })) }
}

test('tasks that hold all places of a budget in one pool and want a connection of another pool: one is rejected', async () => {
  const { world, pools } = tenants(2, { name: 'a' }, { name: 'b' })
  const [a, b] = pools as [Pool<Thing>, Pool<Thing>]
  const task = (): Promise<string> => a.use(async () => await b.use(async () => 'both'))
  const ended = endings([task(), task()])
  await world.clock.advance(SOON + 200)
  assert.deepEqual(tally(await ended), { POOL_DEADLOCK: 1, both: 1 })
  assert.deepEqual(world.deadlocks, [['b', 'a']])
  assert.equal(a.borrowed + b.borrowed, 0)
})

test('the error says that the budget is what they wait for', async () => {
  const { world, pools } = tenants(1, { name: 'a' }, { name: 'b' })
  const [a, b] = pools as [Pool<Thing>, Pool<Thing>]
  const failed = failure(a.use(async () => await b.use(async () => {})))
  await world.clock.advance(SOON)
  const error = await failed
  assert.equal(error.code, 'POOL_DEADLOCK')
  assert.match(
    error.message,
    /pool 'b': 0 lent and its budget used up by 'a' \(1\), all held by 1 waiting for 'b'/,
  )
})

test('plain acquires as well', async () => {
  const { world, pools } = tenants(1, { name: 'a' }, { name: 'b' })
  const [a, b] = pools as [Pool<Thing>, Pool<Thing>]
  async function task(): Promise<void> {
    const first = await a.acquire()
    try {
      const second = await b.acquire()
      await b.release(second)
    } finally {
      await a.release(first)
    }
  }
  const ended = endings([task()])
  await world.clock.advance(PLAIN)
  assert.deepEqual(await ended, ['POOL_DEADLOCK'])
})

test('through a pool that is full by itself, and the budget', async () => {
  const { world, pools } = tenants(3, { name: 'a' }, { name: 'b' })
  const [a, b] = pools as [Pool<Thing>, Pool<Thing>]
  const alone = world.pool({ name: 'alone', max: 1 })
  let held = 0
  /** Lets nobody go on before all four hold their first connection. */
  const all = async (): Promise<void> => {
    held += 1
    while (held < 4) await world.sleep(1)
  }
  const task = (first: Pool<Thing>, second: Pool<Thing>): Promise<string> =>
    first.use(async () => {
      await all()
      return await second.use(async () => 'both')
    })
  const ended = endings([task(a, alone), task(alone, b), task(a, b), task(a, alone)])
  await world.clock.advance(SOON + 1000)
  const ends = tally(await ended)
  assert.ok((ends.POOL_DEADLOCK ?? 0) >= 1, JSON.stringify(ends))
  assert.equal(a.borrowed + b.borrowed + alone.borrowed, 0)
})

test('a hundred tasks of many tenants over one small budget all end, by few rejections', async () => {
  const names = ['a', 'b', 'c', 'd']
  const { world, pools } = tenants(4, ...names.map(name => ({ name })))
  const task = async (index: number): Promise<string> => {
    const [outer, inner] = [pools[index % 4], pools[(index + 1) % 4]] as [Pool<Thing>, Pool<Thing>]
    return await outer.use(async () => {
      await world.sleep(index % 7)
      return await inner.use(async () => 'done')
    })
  }
  const ended = endings(Array.from({ length: 100 }, (_, index) => task(index)))
  await world.clock.advance(50_000)
  const { done = 0, POOL_DEADLOCK: broken = 0 } = tally(await ended)
  assert.equal(done + broken, 100)
  assert.ok(done >= 50, `${done} done, ${broken} rejected`)
})

test('no deadlock: a lease of another pool of the budget can end', async () => {
  const { world, pools } = tenants(2, { name: 'a' }, { name: 'b' }, { name: 'c' })
  const [a, b, c] = pools as [Pool<Thing>, Pool<Thing>, Pool<Thing>]
  const ended = endings([
    a.use(async () => await b.use(async () => 'both')),
    c.use(async () => await world.sleep(20 * GRACE)),
  ])
  await world.clock.advance(30 * GRACE)
  assert.deepEqual(await ended, ['both', 'done'])
  assert.deepEqual(world.deadlocks, [])
})

test('no deadlock: a pool of the budget still has an idle connection, or one that is on its way', async () => {
  const { world, pools } = tenants(2, { name: 'a' }, { name: 'b' }, { name: 'c' })
  const [a, b, c] = pools as [Pool<Thing>, Pool<Thing>, Pool<Thing>]
  await c.use(async () => {})
  const ended = endings([a.use(async () => await b.use(async () => 'both'))])
  await world.clock.advance(10 * GRACE)
  assert.deepEqual(await ended, ['both'])
  assert.deepEqual(world.deadlocks, [])
})

test('no verdict over a pool that takes no part in the search', async () => {
  const { world, pools } = tenants(
    1,
    { name: 'a', nested: 'allow' },
    { name: 'b', acquireTimeoutMillis: 3000 },
  )
  const [a, b] = pools as [Pool<Thing>, Pool<Thing>]
  const ended = endings([a.use(async () => await b.use(async () => {}))])
  await world.clock.advance(4000)
  assert.deepEqual(await ended, ['POOL_ACQUIRE_TIMEOUT'])
})

test('places that another pool has by its min do not count: those who hold them could not help', async () => {
  const { world, pools } = tenants(2, { name: 'kept', min: 1 }, { name: 'a' }, { name: 'b' })
  const [kept, a, b] = pools as [Pool<Thing>, Pool<Thing>, Pool<Thing>]
  const ended = endings([
    kept.use(async () => await world.sleep(20_000)),
    a.use(async () => await b.use(async () => 'both')),
  ])
  await world.clock.advance(SOON + 100)
  assert.equal(world.deadlocks.length, 1)
  await world.clock.advance(30_000)
  assert.deepEqual(tally(await ended), { done: 1, POOL_DEADLOCK: 1 })
})
