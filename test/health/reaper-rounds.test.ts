import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { Connector } from '../../src/connecting/connector.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import { HANDLES } from '../../src/connections/handles.ts'
import type { Fault, Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { SocketReaper } from '../../src/health/socket-reaper.ts'
import { FakeClock } from '../support/clock.ts'

const ROUND = 1000
const PAUSE = 40
const GRACE = 500
const STUCK = 3000

interface Peer {
  readableEnded: boolean
  destroyed: boolean
  bytesRead: number
  bytesWritten: number
}

/** A reaper whose sockets are plain objects, and whose checks cost as much time as the test says. */
function reaperOf() {
  const clock = new FakeClock()
  const slots = new Slots<object>()
  const work: { busy: unknown; isSlow: boolean; stalled: number; costs: number; isFake: boolean } = {
    ...{ busy: false, isSlow: false, stalled: 0, costs: 0, isFake: false },
  }
  let spent = 0
  const timed = Object.assign(Object.create(clock), {
    now: () => clock.now() + spent,
    after: (millis: number, run: () => void) => clock.after(millis, run),
    isFake: () => work.isFake,
  })
  const seen = {
    concluded: [] as number[],
    checked: [] as number[],
    stuck: [] as string[],
    announced: [] as string[],
  }
  const dead = new Map<Slot<object>, Fault>()
  const liveness = {
    watched: 0,
    counts: { found: { lent: 0 } },
    inspect(slot: Slot<object>) {
      seen.checked.push(slot.id)
      spent += work.costs
      return dead.get(slot)
    },
    announceHalfClose: (_: unknown, state: string, detail: string) =>
      seen.announced.push(`${state}: ${detail}`),
  }
  const factory = {
    busy() {
      if (work.busy instanceof Error) throw work.busy
      return work.busy
    },
    [HANDLES]: { isSlow: () => work.isSlow },
  }
  const context = {
    ...{ clock: timed, slots, liveness, factory },
    options: { halfCloseGraceMillis: GRACE, stuckMillis: STUCK },
    stalls: { late: () => false, since: () => work.stalled },
    serverIdleTimeout: { conclude: (now: number) => seen.concluded.push(now - 1000) },
  }
  const discarded: [id: number, reason: string][] = []
  const connector = {
    discard(slot: Slot<object>, reason: 'broken') {
      discarded.push([slot.id, reason])
      slots.move(slot, 'closing')
    },
  } as unknown as Connector<object>
  const reaper = new SocketReaper(context as unknown as PoolContext<object>, connector)
  reaper.onStuck = (slot, detail) => {
    seen.stuck.push(detail)
    slots.move(slot, 'closing')
  }
  const add = (state: 'idle' | 'lent' = 'idle'): Slot<object> & { peer: Peer } => {
    const slot = slots.add(0, 0)
    const peer = { readableEnded: false, destroyed: false, bytesRead: 0, bytesWritten: 0 }
    const socket = {
      ...peer,
      destroy() {
        socket.destroyed = true
      },
      resetAndDestroy() {
        socket.destroyed = true
      },
    }
    slots.register(slot, socket)
    slots.move(slot, 'idle')
    if (state === 'lent') slots.move(slot, 'lent')
    slot.lentAt = clock.now()
    slot.socket = socket as unknown as Socket
    slot.watch = { socket } as unknown as NonNullable<typeof slot.watch>
    liveness.watched += 1
    return Object.assign(slot, { peer: socket })
  }
  const fault: Fault = { reason: 'half-closed', detail: 'gone' }
  return { clock, slots, work, seen, dead, liveness, reaper, discarded, add, fault }
}

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

describe('a lent connection that waits for an answer', () => {
  async function after(millis: number, prepare: (set: ReturnType<typeof reaperOf>) => void) {
    const set = reaperOf()
    const slot = set.add('lent')
    // Traffic is known from its first count on.
    slot.traffic.start(slot.socket as Socket)
    prepare(set)
    set.reaper.start()
    await set.clock.advance(millis)
    return set.seen.stuck
  }

  test('is ended once nothing has come for the time of the option, with what it waits for', async () => {
    assert.deepEqual(await after(STUCK - 1, ({ work }) => Object.assign(work, { busy: true })), [])
    assert.deepEqual(await after(STUCK, ({ work }) => Object.assign(work, { busy: true })), [
      'a command was in progress, and no data has arrived for 3000 ms',
    ])
    assert.deepEqual(await after(STUCK, ({ work }) => Object.assign(work, { busy: 'GET' })), [
      'GET was in progress, and no data has arrived for 3000 ms',
    ])
  })

  test('is not ended without work, or where that is not known', async () => {
    for (const busy of [false, undefined, '', 0, 1, {}, new Error('no')])
      assert.deepEqual(await after(2 * STUCK, ({ work }) => Object.assign(work, { busy })), [], String(busy))
  })

  test('is not ended for a stall, nor while the server has said that it is slow', async () => {
    assert.deepEqual(await after(STUCK, ({ work }) => Object.assign(work, { busy: true, stalled: 1 })), [])
    assert.deepEqual(
      await after(2 * STUCK, ({ work }) => Object.assign(work, { busy: true, isSlow: true })),
      [],
    )
  })

  test('is not ended if the question itself has ended its loan', async () => {
    const set = reaperOf()
    const slot = set.add('lent')
    slot.traffic.start(slot.socket as Socket)
    Object.defineProperty(set.work, 'busy', {
      get() {
        if (slot.state === 'lent') set.slots.move(slot, 'idle')
        return true
      },
    })
    set.reaper.start()
    await set.clock.advance(STUCK)
    assert.deepEqual(set.seen.stuck, [])
  })
})
