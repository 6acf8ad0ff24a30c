import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { evictorOf } from './scripted-evictor.ts'

describe('idle connections', () => {
  test('end once they have been idle for too long, those that are due together in one run', async () => {
    const { clock, ends, evictor, add } = evictorOf({ idleTimeoutMillis: 1000 })
    evictor.start()
    assert.equal(evictor.planned, null, 'nothing is idle')
    add()
    assert.notEqual(evictor.planned, null)
    await clock.advance(6)
    add()
    await clock.advance(100)
    add()
    await clock.advance(2000)
    assert.deepEqual(ends, [
      [1001, 1, 'idle'],
      [1011, 2, 'idle'],
      [1107, 3, 'idle'],
    ])
    assert.equal(clock.pending, 0, 'a test that runs all timers must end')
  })

  test('are tested at the interval of the option, the longest idle first, so many in a run', async () => {
    const { clock, ends, evictor, add } = evictorOf({
      evictionRunIntervalMillis: 500,
      idleTimeoutMillis: 1000,
    })
    evictor.start()
    assert.notEqual(evictor.planned, null, 'also while nothing is idle')
    for (let count = 0; count < 5; count += 1) add()
    await clock.advance(1499)
    assert.equal(ends.length, 0, 'a thousand is not yet more than a thousand')
    await clock.advance(1)
    assert.deepEqual(
      ends.map(([, id]) => id),
      [1, 2, 3],
    )
    await clock.advance(500)
    assert.deepEqual(
      ends.map(([, id]) => id),
      [1, 2, 3, 4, 5],
    )
    evictor.stop()
    assert.equal(clock.pending, 0)
    evictor.plan()
    evictor.wake()
    assert.equal(clock.pending, 0, 'it has stopped')
  })

  test('end softly only while more than min are idle, and never without that option', async () => {
    const { clock, ends, evictor, add } = evictorOf({ min: 2, softIdleTimeoutMillis: 300 })
    evictor.start()
    for (let count = 0; count < 3; count += 1) add()
    add('lent')
    await clock.advance(300)
    assert.equal(ends.length, 0)
    await clock.advance(10_000)
    assert.deepEqual(ends, [[301, 1, 'idle']])
    const off = evictorOf({ min: 1 })
    off.evictor.start()
    for (let count = 0; count < 3; count += 1) off.add()
    await off.clock.advance(1e6)
    assert.equal(off.ends.length, 0)
    assert.equal(off.clock.pending, 0)
  })

  test('that min keeps are not ended together but renewed one by one, and not while another is being made', async () => {
    const { clock, slots, ends, evictor, add } = evictorOf({ min: 2, idleTimeoutMillis: 1000 })
    evictor.start()
    add()
    add()
    evictor.plan()
    await clock.advance(499)
    assert.equal(ends.length, 0)
    await clock.advance(1)
    assert.deepEqual(ends, [[500, 1, 'idle']])
    const connecting = slots.add(0, 0)
    evictor.plan()
    await clock.advance(1000)
    assert.equal(ends.length, 1, 'one is missing, and another is being made')
    slots.move(connecting, 'closed')
    add()
    evictor.plan()
    await clock.advance(200)
    assert.deepEqual(
      ends.map(([, id]) => id),
      [1, 2],
    )
  })

  test('end at their lifetime and before the limit of the server, an eighth of them at a time', async () => {
    for (const [reason, set] of [
      ['lifetime', evictorOf({ maxLifetimeMillis: 8000 })],
      ['server-timeout', evictorOf()],
    ] as const) {
      const { clock, limit, ends, evictor, add } = set
      Object.assign(limit, reason === 'lifetime' ? {} : { retireAfter: 1000, period: 250 })
      evictor.start()
      for (let count = 0; count < 16; count += 1) {
        const slot = add()
        if (reason === 'lifetime') slot.retireAt = clock.now() + 1000
      }
      await clock.advance(999)
      assert.equal(ends.length, 0)
      await clock.advance(1)
      assert.deepEqual(
        ends.map(([, id, why]) => [id, why]),
        [
          [1, reason],
          [2, reason],
        ],
      )
      await clock.advance(24)
      assert.equal(ends.length, 2)
      await clock.advance(1)
      assert.equal(ends.length, 4, 'the next after 25 ms')
      await clock.advance(1000)
      assert.equal(ends.length, 16)
    }
  })

  test('end up to a quarter of the limit earlier, each at its own time', async () => {
    const { clock, limit, ends, evictor, add } = evictorOf()
    Object.assign(limit, { retireAfter: 1000, period: 25 })
    evictor.start()
    for (const spread of [0, 0.5, 1]) add().spread = spread
    await clock.advance(749)
    assert.equal(ends.length, 0)
    await clock.advance(400)
    assert.deepEqual(
      ends.map(([at, id]) => [at, id]),
      [
        [750, 3],
        [875, 2],
        [1000, 1],
      ],
    )
  })

  test('that take long to end are ended in several runs', async () => {
    const { clock, work, ends, evictor, add } = evictorOf({ maxLifetimeMillis: 8000 })
    evictor.start()
    for (let count = 0; count < 16; count += 1) add().retireAt = 1500
    work.cost = 0.6
    await clock.advance(1000)
    assert.equal(ends.length, 1)
    await clock.advance(26)
    assert.equal(ends.length, 2)
  })

  test('that are kept warm are validated instead, but for those whose lifetime is over', async () => {
    const { clock, limit, ends, validated, evictor, add } = evictorOf({ keepWarm: true })
    Object.assign(limit, { retireAfter: 1000, period: 250 })
    evictor.start()
    add()
    add().retireAt = clock.now() + 1000
    await clock.advance(1100)
    assert.deepEqual(validated, [1])
    assert.deepEqual(
      ends.map(([, id, reason]) => [id, reason]),
      [[2, 'lifetime']],
    )
  })

  test('retire before they expire', async () => {
    const { clock, factory, ends, evictor, add } = evictorOf()
    factory.expiresAt = () => 0
    evictor.start()
    add().retireAt = clock.now() + 700
    add().retireAt = clock.now() + 900
    evictor.plan()
    await clock.advance(699)
    assert.equal(ends.length, 0)
    await clock.advance(1000)
    assert.deepEqual(ends, [
      [700, 1, 'lifetime'],
      [900, 2, 'lifetime'],
    ])
  })
})

test('one connection is left past a limit that is in doubt: it tells whether the limit still holds', async () => {
  const { clock, limit, ends, evictor, add } = evictorOf()
  Object.assign(limit, { retireAfter: 1000, period: 1000, doubted: true })
  evictor.start()
  for (let count = 0; count < 3; count += 1) add()
  await clock.advance(1100)
  assert.deepEqual(
    ends.map(([, id]) => id),
    [2, 3],
  )
  assert.equal(limit.survivals[0], 1000)
  limit.doubted = false
  await clock.advance(2000)
  assert.deepEqual(
    ends.map(([, id]) => id),
    [2, 3, 1],
  )
})

describe('the question for the idle limit of the server', () => {
  test('is asked once in a generation, over the connection that is not lent next', async () => {
    for (const fifo of [true, false]) {
      const { clock, factory, connector, asked, evictor, add } = evictorOf({ fifo })
      factory.serverIdleTimeout = () => 0
      evictor.start()
      add()
      add()
      await clock.advance(5)
      evictor.askWhenIdle()
      await clock.advance(5000)
      assert.deepEqual(asked, [fifo ? 2 : 1])
      connector.generation = 1
      evictor.askWhenIdle()
      await clock.advance(200)
      assert.equal(asked.length, 2)
    }
  })

  test('waits for an idle connection, and looks for one ten times a second', async () => {
    const { clock, slots, factory, asked, evictor, add } = evictorOf({ evictionRunIntervalMillis: 60_000 })
    factory.serverIdleTimeout = () => 0
    evictor.start()
    const slot = add('lent')
    evictor.askWhenIdle()
    await clock.advance(1)
    const before = clock.timersSet
    await clock.advance(1000)
    assert.equal(clock.timersSet - before, 10)
    assert.equal(asked.length, 0)
    slots.move(slot, 'idle')
    await clock.advance(100)
    assert.deepEqual(asked, [1])
  })

  test('is not asked where the limit was given, nobody looks for dead connections, or the factory cannot ask', async () => {
    for (const given of [
      { serverIdleTimeoutMillis: 5000 },
      { serverIdleTimeoutMillis: 'none' as const },
      { halfClose: 'off' as const },
      undefined,
    ]) {
      const { clock, factory, asked, evictor, add } = evictorOf(given ?? {})
      if (given !== undefined) factory.serverIdleTimeout = () => 0
      evictor.start()
      add()
      evictor.askWhenIdle()
      await clock.advance(1000)
      assert.equal(asked.length, 0, JSON.stringify(given))
    }
  })
})
