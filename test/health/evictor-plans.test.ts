/* When the evictor looks at its connections, and when it need not. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evictorOf } from './scripted-evictor.ts'

const idsOf = (ends: readonly (readonly [number, number, string])[]): number[] => ends.map(([, id]) => id)

test('all that are due together end in one run where nobody has set an interval', async () => {
  const { clock, ends, evictor, add } = evictorOf({ idleTimeoutMillis: 1000 })
  evictor.start()
  for (let count = 0; count < 5; count += 1) add()
  await clock.advance(3000)
  assert.deepEqual(
    ends.map(([at]) => at),
    [1001, 1001, 1001, 1001, 1001],
  )
})

test('each ends softly at its own time, a millisecond after it', async () => {
  const { clock, ends, evictor, add } = evictorOf({ softIdleTimeoutMillis: 1000 })
  evictor.start()
  add()
  await clock.advance(6)
  add()
  await clock.advance(494)
  add()
  await clock.advance(5000)
  assert.deepEqual(ends, [
    [1001, 1, 'idle'],
    [1011, 2, 'idle'],
    [1501, 3, 'idle'],
  ])
  assert.ok(clock.timersSet < 10, `${clock.timersSet} timers`)
  const steady = evictorOf({ softIdleTimeoutMillis: 1000, evictionRunIntervalMillis: 500 })
  steady.evictor.start()
  steady.add()
  await steady.clock.advance(1000)
  assert.equal(steady.ends.length, 0, 'a thousand is not yet more than a thousand')
  await steady.clock.advance(500)
  assert.equal(steady.ends.length, 1)
})

test('connections within min cost a timer now and then, however long they have been idle', async () => {
  const { clock, ends, evictor, add } = evictorOf({ min: 1, softIdleTimeoutMillis: 300 })
  evictor.start()
  add()
  await clock.advance(3100)
  assert.equal(ends.length, 0)
  assert.ok(clock.timersSet < 15, `${clock.timersSet} timers in 3 s`)
})

test('one that min keeps is not ended for its age while another is being made, and waits without haste', async () => {
  for (const evictionRunIntervalMillis of [0, 500]) {
    const { clock, slots, ends, evictor, add } = evictorOf({
      ...{ min: 2, idleTimeoutMillis: 1000, evictionRunIntervalMillis },
    })
    evictor.start()
    slots.add(0, 0)
    add()
    await clock.advance(4000)
    assert.equal(ends.length, 0)
    assert.ok(clock.timersSet < 60, `${clock.timersSet} timers in 4 s`)
  }
})

test('renewals that are late come a moment apart, though each connection is replaced at once', async () => {
  for (const [idleTimeoutMillis, pause] of [
    [1000, 100],
    [200, 50],
  ] as const) {
    const { clock, ends, evictor, add, connector, at } = evictorOf({ min: 3, idleTimeoutMillis })
    const discard = connector.discard.bind(connector)
    connector.discard = (slot, reason) => {
      discard(slot, reason)
      add()
    }
    for (let count = 0; count < 3; count += 1) add()
    clock.compute(5000)
    evictor.start()
    const began = at()
    await clock.advance(350)
    assert.deepEqual(
      ends.slice(0, 3).map(([time]) => time - began),
      [1, 1 + pause, 1 + 2 * pause],
    )
  }
})

test('connections that expire at once retire with a moment between them', async () => {
  const { clock, ends, evictor, factory, add } = evictorOf()
  factory.expiresAt = () => 0
  for (const millis of [3, 8]) add().retireAt = clock.now() + millis
  evictor.start()
  await clock.advance(100)
  assert.deepEqual(
    ends.map(([at]) => at),
    [10, 20],
  )
})

test('one whose lifetime is over does not stay to test a limit that is in doubt', async () => {
  const { clock, ends, evictor, limit, add } = evictorOf({ maxLifetimeMillis: 800 })
  limit.doubted = true
  add().retireAt = clock.now() + 150
  evictor.start()
  await clock.advance(1000)
  assert.deepEqual([ends.length, limit.survivals], [1, []])
})

test('an interval of the user is kept, also where lifetimes are looked at more often', async () => {
  const { clock, ends, evictor, add } = evictorOf({
    ...{ evictionRunIntervalMillis: 500, idleTimeoutMillis: 1000, maxLifetimeMillis: 1600 },
  })
  evictor.start()
  add()
  await clock.advance(3000)
  assert.deepEqual(ends, [[1500, 1, 'idle']])
})

test('a run works for half a millisecond, and no longer', async () => {
  const { clock, ends, evictor, work, add } = evictorOf({ maxLifetimeMillis: 8000 })
  work.cost = 0.25
  for (let count = 0; count < 32; count += 1) add().retireAt = clock.now() + 500
  evictor.start()
  await clock.advance(1000)
  assert.deepEqual(idsOf(ends), [1, 2, 3])
})

test('nothing is planned before the start', () => {
  const { evictor, add } = evictorOf({ idleTimeoutMillis: 1000 })
  add()
  evictor.plan()
  assert.equal(evictor.planned, null)
})

test('a connection that is lent while another one ends is not ended beside it', async () => {
  for (const [options, retireAt] of [
    [{ idleTimeoutMillis: 1000 }, undefined],
    [{ maxLifetimeMillis: 800 }, 800],
  ] as const) {
    const { clock, slots, ends, evictor, add, connector } = evictorOf(options)
    const discard = connector.discard.bind(connector)
    connector.discard = (slot, reason) => {
      discard(slot, reason)
      if (second.state === 'idle') slots.move(second, 'lent')
    }
    const all = Array.from({ length: 16 }, () => add())
    const [, second] = all as [unknown, ReturnType<typeof add>]
    for (const slot of all) if (retireAt !== undefined) slot.retireAt = slot.idleSince + retireAt
    evictor.start()
    await clock.advance(1050)
    assert.equal(idsOf(ends)[0], 1)
    assert.equal(idsOf(ends).includes(2), false)
  }
})

test('lifetimes are looked at an eighth of the time apart, but not closer than 25 ms nor rarer than every 30 s', async () => {
  for (const [maxLifetimeMillis, retireAfter, wanted] of [
    [80, 80, 100],
    [800_000, 40_000, 60_000],
    [8000, 2500, 3000],
  ] as const) {
    const { clock, ends, evictor, add } = evictorOf({ maxLifetimeMillis })
    const slot = add()
    slot.retireAt = clock.now() + retireAfter
    evictor.start()
    await clock.advance(100_000)
    assert.deepEqual(ends, [[wanted, 1, 'lifetime']])
  }
})

test('one that is given back after a run that found none idle is looked at again', async () => {
  const { clock, slots, evictor, add } = evictorOf({ maxLifetimeMillis: 8000 })
  const slot = add()
  evictor.start()
  slots.move(slot, 'lent')
  await clock.advance(1000)
  assert.equal(evictor.planned, null)
  slots.move(slot, 'idle')
  assert.notEqual(evictor.planned, null)
})

test('where nothing can ever be due, a connection that becomes idle costs no look at the clock', () => {
  const { slots, evictor, add, work } = evictorOf()
  const slot = add()
  evictor.start()
  const { readings } = work
  for (let loan = 0; loan < 10; loan += 1) {
    slots.move(slot, 'lent')
    slots.move(slot, 'idle')
  }
  assert.equal(work.readings, readings)
})

test('the server is not asked for its limit again and again while there is no connection', async () => {
  const { clock, factory, asked, evictor } = evictorOf({ evictionRunIntervalMillis: 5000 })
  factory.serverIdleTimeout = () => 1000
  evictor.start()
  await clock.advance(4000)
  assert.equal(asked.length, 0)
  assert.ok(clock.timersSet < 5, `${clock.timersSet} timers in 4 s`)
})
