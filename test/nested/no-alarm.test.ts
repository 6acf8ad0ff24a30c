import assert from 'node:assert/strict'
import { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import type { Pool } from '../../src/index.ts'
import { never, TIMES } from './never-a-deadlock.ts'
import { GRACE, type Thing, type World } from './pools-on-one-clock.ts'

/*
 * What must never be taken for a deadlock, although its loans lie idle for twenty graces. Each case runs many times, with
 * sleeps that differ from run to run.
 */

/** Far longer than it takes to break a knot of `use`, and the longest that a plain loan is promised to lie idle. */
const LONG = 20 * GRACE

/** A service that takes a connection when it starts, and then serves requests, which inherit its context. */
async function service(
  world: World,
  pool: Pool<Thing>,
  take: () => Promise<Thing>,
  handle: (index: number) => Promise<void>,
  from: 'outside' | 'itself' = 'outside',
): Promise<void> {
  const events = new EventEmitter()
  const served: Promise<void>[] = []
  const kept = await take()
  // As a server's handle does: the listener runs in the context in which it was made.
  const listener = AsyncResource.bind((index: number) => void served.push(handle(index)))
  events.on('request', from === 'outside' ? listener : index => served.push(handle(index)))
  for (let index = 0; index < 5; index += 1) {
    if (from === 'outside') world.clock.after(7 * (index + 1), () => void events.emit('request', index))
    else {
      await world.sleep(7)
      events.emit('request', index)
    }
  }
  await world.sleep(LONG)
  await pool.release(kept)
  await world.sleep(LONG)
  await Promise.all(served)
}

never(
  'a start-up lease, and one request that waits for the only connection',
  async (world, run) => {
    const pool = world.pool()
    const request = async (): Promise<void> => {
      if (run % 2 === 0) await pool.use(() => world.sleep(1))
      else {
        const thing = await pool.acquire()
        await world.sleep(1)
        await pool.release(thing)
      }
    }
    await service(
      world,
      pool,
      () => pool.acquire(),
      async index => {
        if (index === 0) await request()
      },
    )
  },
  { nested: 0 },
)

never('a start-up lease, and requests that its holder emits itself', async (world, run) => {
  const pool = world.pool()
  const handle = async (index: number): Promise<void> => {
    if (index !== run % 5) return
    if (run % 2 === 0) await world.sleep(1)
    await pool.release(await pool.acquire())
  }
  await service(world, pool, () => pool.acquire(), handle, 'itself')
})

never(
  'a start-up lease taken by a helper, and requests that go through the same helper',
  async world => {
    const pool = world.pool({ max: 2 })
    async function connect(): Promise<Thing> {
      const thing = await pool.acquire()
      await world.sleep(0.1)
      return thing
    }
    await service(world, pool, connect, async () => {
      await world.sleep(1)
      const thing = await connect()
      await world.sleep(20)
      await pool.release(thing)
    })
  },
  { nested: 0 },
)

never(
  'a start-up lease by lease(), requests that hold one connection and take a second from another full pool',
  async world => {
    const pool = world.pool({ max: 2 })
    const other = world.pool()
    const lease = await pool.lease()
    const events = new EventEmitter()
    const served: Promise<void>[] = []
    const keep = other.acquire()
    events.on('request', () => served.push(other.use(() => pool.use(() => world.sleep(1)))))
    await world.sleep(1)
    events.emit('request')
    events.emit('request')
    await world.sleep(LONG)
    await other.release(await keep)
    await world.sleep(LONG)
    await lease.release()
    await Promise.all(served)
  },
)

never(
  'a start-up lease whose holder starts the requests itself, without awaiting them',
  async (world, run) => {
    const pool = world.pool()
    const served: Promise<void>[] = []
    async function handle(): Promise<void> {
      if (run % 2 === 0) await world.sleep(1)
      const thing = await pool.acquire()
      await world.sleep(1)
      await pool.release(thing)
    }
    const kept = await pool.acquire()
    for (let index = 0; index < 3; index += 1) {
      await world.sleep(5)
      served.push(handle())
    }
    await world.sleep(LONG)
    await pool.release(kept)
    await Promise.all(served)
  },
)

never(
  'a consumer that starts a job for each message, and whose context wanders from job to job',
  async (world, run) => {
    const pool = world.pool({ max: 1 + (run % 4) })
    const jobs: Promise<void>[] = []
    async function job(index: number): Promise<void> {
      if (run % 3 === 0 && index % 2 === 0) await world.sleep(1)
      const thing = await pool.acquire()
      await world.sleep(LONG + run / 1000)
      await pool.release(thing)
    }
    for (let index = 0; index < 8; index += 1) {
      await world.sleep(10)
      jobs.push(job(index))
    }
    await Promise.all(jobs)
  },
)

never('a task started and awaited later, while its starter waits for a connection', async world => {
  const pool = world.pool()
  async function load(millis: number): Promise<void> {
    const thing = await pool.acquire()
    await world.sleep(millis)
    await pool.release(thing)
  }
  const first = load(LONG)
  await world.sleep(1)
  const mine = await pool.acquire()
  await pool.release(mine)
  await first
})

/** Longer than any evidence takes that is gathered about plain loans. */
const LONGER = 30 * GRACE

never('a loan that the same function took where nobody awaited it, beside one of the waiter', async world => {
  const pool = world.pool({ max: 2 })
  async function hold(work: () => Promise<void>): Promise<void> {
    const thing = await pool.acquire()
    await work()
    await pool.release(thing)
  }
  const innocent = hold(() => world.sleep(LONGER))
  await world.sleep(1)
  await hold(() => hold(() => world.sleep(1)))
  await innocent
})

never('a helper for all pools, which holds one pool unawaited and waits for it with another', async world => {
  const [pool, other] = [world.pool(), world.pool()]
  async function hold(from: Pool<Thing>, work: () => Promise<void>): Promise<void> {
    const lease = await from.lease()
    await work()
    await lease.release()
  }
  const innocent = hold(pool, () => world.sleep(LONGER))
  await world.sleep(1)
  await hold(other, () => hold(pool, () => world.sleep(1)))
  await innocent
})

never('several loans of one function with fewer callers, and as many waiters but one', async (world, run) => {
  const count = 2 + (run % 3)
  const pool = world.pool({ max: 2 * count })
  async function hold(work: () => Promise<void>): Promise<void> {
    const thing = await pool.acquire()
    await work()
    await pool.release(thing)
  }
  const innocents = Array.from({ length: count }, () => hold(() => world.sleep(LONGER)))
  await world.sleep(1)
  async function task(): Promise<void> {
    await hold(() => hold(() => world.sleep(1)))
  }
  await Promise.all([...Array.from({ length: count }, task), Promise.all(innocents)])
})

never('fire-and-forget children, while their parent works on its connection', async (world, run) => {
  const pool = world.pool()
  let child: Promise<void> | undefined
  await pool.use(async thing => {
    thing.busy = true
    child = pool.use(() => world.sleep(1))
    await world.sleep(LONG + run)
    thing.busy = false
  })
  await child
})

never('fire-and-forget children, whose parent ends within the grace', async (world, run) => {
  const pool = world.pool()
  let child: Promise<void> | undefined
  await pool.use(async () => {
    child = pool.use(() => world.sleep(1))
    await world.sleep(GRACE * (run / TIMES) * 0.95)
  })
  await child
})

never(
  'fire-and-forget children that carry the mark, while their parent sleeps: use',
  async world => {
    const pool = world.pool()
    let child: Promise<void> | undefined
    await pool.use(async () => {
      child = pool.use(() => world.sleep(1), { detached: true })
      await world.sleep(LONG)
    })
    await child
  },
  { nested: 0 },
)

never(
  'fire-and-forget children that carry the mark, while their parent sleeps: acquire',
  async (world, run) => {
    const pool = world.pool()
    let child: Promise<void> | undefined
    async function start(): Promise<void> {
      const thing = await pool.acquire({ detached: true })
      await world.sleep(1)
      await pool.release(thing)
    }
    if (run % 2 === 0) {
      await pool.use(async () => {
        child = start()
        await world.sleep(LONG)
      })
    } else {
      const thing = await pool.acquire()
      child = start()
      await world.sleep(LONG)
      await pool.release(thing)
    }
    await child
  },
  { nested: 0 },
)

never('a branch of Promise.all waits for a sibling that will release', async (world, run) => {
  const pool = world.pool({ max: 2 })
  const branch = async (millis: number): Promise<void> => {
    if (run % 3 === 0) return pool.use(() => world.sleep(millis))
    if (run % 3 === 1) await world.sleep(1)
    const thing = await pool.acquire()
    await world.sleep(millis)
    await pool.release(thing)
  }
  const parent = async (): Promise<void> => {
    await Promise.all([branch(LONG), branch(1)])
  }
  if (run % 2 === 0) await pool.use(parent)
  else {
    const thing = await pool.acquire()
    await parent()
    await pool.release(thing)
  }
})

never('branches of Promise.all without a parent wait for each other', async (world, run) => {
  const pool = world.pool()
  async function branch(index: number): Promise<void> {
    if (run % 2 === 0 && index % 2 === 1) await world.sleep(1)
    const thing = await pool.acquire()
    await world.sleep(LONG)
    await pool.release(thing)
  }
  await Promise.all([branch(0), branch(1), branch(2), branch(3)])
})

never(
  'a lease that was released before the nested acquire',
  async (world, run) => {
    const pool = world.pool()
    const hog = async (): Promise<void> => {
      const thing = await pool.acquire()
      await world.sleep(LONG)
      await pool.release(thing)
    }
    const first = await pool.acquire()
    await pool.release(first)
    const other = world.sleep(1).then(hog)
    await world.sleep(2)
    if (run % 2 === 0) await pool.use(() => {})
    else await pool.release(await pool.acquire())
    await other
  },
  { nested: 0 },
)

never('a context that holds one pool and waits for another that still moves', async world => {
  const slow = world.pool({ max: 1 })
  const pool = world.pool({ max: 1 })
  const crowd = Array.from({ length: 6 }, () => slow.use(() => world.sleep(GRACE * 0.9)))
  const alone = slow.use(() => world.sleep(LONG))
  await pool.use(() => slow.use(() => {}))
  await Promise.all([...crowd, alone])
})

never('a waiter whose own deadline is about to pass is left to it', async (world, run) => {
  const pool = world.pool({ acquireTimeoutMillis: 2 * GRACE - 1 })
  await pool.use(async () => {
    const code = await pool.acquire(run % 2 === 0 ? undefined : { timeoutMillis: GRACE + 5 }).then(
      () => 'served',
      error => error.code,
    )
    assert.equal(code, 'POOL_ACQUIRE_TIMEOUT')
  })
})

never('a lease handed to another context and released there', async (world, run) => {
  const pool = world.pool()
  const channel = new EventEmitter()
  const released = new Promise<void>(resolve => {
    channel.once('thing', async (thing: Thing) => {
      await world.sleep(run % 2 === 0 ? 5 : LONG)
      await pool.release(thing)
      resolve()
    })
  })
  const thing = await pool.acquire()
  channel.emit('thing', thing)
  if (run % 2 === 0) await pool.use(() => {})
  else {
    await released
    await pool.use(() => world.sleep(LONG))
  }
})

never('a lease that a timer gives back, while whoever took it waits for another one', async (world, run) => {
  const pool = world.pool()
  const thing = await pool.acquire()
  world.clock.after(LONG + run, () => void pool.release(thing))
  await pool.release(await pool.acquire())
})

never(
  'a lease that a background job gives back, while whoever took it waits for another one',
  async (world, run) => {
    const pool = world.pool()
    const thing = await pool.acquire()
    const job = (async () => {
      await world.sleep(LONG + run)
      await pool.release(thing)
    })()
    await pool.release(await pool.acquire())
    await job
  },
)

never(
  'a loop of tasks in one context, each with a connection of its own',
  async world => {
    const pool = world.pool()
    const other = pool.use(() => world.sleep(LONG))
    for (let round = 0; round < 5; round += 1) {
      const thing = await pool.acquire()
      await world.sleep(1)
      await pool.release(thing)
    }
    await other
  },
  { nested: 0 },
)

never('a caller that has given up on a job, and asks itself, while the job works on', async (world, run) => {
  const pool = world.pool({ max: 1 + (run % 2) })
  const jobs: Promise<void>[] = []
  async function job(): Promise<void> {
    const thing = await pool.acquire()
    await world.sleep(LONG)
    await pool.release(thing)
  }
  async function impatient(): Promise<void> {
    const mine = job()
    jobs.push(mine)
    if (run % 4 < 2) await Promise.race([mine, world.sleep(10)])
    else
      await Promise.all([mine, world.sleep(10).then(() => Promise.reject(new Error('no')))]).catch(() => {})
    await pool.release(await pool.acquire())
  }
  if (run % 3 === 0) await world.sleep(1)
  await Promise.all([impatient(), impatient()])
  await Promise.all(jobs)
})

never(
  'a job whose context the next one inherits, and which has given its first lease back',
  async (world, run) => {
    const pool = world.pool({ max: 2 })
    const jobs: Promise<void>[] = []
    async function handle(index: number): Promise<void> {
      const first = await pool.acquire()
      if (index === 0) await world.sleep(LONG)
      await pool.release(first)
      await world.sleep(1)
      const second = await pool.acquire()
      await world.sleep(index === 1 ? LONG : 1)
      await pool.release(second)
    }
    for (let index = 0; index < 4; index += 1) {
      jobs.push(handle(index))
      await world.sleep(2 + run / TIMES)
    }
    await Promise.all(jobs)
  },
)

never('connections that are kept for a session, and given back by another request', async (world, run) => {
  const pool = world.pool()
  const sessions: Thing[] = []
  const open = async (): Promise<void> => void sessions.push(await pool.acquire())
  const close = (): Promise<void> => pool.release(sessions.pop() as Thing)
  // As a service has been used before.
  await open()
  world.clock.after(1, () => void close())
  await world.sleep(2)
  async function request(): Promise<void> {
    if (run % 2 === 0) await world.sleep(1)
    await open()
    world.clock.after(
      LONG,
      AsyncResource.bind(() => void close()),
    )
    await world.sleep(1)
    await pool.release(await pool.acquire())
  }
  await request()
})

never('two runs of one function, of which the second inherits the context of the first', async world => {
  const pool = world.pool({ max: 2 })
  async function job(index: number): Promise<void> {
    if (index === 1) await world.sleep(1)
    const first = await pool.acquire()
    if (index === 1) {
      const second = await pool.acquire()
      await pool.release(second)
    } else await world.sleep(LONG)
    await pool.release(first)
  }
  await Promise.all([job(0), job(1)])
})

/** Jobs that a loop starts and nobody awaits, of two kinds; each of the second inherits the context of the first. */
function twoBranches(world: World, hold: number): (jobs: number) => Promise<void> {
  const pool = world.pool({ max: 3, acquireTimeoutMillis: 100 * GRACE })
  async function handle(job: number): Promise<void> {
    if (job % 2 === 0) {
      const connection = await pool.acquire()
      await world.sleep(hold)
      await pool.release(connection)
    } else {
      await world.sleep(1)
      const connection = await pool.acquire()
      await pool.release(connection)
    }
  }
  return async jobs => {
    const ends: Promise<void>[] = []
    const emitter = new EventEmitter().on('job', job => void ends.push(handle(job).then(() => {})))
    for (let job = 0; job < jobs; job += 1) emitter.emit('job', job)
    await Promise.all(ends)
  }
}

never(
  'a branch of a handler that inherits the context of another run, which took another branch',
  (world, run) => twoBranches(world, LONG + run)(8),
)

never('the same, where those others have gone on from there to another pool', async (world, run) => {
  const pool = world.pool({ max: 3, acquireTimeoutMillis: 100 * GRACE })
  const other = world.pool({ max: 10 })
  async function handle(job: number): Promise<void> {
    if (job % 2 === 0) {
      const connection = await pool.acquire()
      await other.release(await other.acquire())
      await world.sleep(LONG + run)
      await pool.release(connection)
    } else {
      await world.sleep(1)
      const connection = await pool.acquire()
      await pool.release(connection)
    }
  }
  for (let wave = 0; wave < 3; wave += 1) {
    const ends: Promise<void>[] = []
    world.clock.after(1, () => {
      for (let job = 0; job < 6; job += 1) ends.push(handle(job).then(() => {}))
    })
    await world.sleep(2)
    await Promise.all(ends)
  }
})

never(
  'many requests, each of which starts one task and then awaits another that waits for the first',
  async (world, run) => {
    const pool = world.pool({ max: 16, acquireTimeoutMillis: 100 * GRACE })
    async function load(kind: 'slow' | 'cached'): Promise<void> {
      if (kind === 'slow') {
        const connection = await pool.acquire()
        await world.sleep(LONG + run)
        await pool.release(connection)
      } else {
        await world.sleep(1)
        const connection = await pool.acquire()
        await pool.release(connection)
      }
    }
    async function request(): Promise<void> {
      const slow = load('slow')
      await load('cached')
      await slow
    }
    await Promise.all(Array.from({ length: 16 }, () => AsyncResource.bind(request)()))
  },
)

never(
  'connections that a producer hands to a consumer beside it, which gives them back',
  async (world, run) => {
    const pool = world.pool({ max: 2, acquireTimeoutMillis: 100 * GRACE })
    async function exchange(items: number): Promise<void> {
      const queue: Thing[] = []
      async function produce(): Promise<void> {
        await world.sleep(1)
        for (let item = 0; item < items; item += 1) queue.push(await pool.acquire())
      }
      async function consume(): Promise<void> {
        for (let item = 0; item < items; ) {
          await world.sleep(LONG + run)
          for (const thing of queue.splice(0)) {
            await pool.release(thing)
            item += 1
          }
        }
      }
      await Promise.all([produce(), consume()])
    }
    // As a service has been used before.
    await exchange(1)
    await exchange(5)
  },
)
