import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createPool, type PoolError } from '../../src/index.ts'
import { eventually } from '../support/factories.ts'
import { endings, failure, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

const SOON = 2 * GRACE + 40
/** The same for plain acquires while no such loan has come back yet. */
const FIRST = 28 * GRACE + 40

const copy = join(import.meta.dirname, '../../src-copy')
after(() => rmSync(copy, { recursive: true, force: true }))

test('two copies of the package in one process: a knot between their pools is seen', async () => {
  cpSync(join(import.meta.dirname, '../../src'), copy, { recursive: true })
  const other = (await import(pathToFileURL(join(copy, 'index.js')).href)) as {
    createPool: typeof createPool
  }
  const options = { max: 1, acquireTimeoutMillis: 10_000 }
  const factory = { create: () => ({}), destroy: () => {} }
  await using a = createPool(factory, options)
  await using b = other.createPool(factory, options)
  let holding = 0
  let both!: () => void
  const met = new Promise<void>(resolve => {
    both = resolve
  })
  const meet = (): Promise<void> => {
    holding += 1
    if (holding === 2) both()
    return met
  }
  async function plain(): Promise<string> {
    const held = await b.acquire()
    try {
      await meet()
      await a.release(await a.acquire())
      return 'served'
    } finally {
      await b.release(held)
    }
  }
  const nested = a.use(async () => {
    await meet()
    return b.use(async () => 'served')
  })
  assert.deepEqual(tally(await endings([nested, plain()])), { served: 1, POOL_DEADLOCK: 1 })
})

for (const how of ['abort', 'close', 'purge', 'resize'] as const) {
  test(`${how} at every moment of a verdict: everybody is told once, and nothing is left`, async () => {
    for (let moment = 0; moment < 3 * GRACE; moment += 5) {
      const world = new World()
      const pool = world.pool({ max: 3 })
      const caller = new AbortController()
      const task = (index: number): Promise<string> =>
        pool.use(async () => {
          await world.sleep(index)
          await pool.use(() => world.sleep(1), { signal: caller.signal })
          return 'done'
        })
      const ended = endings([1, 2, 3].map(task))
      let closed: Promise<void> | undefined
      world.clock.after(moment + 4, () => {
        if (how === 'abort') caller.abort()
        else if (how === 'close') closed = pool.close({ timeoutMillis: 500 })
        else if (how === 'purge') pool.purge()
        else pool.resize({ max: 4 })
      })
      await world.clock.advance(4000)
      for (const end of await ended) {
        assert.match(String(end), /^(done|POOL_DEADLOCK|POOL_ABORTED|POOL_CLOSED)$/, `after ${moment} ms`)
      }
      await closed
      assert.equal(pool.borrowed + pool.pending, 0)
    }
  })
}

test('whoever has been aborted, and not been told yet, is not served in place of somebody who waits', async () => {
  const world = new World()
  const pool = world.pool({ max: 2, acquireTimeoutMillis: false })
  const caller = new AbortController()
  const outsiders: Promise<unknown>[] = []
  pool.on('deadlock', () => {
    for (let index = 0; index < 10; index += 1) outsiders.push(pool.use(() => {}, { timeoutMillis: 1000 }))
    // It takes long to tell so many: the loop turns in between, and the victim gives its connection back.
    const now = world.clock.now.bind(world.clock)
    let late = 0
    world.clock.now = () => {
      late += 10
      return now() + late
    }
    caller.abort()
  })
  const crowd = endings([
    pool.use(async () => {
      await world.sleep(1)
      const inside = Array.from({ length: 500 }, () => pool.use(() => 'served', { signal: caller.signal }))
      const ends = tally(await endings(inside))
      return ends.POOL_ABORTED
    }),
  ])
  const victim = endings([
    pool.use(async () => {
      await world.sleep(2)
      await pool.use(() => {})
    }),
  ])
  await world.clock.advance(3000)
  assert.deepEqual(await victim, ['POOL_DEADLOCK'])
  assert.deepEqual(await crowd, [500])
  assert.deepEqual(tally(await endings(outsiders)), { done: 10 })
  assert.equal(pool.pending, 0)
})

test('a victim that asks again at once, still holding, does not keep the others from their end', async () => {
  const world = new World()
  const pool = world.pool({ max: 3 })
  async function task(index: number): Promise<string> {
    return pool.use(async () => {
      await world.sleep(index)
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await pool.use(async () => 'done')
        } catch (error) {
          // Gives up its own connection after a few.
          if (attempt === 3) throw error
        }
      }
    })
  }
  const ended = endings([1, 2, 3].map(task))
  await world.clock.advance(4000)
  const counts = tally(await ended)
  assert.equal(counts.POOL_ACQUIRE_TIMEOUT, undefined)
  assert.ok((counts.done ?? 0) >= 2, JSON.stringify(counts))
  assert.equal(pool.borrowed, 0)
})

test('a circle through a pool that allows nesting is not proved, and not guessed', async () => {
  const world = new World()
  const [a, b, c] = [
    world.pool({ acquireTimeoutMillis: 400 }),
    world.pool({ acquireTimeoutMillis: 400 }),
    world.pool({ nested: 'allow', acquireTimeoutMillis: 400 }),
  ]
  const hold = (first: typeof a, second: typeof a): Promise<unknown> =>
    first.use(async () => {
      await world.sleep(1)
      return second.use(async () => 'served')
    })
  const ended = endings([hold(a, b), hold(b, c), hold(c, a)])
  await world.clock.advance(2000)
  assert.equal(tally(await ended).POOL_DEADLOCK, undefined)
  assert.deepEqual(world.deadlocks, [])
})

test('a listener of deadlock may call the pool as it likes', async () => {
  const world = new World()
  const pool = world.pool({ max: 1 })
  const called: Promise<unknown>[] = []
  pool.on('deadlock', () => {
    called.push(pool.use(async () => 'from the listener'))
    pool.purge()
    pool.report()
    throw new Error('and it throws')
  })
  const ended = endings([pool.use(() => pool.use(() => {}))])
  await world.clock.advance(SOON)
  assert.deepEqual(await ended, ['POOL_DEADLOCK'])
  assert.deepEqual(await Promise.all(called), ['from the listener'])
})

test('the error of a knot is whole even where stacks are off', async () => {
  const world = new World()
  const pool = world.pool({ max: 1, captureStacks: 'off' })
  async function task(): Promise<void> {
    const held: Thing = await pool.acquire()
    try {
      await world.sleep(1)
      await pool.release(await pool.acquire())
    } finally {
      await pool.release(held)
    }
  }
  const ended = failure(task())
  await world.clock.advance(FIRST)
  const error = await ended
  assert.equal(error.code, 'POOL_DEADLOCK')
  assert.deepEqual(error.heldStacks, [])
  assert.equal(error.waitStack, '')
})

test('once all of a knot have gone, nothing of them is kept', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const factory = { create: () => ({}), destroy: () => {} }
  await using pool = createPool(factory, {
    max: 1,
    acquireTimeoutMillis: 20 * GRACE,
    deadlockGraceMillis: GRACE,
  })
  const errors: WeakRef<PoolError>[] = []
  await pool.use(async () => {
    // Too many to be saved one by one: the rest runs into its deadline.
    const inside = Array.from({ length: 50 }, () =>
      pool.use(() => {}).catch((error: PoolError) => void errors.push(new WeakRef(error))),
    )
    await Promise.all(inside)
  })
  assert.equal(errors.length, 50)
  assert.ok(pool.stats().totals.deadlocks > 0)
  await eventually(() => {
    collect()
    return errors.every(error => error.deref() === undefined)
  })
})

test('where `Error` is frozen, stacks are short, and all else is as ever', async () => {
  const before = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit') as PropertyDescriptor
  Object.defineProperty(Error, 'stackTraceLimit', { value: 10, writable: false, configurable: true })
  try {
    const world = new World()
    const pool = world.pool({ max: 1 })
    async function task(): Promise<void> {
      const held = await pool.acquire()
      try {
        await pool.release(await pool.acquire({ timeoutMillis: 60 * GRACE }))
      } finally {
        await pool.release(held)
      }
    }
    const ended = failure(task())
    await world.clock.advance(FIRST)
    assert.equal((await ended).code, 'POOL_DEADLOCK')
    assert.equal(pool.borrowed, 0)
  } finally {
    Object.defineProperty(Error, 'stackTraceLimit', before)
  }
})
