import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Waiter } from '../../src/queue/waiter.ts'
import { never } from './never-a-deadlock.ts'
import { endings, GRACE, type Thing, tally, World } from './pools-on-one-clock.ts'

/* Conditions of the proof, and of the warning, that no other test depends on. */

never(
  'a holder of another pool that works on its connection while it waits, and then gives up',
  async world => {
    const [a, b] = [world.pool({ max: 1, name: 'a' }), world.pool({ max: 1, name: 'b' })]
    let inner: Promise<unknown> = Promise.resolve()
    const worker = a.use(async thing => {
      await world.sleep(1)
      thing.busy = true
      inner = b.use(() => 'inner')
      await Promise.race([inner, world.sleep(6 * GRACE)])
      thing.busy = false
    })
    const other = b.use(async () => {
      await world.sleep(2)
      await a.use(() => 'other')
    })
    await Promise.all([worker, other])
    await inner
  },
)

never(
  'an acquire that its caller gives up within a grace, in a pool that has been full and silent for long',
  async (world, run) => {
    const pool = world.pool({ max: 1 })
    let inner: Promise<unknown> = Promise.resolve()
    const holder = pool.use(async () => {
      await world.sleep(4 * GRACE + run)
      inner = pool.use(() => 'inner')
      await Promise.race([inner, world.sleep(GRACE * 0.8)])
    })
    await world.sleep(1)
    await Promise.all([holder, pool.use(() => 'outsider')])
    await inner
  },
)

test('a holder whose connection names the command under way is not proved to wait', async () => {
  const world = new World()
  const factory = { ...world.factory(), busy: () => 'BLPOP' }
  const pool = world.pool({ max: 1, acquireTimeoutMillis: 20 * GRACE }, factory)
  const ended = endings([pool.use(() => pool.use(() => 'inner'))])
  await world.clock.advance(30 * GRACE)
  assert.deepEqual([await ended, world.deadlocks], [['POOL_ACQUIRE_TIMEOUT'], []])
})

for (const nested of ['detect', 'forbid'] as const) {
  test(`a handler called while another run of it holds a connection holds nothing itself (${nested})`, async () => {
    const world = new World()
    const pool = world.pool({ max: 3, nested })
    await pool.release(await pool.acquire())
    let ended = 0
    async function handle(kind: string): Promise<void> {
      if (kind === 'write') {
        const thing = await pool.acquire()
        await world.sleep(5)
        await pool.release(thing)
      } else await pool.release(await pool.acquire())
      ended += 1
    }
    // As an event of Node calls it: nothing of the user's stands beneath.
    setImmediate(handle, 'write')
    await turn()
    setImmediate(handle, 'read')
    await turn()
    assert.deepEqual([ended, pool.borrowed], [1, 1])
    await world.clock.advance(20)
    assert.equal(ended, 2)
    assert.equal(world.nested, 0)
  })
}

test('a producer that hands over each connection before it takes the next is not warned', async () => {
  const world = new World()
  const pool = world.pool({ max: 4 })
  const handed: Thing[] = []
  async function produce(): Promise<void> {
    for (let left = 2; left > 0; left -= 1) {
      const thing = await pool.acquire()
      handed.push(thing)
      await world.sleep(1)
    }
  }
  const ended = endings([produce()])
  await world.clock.advance(10)
  await ended
  assert.equal(world.nested, 0)
  for (const thing of handed) await pool.release(thing)
})

test('before a rejection, few of a thousand who wait are asked once more', async t => {
  const world = new World()
  const pool = world.pool({ max: 10 })
  const asked = t.mock.method(Waiter.prototype, 'ask')
  const task = (): Promise<unknown> =>
    pool.use(async () => {
      await world.sleep(1)
      await Promise.all(Array.from({ length: 100 }, () => pool.use(() => 'inner')))
    })
  const ended = endings(Array.from({ length: 10 }, task))
  let questions = 0
  pool.once('deadlock', () => {
    questions = asked.mock.callCount()
  })
  await world.clock.advance(30_000)
  assert.ok((tally(await ended).POOL_DEADLOCK ?? 0) > 0)
  // Each search asks every waiter once. Before the rejection: one for each lease, and the youngest.
  assert.ok(questions % 1000 > 0 && questions % 1000 <= 10 + 1, `${questions} questions`)
})
