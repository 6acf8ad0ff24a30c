import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { createPool, type Pool, type PoolError } from '../../src/index.ts'
import { endings, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

/* Forms in which people write tasks that take two connections. In each the knot has to be seen. */

/** Two graces, and what the alarm and the look at the stacks may add. */
const SOON = 2 * GRACE + 40
/** The same for plain acquires while no such loan has come back yet. */
const FIRST = 28 * GRACE + 40

/** Resolves once so many have called it: each holds its first connection by then. */
function meeting(size: number): () => Promise<void> {
  let everybody!: () => void
  const met = new Promise<void>(resolve => {
    everybody = resolve
  })
  let count = 0
  return () => {
    count += 1
    if (count === size) everybody()
    return met
  }
}

const factory = { create: async () => ({}), destroy: () => {} }

/** One of two tasks that hold a connection each, and need another. */
async function pair(pool: Pool<object>, meet: () => Promise<void>): Promise<string> {
  const first = await pool.acquire()
  try {
    await meet()
    await pool.release(await pool.acquire())
    return 'done'
  } finally {
    await pool.release(first)
  }
}

if (!isMainThread) {
  const pool = createPool(factory, { max: 2, deadlockGraceMillis: GRACE })
  const meet = meeting(2)
  parentPort?.postMessage(tally(await endings([pair(pool, meet), pair(pool, meet)])))
  await pool.close()
} else {
  test('a pool in a worker thread', async () => {
    const worker = new Worker(new URL(import.meta.url))
    const [[counts]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    assert.deepEqual(counts, { done: 1, POOL_DEADLOCK: 1 })
  })

  test('handlers of an HTTP server, which nobody awaits', async () => {
    await using pool = createPool(factory, { max: 2, deadlockGraceMillis: GRACE })
    const meets = [meeting(2), meeting(2)]
    let requests = 0
    const server = createServer(async (_, response) => {
      const meet = meets[requests >> 1] as () => Promise<void>
      requests += 1
      try {
        response.end(await pair(pool, meet))
      } catch (error) {
        response.end((error as PoolError).code)
      }
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const ask = async (): Promise<string> => {
      const [response] = (await once(get({ port, host: '127.0.0.1', agent: false }), 'response')) as [
        IncomingMessage,
      ]
      return Buffer.concat(await response.toArray()).toString()
    }
    for (let wave = 0; wave < 2; wave += 1) {
      assert.deepEqual(tally(await Promise.all([ask(), ask()])), { done: 1, POOL_DEADLOCK: 1 })
    }
    server.close()
    await once(server, 'close')
  })

  /** Two runs of one program on a pool of two. */
  function knot(form: string, program: (pool: Pool<Thing>, world: World) => Promise<unknown>): void {
    test(form, async () => {
      const world = new World()
      const pool = world.pool({ max: 2, acquireTimeoutMillis: 100 * GRACE })
      const ended = endings([program(pool, world), program(pool, world)])
      await world.clock.advance(FIRST)
      assert.deepEqual(tally(await ended), { done: 1, POOL_DEADLOCK: 1 })
      assert.equal(pool.borrowed + pool.pending, 0)
    })
  }

  knot('methods of classes, one of which inherits from the other', async (pool, world) => {
    abstract class Task {
      abstract work(): Promise<string>
      async run(): Promise<string> {
        const connection = await pool.acquire()
        try {
          await world.sleep(1)
          return await this.work()
        } finally {
          await pool.release(connection)
        }
      }
    }
    class Read extends Task {
      readonly #pool = pool
      async work(): Promise<string> {
        await using lease = await this.#pool.lease()
        return lease.active ? 'done' : 'not lent'
      }
    }
    return new Read().run()
  })

  knot('an async generator that takes a second connection', async (pool, world) => {
    async function* rows(): AsyncGenerator<number> {
      const connection = await pool.acquire()
      try {
        yield 1
        await world.sleep(1)
        await pool.release(await pool.acquire())
        yield 2
      } finally {
        await pool.release(connection)
      }
    }
    let sum = 0
    for await (const row of rows()) sum += row
    assert.equal(sum, 3)
  })

  knot('the body of a for await', async (pool, world) => {
    async function* jobs(): AsyncGenerator<string> {
      await world.sleep(1)
      yield 'done'
    }
    for await (const job of jobs()) {
      const connection = await pool.acquire()
      try {
        await world.sleep(1)
        await pool.release(await pool.acquire())
        return job
      } finally {
        await pool.release(connection)
      }
    }
    return 'no job'
  })

  knot('a transaction given as a function, and a query in it', async (pool, world) => {
    async function transaction<R>(work: (thing: Thing) => Promise<R>): Promise<R> {
      const connection = await pool.acquire()
      try {
        return await work(connection)
      } finally {
        await pool.release(connection)
      }
    }
    return transaction(async () => {
      await world.sleep(1)
      return transaction(async () => 'done')
    })
  })

  knot('middleware, each of which calls the next', async (pool, world) => {
    type Next = () => Promise<string>
    const layers: ((next: Next) => Promise<string>)[] = [
      async next => {
        const connection = await pool.acquire()
        try {
          return await next()
        } finally {
          await pool.release(connection)
        }
      },
      async next => {
        await world.sleep(1)
        return next()
      },
      () => pool.use(() => 'done'),
    ]
    const from = (index: number): Next => {
      const layer = layers[index]
      return async () => (layer === undefined ? 'the end' : layer(from(index + 1)))
    }
    return from(0)()
  })

  for (const how of ['acquire', 'use'] as const) {
    test(`a ring of a hundred pools (${how})`, async () => {
      const world = new World()
      const pools = Array.from({ length: 100 }, () => world.pool())
      const ended = endings(
        pools.map(async (pool, index) => {
          const next = pools[(index + 1) % 100] as Pool<Thing>
          if (how === 'use') {
            return pool.use(async () => {
              await world.sleep(1)
              return next.use(() => 'done')
            })
          }
          const connection = await pool.acquire()
          try {
            await world.sleep(1)
            await next.release(await next.acquire())
            return 'done'
          } finally {
            await pool.release(connection)
          }
        }),
      )
      await world.clock.advance(how === 'use' ? SOON : FIRST)
      assert.deepEqual(tally(await ended), { done: 99, POOL_DEADLOCK: 1 })
      assert.equal(world.deadlocks[0]?.length, 100)
    })
  }
}
