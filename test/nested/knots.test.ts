import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Pool, PoolError } from '../../src/index.ts'
import { ScriptedFactory } from '../support/factories.ts'
import { endings, failure, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

/** Two graces, and what the alarm and the look at the stacks may add. */
const SOON = 2 * GRACE + 40
/** The same for plain acquires, whose knots have to stand for 24 graces. */
const PLAIN = 28 * GRACE + 40

test('a task that holds the only connection and asks for another waits for ever: acquire', async () => {
  const world = new World()
  const pool = world.pool({ name: 'only' })
  async function task(): Promise<void> {
    const first = await pool.acquire()
    try {
      const second = await pool.acquire()
      await pool.release(second)
    } finally {
      await pool.release(first)
    }
  }
  const ended = failure(task())
  await world.clock.advance(PLAIN)
  const error = await ended
  assert.equal(error.code, 'POOL_DEADLOCK')
  assert.deepEqual(error.pools, ['only'])
  assert.match(error.heldStacks?.[0] ?? '', /^ {4}at task \(.*knots\.test\.[jt]s/)
  assert.match(error.waitStack ?? '', /^ {4}at task \(.*knots\.test\.[jt]s/)
  assert.match(error.stack ?? '', /\n {4}at task \(.*knots\.test/)
  assert.match(error.message, /tasks × \(connections per task − 1\) \+ 1/)
  assert.match(error.message, /detached: true/)
  assert.match(error.message, /pool 'only': 1 lent, all held by 1 waiting for 'only'/)
  assert.equal(pool.borrowed, 0)
  assert.deepEqual(pool.stats().totals.deadlocks, 1)
  assert.deepEqual(world.deadlocks, [['only']])
})

test('a task that holds the only connection and asks for another waits for ever: use', async () => {
  const world = new World()
  const pool = world.pool()
  const ended = endings([pool.use(async () => pool.use(async () => 'inner'))])
  await world.clock.advance(PLAIN)
  assert.deepEqual(await ended, ['POOL_DEADLOCK'])
  assert.equal(pool.borrowed, 0)
})

test('a task that holds the only connection and asks for another waits for ever: lease', async () => {
  const world = new World()
  const pool = world.pool()
  async function task(): Promise<void> {
    await using outer = await pool.lease()
    assert.ok(outer.active)
    await using inner = await pool.lease()
    assert.ok(inner.active)
  }
  const ended = endings([task()])
  await world.clock.advance(PLAIN)
  assert.deepEqual(await ended, ['POOL_DEADLOCK'])
  assert.equal(pool.borrowed, 0)
})

for (const how of ['acquire', 'use', 'mixed'] as const) {
  test(`every connection is held by a task that takes a second: one rejection frees all (${how})`, async () => {
    const world = new World()
    const pool = world.pool({ max: 30 })
    async function foo(index: number): Promise<void> {
      if (how === 'use' || (how === 'mixed' && index % 3 === 0)) await pool.use(() => world.sleep(1))
      else {
        const connection = await pool.acquire()
        await world.sleep(1)
        await pool.release(connection)
      }
    }
    async function bar(index: number): Promise<void> {
      if (how === 'use' || (how === 'mixed' && index % 2 === 0)) {
        await pool.use(async () => {
          await world.sleep(5)
          await foo(index)
        })
        return
      }
      const connection = await pool.acquire()
      try {
        await world.sleep(5)
        await foo(index)
      } finally {
        await pool.release(connection)
      }
    }
    for (let wave = 0; wave < 3; wave += 1) {
      const ended = endings(Array.from({ length: 30 }, (_, index) => bar(index)))
      await world.clock.advance(PLAIN + 100)
      assert.deepEqual(tally(await ended), { done: 29, POOL_DEADLOCK: 1 }, `wave ${wave}`)
    }
    assert.equal(pool.borrowed, 0)
    assert.equal(pool.pending, 0)
  })
}

test('outsiders who queue before the knot do not tie it again when it is broken', async () => {
  const world = new World()
  const pool = world.pool({ max: 10 })
  const task = (): Promise<unknown> =>
    pool.use(async () => {
      await world.sleep(5)
      return pool.use(() => world.sleep(1))
    })
  const ended = endings(Array.from({ length: 20 }, task))
  await world.clock.advance(1000)
  assert.deepEqual(tally(await ended), { done: 18, POOL_DEADLOCK: 2 })
})

test('two tasks take two pools in opposite order', async () => {
  const world = new World()
  const a = world.pool({ name: 'a' })
  const b = world.pool({ name: 'b' })
  const ab = a.use(async () => {
    await world.sleep(1)
    return b.use(async () => 'ab')
  })
  async function opposite(): Promise<string> {
    const held = await b.acquire()
    await world.sleep(2)
    try {
      const other = await a.acquire()
      await a.release(other)
      return 'ba'
    } finally {
      await b.release(held)
    }
  }
  const youngest = failure(opposite())
  await world.clock.advance(PLAIN)
  const error = await youngest
  assert.equal(error.code, 'POOL_DEADLOCK')
  assert.deepEqual(new Set(error.pools), new Set(['a', 'b']))
  assert.match(error.message, /┌► pool 'a': 1 lent, all held by 1 waiting for 'b'/)
  assert.match(error.message, /└─ pool 'b': 1 lent, all held by 1 waiting for 'a'/)
  assert.equal(await ab, 'ab')
  assert.equal(world.deadlocks.length, 1)
})

test('three pools in a circle; a task that merely stands behind it is left alone', async () => {
  const world = new World()
  const pools = ['a', 'b', 'c'].map(name => world.pool({ name }))
  const side = world.pool({ name: 'side' })
  const take = async (index: number): Promise<string> => {
    const [first, second] = [pools[index % 3], pools[(index + 1) % 3]]
    return (await first?.use(async () => {
      await world.sleep(1)
      return second?.use(async () => 'served')
    })) as string
  }
  const circle = [0, 1, 2].map(take)
  await world.clock.advance(10)
  // The youngest of all, and of no use as a victim: nobody in the circle waits for its connection.
  const behind = side.use(() => pools[0]?.use(async () => 'behind'))
  const outsider = side.use(async () => 'outsider')
  const ended = endings([...circle, behind, outsider])
  await world.clock.advance(SOON + GRACE)
  assert.deepEqual(tally(await ended), {
    served: 2,
    POOL_DEADLOCK: 1,
    behind: 1,
    outsider: 1,
  })
})

for (const how of ['acquire', 'use'] as const) {
  test(`three levels deep, by recursion (${how})`, async () => {
    const world = new World()
    const pool = world.pool({ max: 4 })
    async function level(depth: number): Promise<number> {
      if (how === 'use') {
        return pool.use(async () => {
          await world.sleep(1)
          return depth === 1 ? depth : level(depth - 1)
        })
      }
      const connection = await pool.acquire()
      try {
        await world.sleep(1)
        return depth === 1 ? depth : await level(depth - 1)
      } finally {
        await pool.release(connection)
      }
    }
    const ended = endings([level(3), level(3)])
    await world.clock.advance(PLAIN)
    assert.deepEqual(tally(await ended), { 1: 1, POOL_DEADLOCK: 1 })
    assert.equal(pool.borrowed, 0)
  })
}

test('several acquires at different places of one function', async () => {
  const world = new World()
  const pool = world.pool({ max: 5 })
  async function three(): Promise<void> {
    const held: Thing[] = []
    try {
      held.push(await pool.acquire())
      await world.sleep(1)
      held.push(await pool.acquire())
      await world.sleep(1)
      held.push(await pool.acquire())
    } finally {
      for (const thing of held) await pool.release(thing)
    }
  }
  const ended = endings([three(), three(), world.sleep(0).then(three)])
  await world.clock.advance(4 * PLAIN)
  assert.equal(tally(await ended).POOL_ACQUIRE_TIMEOUT, undefined)
  assert.ok(world.deadlocks.length >= 1)
})

for (const how of ['acquire', 'use'] as const) {
  test(`Promise.all inside a lease, its branches started at different times (${how})`, async () => {
    const world = new World()
    const pool = world.pool({ max: 2 })
    async function branch(after: number): Promise<string> {
      await world.sleep(after)
      if (how === 'use') return pool.use(async () => 'branch')
      const connection = await pool.acquire()
      await pool.release(connection)
      return 'branch'
    }
    async function parent(): Promise<string> {
      if (how === 'use') {
        return pool.use(async () => {
          await Promise.all([branch(1), branch(3), branch(40)])
          return 'parent'
        })
      }
      const connection = await pool.acquire()
      try {
        await Promise.all([branch(1), branch(3), branch(40)])
        return 'parent'
      } finally {
        await pool.release(connection)
      }
    }
    const ended = endings([parent(), parent()])
    await world.clock.advance(40 + 4 * PLAIN)
    assert.deepEqual(tally(await ended), { parent: 1, POOL_DEADLOCK: 1 })
    assert.equal(pool.borrowed, 0)
  })
}

for (const how of ['passes on', 'returns'] as const) {
  test(`helpers that return what they have taken without awaiting it (${how})`, async () => {
    const world = new World()
    const pool = world.pool({ max: 2 })
    const pass = (): Promise<Thing> => pool.acquire()
    async function take(): Promise<Thing> {
      return pool.acquire()
    }
    const helper = how === 'passes on' ? pass : take
    async function task(): Promise<string> {
      const first = await helper()
      try {
        await world.sleep(1)
        await pool.release(await helper())
        return 'done'
      } finally {
        await pool.release(first)
      }
    }
    const ended = endings([task(), task()])
    await world.clock.advance(PLAIN)
    assert.deepEqual(tally(await ended), { done: 1, POOL_DEADLOCK: 1 })
    assert.equal(pool.borrowed, 0)
  })
}

test('a service that has lent a hundred thousand times: its first knot is proved', async () => {
  const world = new World()
  const pool = world.pool({ max: 10 })
  for (let cycle = 0; cycle < 100_000; cycle += 1) await pool.release(await pool.acquire())
  await world.clock.advance(1000)
  async function inner(): Promise<void> {
    const thing = await pool.acquire()
    await world.sleep(1)
    await pool.release(thing)
  }
  async function outer(): Promise<string> {
    const thing = await pool.acquire()
    try {
      await world.sleep(5)
      await inner()
    } finally {
      await pool.release(thing)
    }
    return 'done'
  }
  const ended = endings(Array.from({ length: 10 }, outer))
  await world.clock.advance(PLAIN)
  assert.deepEqual(tally(await ended), { done: 9, POOL_DEADLOCK: 1 })
})

test('a branch started first and awaited later holds up its parent once that awaits it', async () => {
  const world = new World()
  const pool = world.pool()
  async function child(): Promise<void> {
    await world.sleep(1)
    await pool.release(await pool.acquire())
  }
  async function parent(): Promise<void> {
    const thing = await pool.acquire()
    try {
      const started = child()
      await world.sleep(3 * GRACE)
      assert.deepEqual(world.deadlocks, [])
      await started
    } finally {
      await pool.release(thing)
    }
  }
  const ended = endings([parent()])
  await world.clock.advance(3 * GRACE + PLAIN)
  assert.deepEqual(await ended, ['POOL_DEADLOCK'])
})

test('while a connection is being made there is no verdict, and after it there is', async () => {
  const world = new World()
  const factory = new ScriptedFactory<Thing>(id => ({ id, busy: false }))
  const pool = world.pool({ max: 2, createTimeoutMillis: 2000 }, factory)
  factory.onCreate.next('ok', 'held')
  const ended = endings(
    ['first', 'second'].map(name =>
      pool.use(async () => {
        await world.sleep(1)
        return pool.use(async () => name)
      }),
    ),
  )
  // Two were asked for, one has come: its borrower waits while the other is on its way.
  await world.clock.advance(1000)
  assert.deepEqual(world.deadlocks, [])
  assert.equal(pool.stats().connecting, 1)
  const call = await factory.onCreate.call()
  call.ok()
  await world.clock.advance(500)
  // It goes to the second task, which now asks for a third: a knot.
  assert.deepEqual(tally(await ended), { first: 1, POOL_DEADLOCK: 1 })
})

test('while a connection is being closed there is no verdict', async () => {
  const world = new World()
  const factory = new ScriptedFactory<Thing>(id => ({ id, busy: false }))
  const pool = world.pool({ max: 2, destroyTimeoutMillis: 2000 }, factory)
  const doomed = await pool.acquire()
  factory.onDestroy.next('held')
  const nested = endings([pool.use(() => pool.use(async () => 'nested'))])
  await world.clock.advance(10)
  void pool.destroy(doomed)
  await world.clock.advance(1000)
  assert.deepEqual(world.deadlocks, [])
  const close = await factory.onDestroy.call()
  close.ok()
  await world.clock.advance(100)
  assert.deepEqual(await nested, ['nested'])
})

test('the youngest goes first, and the next only if nothing moves', async () => {
  const world = new World()
  const pool = world.pool({ max: 2 })
  const order: string[] = []
  const stubborn = async (name: string, after: number): Promise<string> =>
    pool.use(async () => {
      await world.sleep(after)
      try {
        return await pool.use(async () => `${name} served`)
      } catch {
        order.push(name)
        // Keeps its connection although it has been told.
        await world.sleep(100)
        return await pool.use(async () => `${name} served`, { timeoutMillis: 20 })
      }
    })
  const ended = endings([stubborn('old', 1), stubborn('young', 2)])
  await world.clock.advance(2000)
  assert.equal(order[0], 'young')
  await ended
  assert.equal(pool.borrowed, 0)
  await nextTurn()
})

/** Holds one connection and takes a second; nobody awaits it, as a handler of an event. */
async function unawaited(world: World, pool: Pool<Thing>, codes: string[]): Promise<void> {
  const first = await pool.acquire()
  try {
    await world.sleep(1)
    await pool.release(await pool.acquire())
    codes.push('done')
  } catch (error) {
    codes.push((error as PoolError).code)
  } finally {
    await pool.release(first)
  }
}

test('a knot of plain acquires may be none: it has to stand for 24 graces', async () => {
  const world = new World()
  const pool = world.pool({ max: 2 })
  const codes: string[] = []
  for (let task = 0; task < 2; task += 1) void unawaited(world, pool, codes)
  await world.clock.advance(24 * GRACE)
  assert.deepEqual(codes, [])
  await world.clock.advance(PLAIN)
  assert.deepEqual(tally(codes), { POOL_DEADLOCK: 1, done: 1 })
  for (let task = 0; task < 2; task += 1) void unawaited(world, pool, codes)
  await world.clock.advance(PLAIN)
  assert.deepEqual(tally(codes), { POOL_DEADLOCK: 2, done: 2 })
})

test('where a hundred tasks hold each other up, that is no chance', async () => {
  const world = new World()
  const pool = world.pool({ max: 100 })
  const codes: string[] = []
  for (let task = 0; task < 100; task += 1) void unawaited(world, pool, codes)
  await world.clock.advance(10 * GRACE)
  assert.deepEqual(codes, [])
  await world.clock.advance(SOON)
  assert.deepEqual(tally(codes), { POOL_DEADLOCK: 1, done: 99 })
})

test('a helper that takes the second connection for tasks that nobody awaits', async () => {
  const world = new World()
  const pool = world.pool({ max: 2 })
  const codes: string[] = []
  async function read(): Promise<void> {
    const connection = await pool.acquire()
    await world.sleep(1)
    await pool.release(connection)
  }
  async function handle(): Promise<void> {
    const connection = await pool.acquire()
    try {
      await world.sleep(1)
      await read()
      codes.push('done')
    } catch (error) {
      codes.push((error as PoolError).code)
    } finally {
      await pool.release(connection)
    }
  }
  void handle()
  await world.clock.advance(10)
  for (let task = 0; task < 2; task += 1) void handle()
  await world.clock.advance(PLAIN)
  assert.deepEqual(tally(codes), { POOL_DEADLOCK: 1, done: 2 })
})

test('tasks that take two connections each, of which the first to end will do (Promise.any)', async () => {
  const world = new World()
  const pool = world.pool({ max: 2 })
  async function task(): Promise<string> {
    const connection = await pool.acquire()
    try {
      await world.sleep(1)
      await pool.release(await pool.acquire())
      return 'done'
    } finally {
      await pool.release(connection)
    }
  }
  const first = async (): Promise<string> => Promise.any([task(), task()])
  const ended = endings([first()])
  await world.clock.advance(PLAIN)
  assert.deepEqual(await ended, ['done'])
  assert.equal(world.deadlocks.length, 1)
})

test('more waiters than stacks are taken for: of each task somebody is asked', async () => {
  const world = new World()
  const pool = world.pool({ max: 300 })
  async function query(): Promise<void> {
    const connection = await pool.acquire()
    await pool.release(connection)
  }
  async function task(): Promise<void> {
    const connection = await pool.acquire()
    try {
      await world.sleep(1)
      await Promise.all([query(), query(), query(), query()])
    } finally {
      await pool.release(connection)
    }
  }
  const ended = endings(Array.from({ length: 300 }, task))
  await world.clock.advance(PLAIN)
  assert.deepEqual(tally(await ended), { done: 299, POOL_DEADLOCK: 1 })
})
