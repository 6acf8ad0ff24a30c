import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { never } from './never-a-deadlock.ts'
import { endings, failure, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

/*
 * Programs that come to their end by themselves, and whose stacks look as those of a deadlock do: what holds the
 * connection is another run of the same function, or somebody to whom it was handed. What the pool has learnt before
 * must not make it quicker to judge.
 */

/** Shorter than the time for which a knot of plain loans has to stand. */
const HOLD = 20 * GRACE
const PATIENT = { acquireTimeoutMillis: 200 * GRACE }
const FEW = { times: 20 }

never(
  'two branches of a handler inside an async wrapper that nobody awaits',
  async world => {
    const pool = world.pool(PATIENT)
    async function handle(kind: string): Promise<void> {
      if (kind === 'write') {
        const connection = await pool.acquire()
        await world.sleep(HOLD)
        await pool.release(connection)
      } else {
        await world.sleep(1)
        await pool.release(await pool.acquire())
      }
    }
    async function logged(kind: string): Promise<void> {
      try {
        await handle(kind)
      } finally {
        // The line in the log.
      }
    }
    const ends: Promise<void>[] = []
    const jobs = new EventEmitter().on('job', kind => void ends.push(logged(kind).then(() => {})))
    for (let wave = 0; wave < 3; wave += 1) {
      world.clock.after(1, () => {
        jobs.emit('job', 'write')
        jobs.emit('job', 'read')
      })
      await world.sleep(2)
      await Promise.all(ends)
    }
  },
  FEW,
)

never(
  'a handler with two optional connections: one run takes both, later two runs take one each',
  async world => {
    const pool = world.pool({ max: 2, ...PATIENT })
    async function handle(writes: boolean, reads: boolean, hold: number): Promise<void> {
      const write = writes ? await pool.acquire() : undefined
      await world.sleep(1)
      const read = reads ? await pool.acquire() : undefined
      await world.sleep(hold)
      if (read) await pool.release(read)
      if (write) await pool.release(write)
    }
    const ends: Promise<void>[] = []
    world.clock.after(1, () => void ends.push(handle(true, true, 1)))
    await world.sleep(10)
    for (const delay of [1, 2]) {
      world.clock.after(delay, () => {
        ends.push(handle(true, false, HOLD).then(() => {}))
        ends.push(handle(false, true, 1).then(() => {}))
      })
    }
    await world.sleep(10)
    await Promise.all(ends)
  },
  FEW,
)

never(
  'a run that starts the next one of itself, and goes on',
  async world => {
    const pool = world.pool(PATIENT)
    const ends: Promise<void>[] = []
    async function work(left: number): Promise<void> {
      await world.sleep(1)
      const connection = await pool.acquire()
      if (left > 0) ends.push(work(left - 1).then(() => {}))
      await world.sleep(HOLD)
      await pool.release(connection)
    }
    await work(3)
    for (let end = 0; end < ends.length; end += 1) await ends[end]
  },
  FEW,
)

never(
  'a reader that gives the connection back by itself, and is awaited after the second acquire',
  async world => {
    const pool = world.pool({ max: 2, ...PATIENT })
    async function read(source: Thing, millis: number): Promise<void> {
      try {
        await world.sleep(millis)
      } finally {
        await pool.release(source)
      }
    }
    async function copy(millis: number): Promise<void> {
      const source = await pool.acquire()
      const reading = read(source, millis)
      const target = await pool.acquire()
      await reading
      await pool.release(target)
    }
    await copy(5)
    await Promise.all([copy(HOLD), copy(HOLD)])
  },
  FEW,
)

never(
  'small replies are sent in line, large ones give back at the end of their stream',
  async world => {
    const pool = world.pool(PATIENT)
    async function reply(size: 'small' | 'large'): Promise<void> {
      const connection = await pool.acquire()
      if (size === 'small') {
        await world.sleep(1)
        await pool.release(connection)
      } else {
        const stream = new EventEmitter()
        stream.once('end', () => void pool.release(connection))
        world.clock.after(HOLD, () => stream.emit('end'))
      }
      await pool.release(await pool.acquire())
    }
    for (const size of ['small', 'small', 'large'] as const) await reply(size)
  },
  FEW,
)

never(
  'a request whose other branch failed asks again, while the helper still prepares the first connection',
  async world => {
    const pool = world.pool(PATIENT)
    async function take(millis: number): Promise<Thing> {
      const connection = await pool.acquire()
      await world.sleep(millis)
      return connection
    }
    async function lookup(fails: boolean): Promise<void> {
      await world.sleep(3)
      if (fails) throw new Error('not found')
    }
    async function request(millis: number, fails: boolean): Promise<void> {
      const taking = take(millis)
      let connection: Thing
      try {
        ;[connection] = await Promise.all([taking, lookup(fails)])
      } catch {
        void taking.then(late => pool.release(late))
        connection = await take(1)
      }
      await world.sleep(1)
      await pool.release(connection)
    }
    await request(1, false)
    await request(HOLD, true)
  },
  FEW,
)

/** Does something before the n-th turn of the loop that the verdict asks for. */
function atTurn(world: World, nth: number, run: () => void): void {
  const turn = world.clock.turn.bind(world.clock)
  let turns = 0
  world.clock.turn = next =>
    turn(() => {
      turns += 1
      if (turns === nth) run()
      next()
    })
}

test('a task that stops waiting while others are still being asked is no part of the knot', async () => {
  for (let nth = 1; nth <= 3; nth += 1) {
    const world = new World()
    const pool = world.pool({ max: 2, acquireTimeoutMillis: 100 * GRACE })
    let fail = (): void => {}
    const other = new Promise<void>((_, reject) => {
      fail = () => reject(new Error('the other branch'))
    })
    other.catch(() => {})
    const child = async (): Promise<void> => pool.release(await pool.acquire())
    async function task(children: number, branch: Promise<void>): Promise<string> {
      const held = await pool.acquire()
      const started: Promise<void>[] = []
      try {
        await world.sleep(1)
        for (let index = 0; index < children; index += 1) started.push(child())
        await Promise.all([...started, branch])
      } catch {
        // It needs what it holds for a little longer, and nothing else.
        await world.sleep(2 * GRACE)
      } finally {
        await pool.release(held)
      }
      return Object.keys(tally(await endings(started))).join()
    }
    atTurn(world, nth, fail)
    const tasks = [task(1, other), world.sleep(0.5).then(() => task(200, Promise.resolve()))]
    const ended = endings(tasks)
    await world.clock.advance(100 * GRACE)
    assert.deepEqual(await ended, ['done', 'done'], `turn ${nth}`)
    assert.deepEqual(world.deadlocks, [], `turn ${nth}`)
  }
})

test('a crowd that has been aborted, but not all of it been told, waits no more', async () => {
  const world = new World()
  const pool = world.pool({ max: 1, acquireTimeoutMillis: 100 * GRACE })
  const leaving = new AbortController()
  const ended = endings([
    pool.use(async () => {
      await endings(Array.from({ length: 5000 }, () => pool.use(() => {}, { signal: leaving.signal })))
      await world.sleep(HOLD)
    }),
    pool.use(() => pool.use(() => {})),
  ])
  // As it would be in the middle of a turn that tells a part of them.
  const turn = world.clock.turn.bind(world.clock)
  const held: (() => void)[] = []
  await world.clock.advance(GRACE / 2)
  world.clock.turn = run => void held.push(run)
  leaving.abort()
  await world.clock.advance(2 * GRACE)
  assert.deepEqual(world.deadlocks, [])
  world.clock.turn = turn
  for (const run of held) run()
  await world.clock.advance(20 * GRACE)
  assert.deepEqual(await ended, ['done', 'POOL_DEADLOCK'])
})

test('the message of a victim names what it certainly held, not what may be held by another run', async () => {
  const world = new World()
  const [mine, theirs] = [world.pool({ name: 'mine' }), world.pool({ name: 'theirs' })]
  let error: Promise<Error> | undefined
  async function handle(kind: number): Promise<void> {
    if (kind === 0) {
      const thing = await theirs.acquire()
      await world.sleep(10 * GRACE)
      await theirs.release(thing)
    } else {
      await world.sleep(1)
      await mine.use(() => mine.use(() => {}))
    }
  }
  world.clock.after(1, () => {
    void handle(0)
    error = failure(handle(1))
  })
  await world.clock.advance(20 * GRACE)
  assert.match((await error)?.message ?? '', /its caller held 1 of pool 'mine', and/)
})

/** Far longer than any knot has to stand. */
const FOREVER = 100 * GRACE

/** Runs that nobody awaits, in two waves; resolves when all are over. */
async function startedByEvents(world: World, ...waves: (() => Promise<void>)[][]): Promise<void> {
  const ends: Promise<void>[] = []
  for (const [wave, runs] of waves.entries()) {
    world.clock.after(1 + 1.5 * wave, () => {
      for (const run of runs) ends.push(run().then(() => {}))
    })
  }
  await world.sleep(10)
  for (const end of ends) await end
}

never(
  'a handler that takes two connections one after the other: others hold the first, one waits for the second',
  async world => {
    const pool = world.pool({ max: 2, acquireTimeoutMillis: 1000 * GRACE })
    async function handle(hold: number): Promise<void> {
      const first = await pool.acquire()
      await world.sleep(hold)
      await pool.release(first)
      await world.sleep(1)
      const second = await pool.acquire()
      await pool.release(second)
    }
    // As a service has been used before.
    await handle(1)
    await startedByEvents(
      world,
      [() => handle(1), () => handle(1)],
      [() => handle(FOREVER), () => handle(FOREVER)],
    )
  },
  { times: 1 },
)

never(
  'the branches of a handler, once a loan has been seen to come back, however long the others hold theirs',
  async world => {
    const pool = world.pool({ max: 2, acquireTimeoutMillis: 1000 * GRACE })
    async function handle(writes: boolean, hold: number): Promise<void> {
      await world.sleep(1)
      if (writes) {
        const connection = await pool.acquire()
        await world.sleep(hold)
        await pool.release(connection)
      } else {
        const connection = await pool.acquire()
        await pool.release(connection)
      }
    }
    await handle(true, 1)
    const writers = [() => handle(true, FOREVER), () => handle(true, FOREVER)]
    await startedByEvents(world, writers, [() => handle(false, 1), () => handle(false, 1)])
  },
  { times: 1 },
)

never(
  'sessions that others close, once one has been seen to be closed, however long the next stay open',
  async world => {
    const pool = world.pool({ max: 1, acquireTimeoutMillis: 1000 * GRACE })
    const sessions: Thing[] = []
    async function request(): Promise<void> {
      sessions.push(await pool.acquire())
      await world.sleep(1)
      await pool.release(await pool.acquire())
    }
    const closeIn = (millis: number): void =>
      world.clock.after(millis, () => void pool.release(sessions.pop() as Thing)) as unknown as undefined
    closeIn(10)
    await request()
    closeIn(FOREVER)
    await request()
  },
  { times: 1 },
)

never(
  'what one waits for in its own pool, while another run with the same first lease waits where things move',
  async world => {
    const pool = world.pool({ max: 2, acquireTimeoutMillis: 1000 * GRACE })
    const moving = world.pool({ acquireTimeoutMillis: 1000 * GRACE })
    async function handle(isLocal: boolean): Promise<void> {
      let first: Thing
      if (isLocal) first = await pool.acquire()
      else first = await pool.acquire()
      await world.sleep(1)
      if (isLocal) await pool.release(await pool.acquire())
      else await moving.release(await moving.acquire())
      await pool.release(first)
    }
    const crowd = Array.from({ length: 60 }, () => moving.use(() => world.sleep(0.9 * GRACE)))
    await startedByEvents(world, [() => handle(true), () => handle(false)])
    await Promise.all(crowd)
  },
  { times: 1 },
)

never(
  'two branches of one run that wait, while the branches of another are at work',
  async world => {
    const pool = world.pool({ max: 2, acquireTimeoutMillis: 1000 * GRACE })
    async function branch(isQuick: boolean): Promise<void> {
      await world.sleep(1)
      if (isQuick) await pool.release(await pool.acquire())
      else await world.sleep(FOREVER)
    }
    async function task(isQuick: boolean): Promise<void> {
      const connection = await pool.acquire()
      await Promise.all([branch(isQuick), branch(isQuick)])
      await pool.release(connection)
    }
    await startedByEvents(world, [() => task(true), () => task(false)])
  },
  { times: 1 },
)

for (const how of ['use', 'acquire'] as const) {
  never(
    `whoever awaits the first of several can go on without the acquire among them (${how})`,
    async world => {
      const pool = world.pool({ acquireTimeoutMillis: 1000 * GRACE })
      const others: Promise<unknown>[] = []
      const ask = (): Promise<unknown> => {
        const asked = pool.use(() => {})
        others.push(asked)
        return Promise.any([asked, world.sleep(FOREVER)])
      }
      if (how === 'use') await pool.use(ask)
      else {
        const held = await pool.acquire()
        await ask()
        await pool.release(held)
      }
      await Promise.all(others)
    },
    { times: 1 },
  )
}

never(
  'a run that stands further up than the statement where another has taken its connection',
  async world => {
    const pool = world.pool({ acquireTimeoutMillis: 1000 * GRACE })
    async function handle(reads: boolean): Promise<void> {
      await world.sleep(1)
      if (reads) await pool.release(await pool.acquire())
      const connection = await pool.acquire()
      await world.sleep(reads ? 1 : FOREVER)
      await pool.release(connection)
    }
    await startedByEvents(world, [() => handle(false)], [() => handle(true)])
  },
  { times: 1 },
)
