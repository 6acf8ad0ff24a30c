import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PAUSE, ROUND, reaperOf } from './scripted-reaper.ts'

describe('the rounds over all sockets', () => {
  test('begin within a second, come once a second, and see all', async () => {
    const { clock, reaper, seen, add } = reaperOf()
    for (let count = 0; count < 3; count += 1) add()
    reaper.start()
    await clock.advance(ROUND - 1)
    assert.deepEqual(seen.checked, [])
    await clock.advance(1)
    assert.deepEqual(seen.checked, [1, 2, 3])
    assert.deepEqual(seen.concluded, [ROUND], 'an episode of closes is evaluated once a round')
    await clock.advance(2 * ROUND)
    assert.equal(seen.checked.length, 9)
    assert.deepEqual(seen.concluded, [ROUND, 2 * ROUND, 3 * ROUND])
    reaper.start()
    assert.equal(clock.pending, 1)
  })

  test('rest while there is no socket, and after a close, and with fake timers', async () => {
    const { clock, reaper, liveness, work, add } = reaperOf()
    reaper.start()
    assert.equal(clock.pending, 0)
    add()
    work.isFake = true
    reaper.start()
    assert.equal(clock.pending, 0)
    work.isFake = false
    reaper.start()
    assert.equal(clock.pending, 1)
    liveness.watched = 0
    await clock.advance(ROUND)
    assert.equal(clock.pending, 0, 'the last one is gone')
    liveness.watched = 1
    reaper.start()
    work.isFake = true
    await clock.advance(ROUND)
    assert.equal(clock.pending, 0, 'the timers are fake now')
    work.isFake = false
    reaper.start()
    reaper.stop()
    assert.equal(clock.pending, 0)
    reaper.start()
    assert.equal(clock.pending, 0, 'it has stopped for good')
  })

  test('come at once when a connection was found dead, also behind a round that goes on', async () => {
    const { clock, reaper, seen, work, add } = reaperOf()
    for (let count = 0; count < 32; count += 1) add()
    reaper.start()
    reaper.runNow()
    await clock.advance(1)
    assert.equal(seen.checked.length, 32)
    work.costs = 0.1
    await clock.advance(ROUND)
    assert.equal(seen.checked.length, 48, 'half of the second round')
    reaper.runNow()
    await clock.advance(1)
    assert.equal(seen.checked.length, 64)
    await clock.advance(3 * PAUSE)
    assert.ok(seen.checked.length > 64, 'the next has begun')
  })

  test('stop after a moment of work, go on after a pause, and forget none', async () => {
    const { clock, reaper, seen, work, add } = reaperOf()
    for (let count = 0; count < 40; count += 1) add()
    work.costs = 0.1
    reaper.start()
    await clock.advance(ROUND)
    assert.equal(seen.checked.length, 16, 'the clock is read every sixteen sockets')
    await clock.advance(PAUSE - 3)
    assert.equal(seen.checked.length, 16)
    await clock.advance(6)
    assert.equal(seen.checked.length, 32)
    await clock.advance(PAUSE)
    assert.deepEqual(
      seen.checked,
      Array.from({ length: 40 }, (_, index) => index + 1),
    )
    assert.equal(seen.concluded.length, 1)
  })

  test('that follow a round in which one was found dead begin after a pause', async () => {
    const { clock, work, seen, reaper, add } = reaperOf()
    work.costs = 1
    for (let count = 0; count < 20; count += 1) add()
    reaper.start()
    await clock.advance(ROUND)
    assert.equal(seen.checked.length, 16)
    reaper.runNow()
    await clock.advance(1)
    assert.equal(seen.checked.length, 20)
    // The four checks have taken four milliseconds of the pause.
    await clock.advance(PAUSE - 5)
    assert.equal(seen.checked.length, 20)
    await clock.advance(1)
    assert.equal(seen.checked.length, 36)
  })

  test('read the clock after each connection that was ended: that takes longer', async () => {
    const { clock, reaper, seen, work, dead, discarded, add, fault } = reaperOf()
    for (let count = 0; count < 10; count += 1) dead.set(add(), fault)
    work.costs = 0.3
    reaper.start()
    await clock.advance(ROUND)
    assert.deepEqual(discarded, [
      [1, 'half-closed'],
      [2, 'half-closed'],
    ])
    assert.equal(seen.checked.length, 2)
  })

  test('leave alone what has no socket, and what is being checked or closed', async () => {
    const { clock, slots, reaper, seen, add } = reaperOf()
    const slot = slots.add(0, 0)
    slots.register(slot, {})
    slots.move(slot, 'idle')
    slots.move(add(), 'validating')
    slots.move(add(), 'closing')
    reaper.start()
    await clock.advance(ROUND)
    assert.deepEqual(seen.checked, [])
  })
})

describe('a lent connection that the server has half-closed', () => {
  test('is closed after the time of grace from when that was seen, and not before', async () => {
    const { clock, reaper, liveness, seen, add } = reaperOf()
    const slot = add('lent')
    slot.peer.readableEnded = true
    await clock.advance(60_000)
    slot.lentAt = clock.now()
    reaper.start()
    await clock.advance(ROUND)
    assert.equal(slot.endedAt, clock.now())
    assert.equal(slot.peer.destroyed, false)
    await clock.advance(ROUND)
    assert.equal(slot.endedAt, clock.now() - ROUND, 'the first time counts')
    assert.equal(slot.peer.destroyed, true)
    assert.equal(slot.fault?.reason, 'half-closed')
    assert.equal(liveness.counts.found.lent, 1)
    assert.deepEqual(seen.announced, ['lent: reset, as it was kept open after the server closed its side'])
    await clock.advance(ROUND)
    assert.equal(liveness.counts.found.lent, 1, 'once')
  })

  test('is left to its check while it is validated', async () => {
    const { clock, slots, reaper, add } = reaperOf()
    const slot = add()
    slots.move(slot, 'validating')
    slot.peer.readableEnded = true
    reaper.start()
    await clock.advance(4 * ROUND)
    assert.deepEqual([slot.peer.destroyed, slot.endedAt], [false, 0])
  })

  test('is closed when its time of grace is over to the millisecond', async () => {
    const { clock, context, reaper, add } = reaperOf()
    context.options.halfCloseGraceMillis = ROUND
    const { peer } = add('lent')
    peer.readableEnded = true
    reaper.start()
    await clock.advance(2 * ROUND - 1)
    assert.equal(peer.destroyed, false)
    await clock.advance(1)
    assert.equal(peer.destroyed, true)
  })

  test('keeps the fault that it had, and is not held against the server if its borrower did it', async () => {
    const { clock, reaper, liveness, add } = reaperOf()
    const slot = add('lent')
    slot.peer.readableEnded = true
    slot.fault = {
      reason: 'broken',
      detail: 'its socket was closed on this side, by its borrower or its client',
    }
    reaper.start()
    await clock.advance(2 * ROUND)
    assert.equal(slot.fault.reason, 'broken')
    assert.equal(slot.peer.destroyed, true)
    assert.equal(liveness.counts.found.lent, 0)
  })
})
