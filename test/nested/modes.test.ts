import assert from 'node:assert/strict'
import { AsyncResource } from 'node:async_hooks'
import { test } from 'node:test'
import type { PoolEvents } from '../../src/index.ts'
import { endings, failure, type Thing, tally, World } from './pools-on-one-clock.ts'

/* The event `nested`, and what becomes of a nested acquire under `'forbid'` and `'reuse'`. */

function told(world: World, options = {}) {
  const pool = world.pool({ max: 10, name: 'told', ...options })
  const events: PoolEvents<Thing>['nested'][0][] = []
  pool.on('nested', event => events.push(event))
  return { pool, events }
}

test('a nested use is told once for each pair of call sites, with both stacks', async () => {
  const world = new World()
  const { pool, events } = told(world)
  const inner = (): Promise<unknown> => pool.use(() => 'inner')
  async function outer(): Promise<unknown> {
    return pool.use(async () => {
      await world.sleep(1)
      return inner()
    })
  }
  const ended = endings([outer(), outer(), outer()])
  await world.clock.advance(10)
  assert.deepEqual(tally(await ended), { inner: 3 })
  assert.equal(events.length, 1)
  assert.deepEqual(events[0]?.heldPools, ['told'])
  assert.match(events[0]?.heldStacks[0] ?? '', /at outer \(.*modes\.test/)
  assert.match(events[0]?.waitStack ?? '', /at inner \(.*modes\.test/)
  assert.equal(pool.stats().totals.nested, 3)
})

test('a nested plain acquire is told, and neither one after the other nor beside it', async () => {
  const world = new World()
  const { pool, events } = told(world)
  async function both(): Promise<void> {
    const first = await pool.acquire()
    await world.sleep(1)
    const second = await pool.acquire()
    await pool.release(second)
    await pool.release(first)
    await pool.release(await pool.acquire())
  }
  const alone = async (): Promise<void> => {
    const thing = await pool.acquire()
    await world.sleep(3)
    await pool.release(thing)
  }
  const ended = endings([both(), alone(), world.sleep(0.5).then(alone)])
  await world.clock.advance(10)
  await ended
  assert.equal(events.length, 1)
  assert.match(events[0]?.heldStacks[0] ?? '', /at both /)
})

test("a child that nobody awaits, and one marked as detached, are not told, nor refused under 'forbid'", async () => {
  const world = new World()
  const { pool, events } = told(world)
  const children: Promise<unknown>[] = []
  const ended = endings([
    pool.use(async () => {
      await world.sleep(1)
      children.push(pool.use(() => 'detached', { detached: true }))
      children.push(
        (async () => {
          await world.sleep(1)
          return pool.use(() => 'unawaited')
        })(),
      )
      await world.sleep(5)
    }),
  ])
  await world.clock.advance(20)
  await ended
  assert.deepEqual(await Promise.all(children), ['detached', 'unawaited'])
  assert.deepEqual(events, [])
})

for (const how of ['use', 'acquire', 'lease'] as const) {
  test(`'forbid' refuses what is asked for by whoever holds something (${how})`, async () => {
    const world = new World()
    const pool = world.pool({ max: 10, nested: 'forbid', name: 'strict' })
    const asking = {
      use: (): Promise<unknown> => pool.use(() => {}),
      acquire: async (): Promise<unknown> => pool.release(await pool.acquire()),
      lease: async (): Promise<unknown> => (await pool.lease()).release(),
    }
    const inUse = endings([
      pool.use(async () => {
        await world.sleep(1)
        const error = await failure(asking[how]())
        assert.deepEqual([error.code, error.pools], ['POOL_NESTED_ACQUIRE', ['strict']])
        assert.match(error.heldStacks?.[0] ?? '', /modes\.test/)
        assert.match(error.waitStack ?? '', /modes\.test/)
        return (await pool.use(() => 'marked', { detached: true })) as string
      }),
    ])
    await world.clock.advance(5)
    assert.deepEqual(await inUse, ['marked'])
    async function plain(): Promise<string | undefined> {
      const held = await pool.acquire()
      try {
        await world.sleep(1)
        return (await failure(asking[how]())).code
      } finally {
        await pool.release(held)
      }
    }
    const ended = endings([plain(), plain()])
    await world.clock.advance(5)
    assert.deepEqual(await ended, ['POOL_NESTED_ACQUIRE', 'POOL_NESTED_ACQUIRE'])
    // Whoever has given back what it held may ask.
    const after = endings([asking[how]()])
    await world.clock.advance(5)
    assert.deepEqual(await after, ['done'])
    assert.equal(pool.borrowed, 0)
    assert.equal(pool.stats().totals.nested, 3, 'each refusal is counted')
  })
}

test("'forbid' sees through a timer inside of use, and a lease of a pool that only detects", async () => {
  const world = new World()
  const strict = world.pool({ max: 10, nested: 'forbid' })
  const other = world.pool({ max: 10 })
  const late = new Promise<unknown>(resolve => {
    void strict.use(async () => {
      world.clock.after(
        1,
        AsyncResource.bind(() => resolve(failure(strict.use(() => {})))),
      )
      await world.sleep(2)
    })
  })
  const outside = endings([other.use(() => strict.use(() => {}))])
  await world.clock.advance(10)
  assert.equal(((await late) as { code: string }).code, 'POOL_NESTED_ACQUIRE')
  assert.deepEqual(await outside, ['POOL_NESTED_ACQUIRE'])
})

test("'forbid' does not take callers beside each other, or requests behind a start-up lease, for nested", async () => {
  const world = new World()
  const pool = world.pool({ max: 10, nested: 'forbid' })
  const served: Promise<unknown>[] = []
  async function handle(index: number): Promise<string> {
    await world.sleep(0.5)
    const thing = await pool.acquire()
    await world.sleep(index)
    await pool.release(thing)
    return 'served'
  }
  const main = endings([
    (async () => {
      const kept = await pool.acquire()
      for (let index = 0; index < 5; index += 1) {
        served.push(handle(index))
        await world.sleep(1)
      }
      await pool.release(kept)
    })(),
  ])
  await world.clock.advance(50)
  await main
  assert.deepEqual(tally(await endings(served)), { served: 5 })
})

test("'reuse' gives a nested use the same connection, also three deep, and takes it back once", async () => {
  const world = new World()
  const pool = world.pool({ max: 1, nested: 'reuse' })
  let released = 0
  pool.on('release', () => {
    released += 1
  })
  const ended = endings([
    pool.use(outer =>
      pool.use(async middle => {
        await world.sleep(1)
        return pool.use(inner => outer === middle && middle === inner)
      }),
    ),
    // Another task gets it after that.
    pool.use(thing => thing.id),
  ])
  await world.clock.advance(10)
  assert.deepEqual(await ended, [true, 1])
  assert.equal(released, 2)
  assert.equal(pool.borrowed, 0)
})

test("'reuse': of two branches of a Promise.all the second gets a connection of its own", async () => {
  const world = new World()
  const pool = world.pool({ max: 2, nested: 'reuse' })
  const ended = endings([
    pool.use(async outer => {
      const branch = (): Promise<boolean> =>
        pool.use(async thing => {
          await world.sleep(1)
          return thing === outer
        })
      return JSON.stringify(await Promise.all([branch(), branch()]))
    }),
  ])
  await world.clock.advance(10)
  assert.deepEqual(await ended, ['[true,false]'])
})

test("'reuse': a child that outlives its parent keeps the connection until it ends", async () => {
  const world = new World()
  const pool = world.pool({ max: 1, nested: 'reuse' })
  let child: Promise<unknown> = Promise.resolve()
  const parent = endings([
    pool.use(async () => {
      child = pool.use(() => world.sleep(10))
      await world.sleep(1)
    }),
  ])
  await world.clock.advance(5)
  await parent
  assert.equal(pool.borrowed, 1)
  await world.clock.advance(10)
  await child
  assert.equal(pool.borrowed, 0)
})

test("'reuse': acquire, lease and a marked use are ordinary, and a knot of them is broken", async () => {
  const world = new World()
  const pool = world.pool({ max: 2, nested: 'reuse' })
  const ended = endings([
    pool.use(async outer => {
      const own = await pool.acquire()
      await pool.release(own)
      const marked = await pool.use(thing => thing, { detached: true })
      return String(own !== outer && marked !== outer)
    }),
  ])
  await world.clock.advance(10)
  assert.deepEqual(await ended, ['true'])
  const knot = endings(
    [1, 2].map(() =>
      pool.use(async () => {
        await world.sleep(1)
        await pool.release(await pool.acquire())
      }),
    ),
  )
  await world.clock.advance(200)
  assert.deepEqual(tally(await knot), { done: 1, POOL_DEADLOCK: 1 })
})

test("under 'reuse', a plain acquire in between does not hide the connection of the use around it", async () => {
  const world = new World()
  const pool = world.pool({ max: 2, nested: 'reuse' })
  const ended = endings([
    pool.use(async outer => {
      const plain = await pool.acquire()
      assert.notEqual(plain, outer)
      await pool.release(plain)
      return (await pool.use(inner => inner === outer)) ? 'shared' : 'its own'
    }),
  ])
  await world.clock.advance(10)
  assert.deepEqual(await ended, ['shared'])
  assert.equal(pool.stats().totals.created, 2)
})

test("what 'forbid' refuses tells no stacks where none are recorded", async () => {
  const world = new World()
  const pool = world.pool({ max: 2, nested: 'forbid', captureStacks: 'off' })
  const ended = endings([
    pool.use(async () => {
      const error = await failure(pool.acquire())
      assert.deepEqual([error.code, error.heldStacks, error.waitStack], ['POOL_NESTED_ACQUIRE', [], ''])
    }),
  ])
  await world.clock.advance(10)
  assert.deepEqual(await ended, ['done'])
})
