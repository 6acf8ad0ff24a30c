import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { recordTimeline, type Timeline } from '../../src/diagnostics/index.ts'
import { CountingFactory, eventually, scripted } from '../support/factories.ts'
import { open } from '../support/pools.ts'
import { rejection } from '../support/rejection.ts'

const CHANNELS = [
  'tracing:lifeguard-pool:acquire:start',
  'tracing:lifeguard-pool:acquire:asyncEnd',
  'tracing:lifeguard-pool:create:error',
  ...['state', 'release', 'destroy', 'half-close', 'deadlock', 'leak', 'shed', 'breaker', 'stall'].map(
    name => `lifeguard-pool:${name}`,
  ),
]
const heard = (): string[] => CHANNELS.filter(name => channel(name).hasSubscribers)

/** What one connection was doing, in order. Each span begins where the one before ended. */
function lifeOf({ spans, millis }: Timeline, connection: number, pool = 0): string[] {
  const own = spans.filter(span => span.connection === connection && span.pool === pool)
  for (const [index, { from, to }] of own.entries()) {
    assert.ok(0 <= from && from <= to && to <= millis, `${from} to ${to} of ${millis}`)
    const next = own[index + 1]
    if (next !== undefined) assert.ok(next.from >= to)
  }
  return own.map(({ state }) => state)
}

/** Time that the recording can tell from none. */
const moment = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 3))

test('the life of a connection is recorded from its create to its close, with the call sites of its loans', async () => {
  const factory = scripted('reset')
  factory.onCreate.always('held')
  factory.onReset.always('held')
  factory.onDestroy.always('held')
  const pool = open(factory, { name: 'recorded', max: 1 })
  const recording = recordTimeline({ pool: 'recorded' })
  async function checkout(): Promise<void> {
    const connection = await pool.acquire()
    await moment()
    await pool.release(connection)
  }
  const first = checkout()
  const created = await factory.onCreate.call()
  await moment()
  created.ok()
  await first
  const reset = await factory.onReset.call()
  const second = pool.acquire()
  await moment()
  reset.ok()
  const held = await second
  await moment()
  void pool.destroy(held)
  const destroyed = await factory.onDestroy.call()
  await moment()
  destroyed.ok()
  await eventually(() => pool.stats().closing === 0)
  const timeline = recording.stop()
  assert.deepEqual(timeline.pools, [{ name: 'recorded', max: 1 }])
  assert.deepEqual(lifeOf(timeline, 1), ['connecting', 'lent', 'resetting', 'lent', 'closing'])
  const loans = timeline.spans.filter(({ state }) => state === 'lent')
  assert.deepEqual(
    loans.map(({ loan }) => loan),
    [1, 2],
  )
  assert.match(loans[0]?.site ?? '', /^(?:async )?checkout \(.*timeline\.test\.js:\d+:\d+\)$/)
  assert.equal(timeline.spans.find(({ state }) => state === 'closing')?.detail, 'user')
  assert.deepEqual(
    timeline.waits.map(({ connection, error }) => [connection, error]),
    [
      [1, undefined],
      [1, undefined],
    ],
  )
})

test('what is there when it begins, and what goes on when it ends, is in it; after that nobody listens any more', async () => {
  assert.deepEqual(heard(), [])
  const pool = open(new CountingFactory(), { name: 'before', max: 2, min: 2 })
  await pool.ready()
  const held = await pool.acquire()
  {
    using recording = recordTimeline()
    assert.deepEqual(heard(), CHANNELS)
    const other = await pool.acquire()
    const late = pool.acquire()
    await moment()
    const { spans, waits } = recording.read()
    assert.deepEqual(
      spans.filter(({ isOpen }) => isOpen).map(({ state }) => state),
      ['lent', 'lent'],
    )
    assert.deepEqual(
      waits.map(({ isOpen, connection }) => [isOpen, connection]),
      [[true, undefined]],
    )
    await pool.release(other)
    await pool.release(await late)
  }
  assert.deepEqual(heard(), [])
  await pool.release(held)
})

test('a connection that goes from one borrower to the next is lent twice, and never lies idle between', async () => {
  const pool = open(new CountingFactory(), { name: 'handed-on', max: 1 })
  using recording = recordTimeline({ pool: 'handed-on' })
  await Promise.all(Array.from({ length: 5 }, () => pool.use(moment)))
  const { spans, waits } = recording.read()
  const lent = spans.filter(({ state }) => state === 'lent')
  assert.deepEqual(
    lent.map(({ loan }) => loan),
    [1, 2, 3, 4, 5],
  )
  assert.ok(spans.filter(({ state }) => state === 'idle').length <= 1, JSON.stringify(spans))
  assert.equal(waits.length, 5)
})

test('failures are marked: a create, a deadlock, an acquire that gave up', async () => {
  const factory = scripted()
  factory.onCreate.next({ rejects: new Error('refused') })
  const pool = open(factory, { name: 'failing', max: 1, deadlockGraceMillis: 1 })
  using recording = recordTimeline({ pool: 'failing' })
  const knot = await rejection(pool.use(() => pool.use(() => {})))
  assert.equal(knot.code, 'POOL_DEADLOCK')
  await eventually(() => recording.read().waits.some(({ error }) => error === 'POOL_DEADLOCK'))
  const { marks } = recording.read()
  assert.deepEqual(
    marks.map(({ what }) => what).filter(what => what !== 'breaker'),
    ['create-failed', 'deadlock'],
  )
  assert.match(marks[0]?.words ?? '', /refused/)
})

test('its memory is bounded: the oldest is dropped, counted, and said from when on it is complete', async () => {
  const pool = open(new CountingFactory(), { name: 'busy', max: 1 })
  using recording = recordTimeline({ pool: 'busy', most: 4 })
  for (let round = 0; round < 3; round += 1) await Promise.all([1, 2, 3, 4].map(() => pool.use(moment)))
  const late = Array.from({ length: 10 }, () => pool.acquire())
  const { spans, waits, dropped } = recording.read()
  assert.ok(spans.filter(({ isOpen }) => !isOpen).length <= 4)
  assert.ok(waits.length <= 8)
  assert.ok(dropped.spans >= 8 && dropped.waits >= 6, JSON.stringify(dropped))
  assert.ok(spans.every(({ to }) => to >= dropped.completeFrom))
  for (const acquired of late) await pool.release(await acquired)
})

test('acquires that wait already when it begins are in it, with what they had waited, and what they get', async () => {
  const pool = open(new CountingFactory(), { name: 'waits-before', max: 1, captureStacks: 'all' })
  const held = await pool.acquire()
  const served = pool.acquire()
  const refused = rejection(pool.acquire({ timeoutMillis: 30 }))
  const still = pool.acquire()
  await moment()
  const recording = recordTimeline({ pool: 'waits-before' })
  await refused
  await moment()
  await pool.release(held)
  const next = await served
  await moment()
  const { spans, waits } = recording.stop()
  assert.deepEqual(
    waits.map(({ from, connection, error, isOpen }) => [from, connection, error, isOpen]),
    [
      [0, undefined, 'POOL_ACQUIRE_TIMEOUT', undefined],
      [0, 1, undefined, undefined],
      [0, undefined, undefined, true],
    ],
  )
  for (const { beforeMillis = 0, site } of waits) {
    assert.ok(beforeMillis >= 1)
    assert.match(site ?? '', /timeline\.test\.js/)
  }
  // The connection went from hand to hand.
  assert.deepEqual(
    spans.map(({ state, loan }) => [state, loan]),
    [
      ['lent', 1],
      ['lent', 2],
    ],
  )
  assert.ok((spans[0]?.beforeMillis ?? 0) >= 1)
  await pool.release(next)
  await pool.release(await still)
  assert.equal(recording.read().waits.length, 3)
})

test('a stall that goes on when it begins or ends is in it, also where no pool has noticed it', async () => {
  const stalled = (millis: number): void => {
    const end = performance.now() + millis
    while (performance.now() < end);
  }
  const recording = recordTimeline({ pool: 'none' })
  stalled(300)
  await new Promise(resolve => setTimeout(resolve, 100))
  stalled(300)
  const { stalls, millis } = recording.stop()
  assert.equal(stalls[0]?.from, 0)
  assert.equal(stalls.at(-1)?.to, millis)
  assert.ok(stalls.length >= 2)
})

test('what it is given is checked', () => {
  for (const wrong of [{ most: 0 }, { most: 1.5 }, { pool: 7 }, null, 'redis'])
    assert.throws(() => recordTimeline(wrong as never), { code: 'POOL_BAD_OPTIONS' })
  assert.deepEqual(heard(), [])
})
