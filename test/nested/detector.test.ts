/* What the deadlock detector of one pool answers, and when it looks, beside doubles of the other parts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SlotState } from '../../src/api/stats.ts'
import { createPool } from '../../src/index.ts'
import { DeadlockDetector } from '../../src/nested/deadlock-detector.ts'
import { searchOn } from '../../src/nested/deadlock-search.ts'
import type { Connection, Knot, Lease, NestingHost, PoolNode, UseFrame, Wait } from '../../src/nested/host.ts'
import { addFrame, allPools, leaseOfUse, nextNumber } from '../../src/nested/process-wide.ts'
import { FakeClock } from '../support/clock.ts'

const GRACE = 50
const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })
const NEVER = Number.NEGATIVE_INFINITY

type Mutable<E> = { -readonly [K in keyof E]: E[K] }

function detectorOf(budget?: { rivals?: PoolNode[] | undefined; sharers?: PoolNode[] }) {
  const clock = new FakeClock()
  const all: Mutable<Connection>[] = []
  const waits: Mutable<Wait>[] = []
  const counts: Record<SlotState, number> = {
    ...{ connecting: 0, idle: 0, validating: 0, lent: 0, resetting: 0, closing: 0, closed: 0 },
  }
  const slots = { all, counts, permitsInUse: 2 }
  const set = { traffic: NEVER, busy: false as unknown, stalled: 0, rejects: true, shows: true }
  const rejected: { wait: Wait; error: Error }[] = []
  const announced: Record<string, unknown>[] = []
  const totals = { deadlocks: 0 }
  const host = {
    ...{ clock, slots, totals },
    factory: { busy: () => set.busy },
    options: { name: 'one', max: 2, deadlockGraceMillis: GRACE },
    events: { announce: (_: string, details: Record<string, unknown>) => void announced.push(details) },
    sampler: {
      get shows() {
        return set.shows
      },
    },
    stalls: { knownSince: () => set.stalled },
    ...(budget === undefined ? {} : { rivals: () => budget.rivals, sharers: () => budget.sharers ?? [] }),
    stats: () => ({ ...double.stats(), name: 'one' }),
    waits: () => waits,
    waiting: () => waits.length,
    hasTrafficWithin: (_: unknown, now: number, millis: number) => now - set.traffic < millis,
    reject(wait: Wait, error: Error) {
      if (set.rejects) rejected.push({ wait, error })
      return set.rejects
    },
  }
  const detector = new DeadlockDetector(host as unknown as NestingHost<object>, { late: () => false })
  const lend = (frame?: object): Mutable<Connection> => {
    const connection = { state: 'lent', loan: 1, resource: {}, lent: {}, trace: undefined, isDoubtful: false }
    const lent = Object.assign(connection, { frame: undefined }) as unknown as Mutable<Connection>
    if (frame !== undefined) lent.frame = { connection: lent, loan: 1, ...frame } as never
    all.push(lent)
    counts.lent += 1
    return lent
  }
  const wait = (given: Partial<Wait> = {}): Mutable<Wait> => {
    const waiter = {
      ...{ since: clock.now(), hasEnded: false, deadline: clock.now() + 5000, detached: false },
      ...{ trace: undefined, awaiters: undefined, asked: 0 },
      ask() {
        waiter.asked += 1
      },
      ...given,
    }
    waits.push(waiter)
    return waiter
  }
  return { clock, host, slots, counts, set, rejected, announced, totals, waits, detector, lend, wait }
}

/** A pool of which only the names and leases matter. */
const poolNamed = (name: string, more: object = {}): PoolNode =>
  ({
    name,
    lent: 1,
    rivals: () => [],
    isStill: () => true,
    prioritise: () => {},
    ...more,
  }) as unknown as PoolNode

test('a pool stands still while nothing is under way and nobody has come or gone for the grace', () => {
  const { clock, counts, detector, set } = detectorOf()
  clock.compute(1000)
  assert.equal(detector.isStill(), true)
  for (const state of ['connecting', 'idle', 'validating', 'resetting', 'closing'] as const) {
    counts[state] = 1
    assert.equal(detector.isStill(), false, state)
    counts[state] = 0
  }
  const states = ['connecting', 'idle', 'validating', 'resetting', 'closing'] as const
  for (const [at, state] of states.slice(1).entries()) {
    for (const other of states.slice(0, at + 1)) {
      Object.assign(counts, { [state]: 1, [other]: 1 })
      assert.equal(detector.isStill(), false, `${other} and ${state}`)
      Object.assign(counts, { [state]: 0, [other]: 0 })
    }
  }
  counts.lent = 2
  assert.deepEqual([detector.isStill(), detector.lent, detector.name], [true, 2, 'one'])
  detector.lastSign = clock.now()
  clock.compute(GRACE - 1)
  assert.equal(detector.isStill(), false)
  clock.compute(1)
  assert.equal(detector.isStill(), true)
  set.stalled = 1
  assert.equal(detector.isStill(), false, 'nothing could move in a stall')
})

test('how long nothing has moved counts from the later of two times, in graces', () => {
  const { clock, detector } = detectorOf()
  detector.lastSign = clock.now()
  clock.compute(3 * GRACE)
  assert.deepEqual([detector.hasStood(3), detector.hasStood(4)], [true, false])
  assert.deepEqual(
    [detector.hasStood(2, clock.now() - 2 * GRACE), detector.hasStood(3, clock.now() - 2 * GRACE)],
    [true, false],
  )
  assert.equal(detector.hasStood(3, 0), true)
})

test('a pool can move while it is not still, or has a permit that its budget does not keep from it', () => {
  for (const [permits, rivals, wanted] of [
    [2, undefined, false],
    [3, undefined, false],
    [1, undefined, true],
    [1, [], false],
    [1, [poolNamed('still')], false],
    [1, [poolNamed('still'), poolNamed('moving', { isStill: () => false })], true],
    [2, [poolNamed('moving', { isStill: () => false })], false],
  ] as const) {
    const { clock, slots, detector } = detectorOf(rivals && { rivals: [...rivals] })
    clock.compute(1000)
    slots.permitsInUse = permits
    assert.equal(detector.canMove(), wanted, `${permits} permits, ${rivals?.map(({ name }) => name)}`)
    detector.lastSign = clock.now()
    assert.equal(detector.canMove(), true, 'it has just moved')
  }
})

test('a budget whose users are not known does not keep a pool from moving', () => {
  const { clock, slots, detector } = detectorOf({ rivals: undefined })
  clock.compute(1000)
  slots.permitsInUse = 1
  assert.equal(detector.canMove(), true)
})

test('the youngest of a knot is rejected, and the others are served first if it was still waiting', async () => {
  for (const rejects of [true, false]) {
    const { clock, detector, lend, wait, set, rejected, waits } = detectorOf()
    assert.ok(allPools().includes(detector))
    const number = nextNumber()
    const connection = lend()
    const frame = { number, connection, pool: detector, loan: 1, users: 1 } as unknown as UseFrame
    connection.frame = frame
    addFrame(frame)
    const chain = { leases: [number], frames: [] }
    const [first, victim] = [wait({ awaiters: { chain } as never }), wait({ awaiters: { chain } as never })]
    set.rejects = rejects
    detector.watch(clock.now())
    await clock.advance(60)
    if (rejects) {
      assert.deepEqual([rejected.length, rejected[0]?.wait === victim], [1, true])
      assert.equal(detector.prioritised(), first)
    } else assert.equal(detector.prioritised(), undefined)
    waits.splice(0)
    detector.stop()
    assert.equal(leaseOfUse(number)?.connection, connection)
  }
})

test('the rivals of a pool matter while somebody waits and it has permits of its own', () => {
  const [rival, sharer] = [poolNamed('rival'), poolNamed('sharer')]
  const { slots, detector, wait } = detectorOf({ rivals: [rival], sharers: [sharer] })
  assert.deepEqual(detector.sharers(), [sharer])
  slots.permitsInUse = 1
  assert.deepEqual(detector.rivals(), [], 'nobody waits')
  wait()
  assert.deepEqual(detector.rivals(), [rival])
  slots.permitsInUse = 2
  assert.deepEqual(detector.rivals(), [], 'it is full by itself')
  const unknown = detectorOf({ rivals: undefined })
  unknown.slots.permitsInUse = 1
  unknown.wait()
  assert.deepEqual(unknown.detector.rivals(), [])
  const alone = detectorOf()
  alone.slots.permitsInUse = 1
  alone.wait()
  assert.deepEqual([alone.detector.rivals(), alone.detector.sharers()], [[], []])
})

test('a lease is that of a use only while the function of that loan runs on it', () => {
  const { detector, lend } = detectorOf()
  const [plain, use, earlier, elsewhere, idle] = [
    lend(),
    lend({}),
    lend({ loan: 0 }),
    lend({ connection: {} }),
    lend(),
  ]
  idle.state = 'idle'
  const leases = detector.leases()
  assert.deepEqual(
    leases.map(({ connection, isPlain }) => [[plain, use, earlier, elsewhere].indexOf(connection), isPlain]),
    [
      [0, true],
      [1, false],
      [2, true],
      [3, true],
    ],
  )
  assert.ok(leases.every(({ pool, loan }) => pool === detector && loan === 1))
})

test('a connection is quiet without traffic for so many graces and without work under way', () => {
  const { clock, detector, lend, set } = detectorOf()
  const connection = lend()
  assert.equal(detector.isQuiet(connection, 1), true)
  set.traffic = clock.now()
  clock.compute(2 * GRACE - 1)
  assert.deepEqual([detector.isQuiet(connection, 1), detector.isQuiet(connection, 2)], [true, false])
  clock.compute(1)
  assert.equal(detector.isQuiet(connection, 2), true)
  set.busy = 'GET'
  assert.equal(detector.isQuiet(connection, 2), false)
})

test('who may be part of a knot: nobody detached, ended, about to expire, or younger than the grace', () => {
  const { clock, detector, wait } = detectorOf()
  const [due, detached] = [wait(), wait({ detached: true })]
  assert.deepEqual([detector.waits().length, detector.waits()[0] === due, detached.detached], [1, true, true])
  assert.deepEqual([detector.isBound(due), detector.isDue(due)], [true, false])
  clock.compute(GRACE)
  assert.equal(detector.isDue(due), true)
  due.deadline = clock.now() + GRACE
  assert.deepEqual([detector.isBound(due), detector.isDue(due)], [false, false])
  due.deadline += 1
  assert.equal(detector.isBound(due), true)
  due.hasEnded = true
  assert.equal(detector.isBound(due), false)
})

test('those of a broken knot who still wait are served first, in their order', () => {
  const { detector, wait } = detectorOf()
  assert.equal(detector.prioritised(), undefined)
  const [first, second, third] = [wait(), wait(), wait()]
  detector.prioritise([first, second, third])
  assert.equal(detector.prioritised(), first)
  first.hasEnded = true
  second.hasEnded = true
  assert.equal(detector.prioritised(), third)
  third.hasEnded = true
  assert.equal(detector.prioritised(), undefined)
})

test('a victim is told what it held and who is in the knot, and counts, if it still waits', () => {
  for (const [shows, rejects] of [
    [true, true],
    [false, true],
    [true, false],
  ] as const) {
    const { clock, detector, lend, wait, set, rejected, announced, totals } = detectorOf()
    set.shows = shows
    set.rejects = rejects
    const trace = { text: 'at the first acquire' } as never
    const held = lend()
    held.trace = trace
    const lease: Lease = { connection: held, pool: detector, loan: 1, isPlain: false }
    const victim = wait({ trace: { text: 'at the second acquire' } as never })
    const stranger = poolNamed('stranger')
    const other = poolNamed('two', { rivals: () => [stranger] })
    const knot: Knot = [
      { waiter: victim, pool: detector, blocks: [lease] },
      { waiter: wait(), pool: other, blocks: [] },
      { waiter: wait(), pool: detector, blocks: [] },
    ]
    clock.compute(200)
    assert.equal(detector.reject(victim, knot), rejects)
    assert.equal(totals.deadlocks, rejects ? 1 : 0)
    assert.equal(detector.lastSign, rejects ? clock.now() : NEVER)
    assert.deepEqual([rejected.length, announced.length], rejects ? [1, 1] : [0, 0])
    if (!rejects) continue
    const [{ pool, pools, heldStacks, waitStack, waitedMillis, error } = {}] = announced
    assert.deepEqual([pool, pools, waitedMillis], ['one', ['one', 'two', 'stranger'], 200])
    assert.deepEqual(
      [heldStacks, waitStack],
      shows ? [['at the first acquire'], 'at the second acquire'] : [[], ''],
    )
    assert.equal(rejected[0]?.error, error)
    assert.equal(rejected[0]?.wait, victim)
    assert.match(String(rejected[0]?.error), /its caller held 1 of pool 'one', and/)
  }
  const { detector, wait, announced, lend } = detectorOf()
  const asked = wait({ awaiters: { chain: { text: 'who awaits it' } } as never })
  detector.reject(asked, [
    {
      waiter: asked,
      pool: detector,
      blocks: [{ connection: lend(), pool: detector, loan: 1, isPlain: false }],
    },
  ])
  assert.deepEqual([announced[0]?.heldStacks, announced[0]?.waitStack], [[''], 'who awaits it'])
  const unknown = wait()
  detector.reject(unknown, [])
  assert.deepEqual([announced[1]?.heldStacks, announced[1]?.waitStack, announced[1]?.pools], [[], '', []])
})

test('it looks a grace after somebody had to wait, then every half a grace, and rests once nobody waits', async () => {
  const { clock, detector, wait, waits } = detectorOf()
  wait()
  detector.watch(clock.now())
  await clock.advance(10)
  detector.watch(clock.now())
  const looks = new Set<number>()
  const start = clock.now() - 10
  const canMove = detector.canMove.bind(detector)
  detector.canMove = () => {
    looks.add(clock.now() - start)
    return canMove()
  }
  await clock.advance(115)
  assert.deepEqual([...looks], [50, 75, 100, 125])
  detector.prioritise([...waits])
  waits.splice(0)
  await clock.advance(1000)
  assert.deepEqual([looks.size, clock.pending], [4, 0])
  wait()
  assert.equal(detector.prioritised(), undefined, 'nothing of the last knot is kept')
  detector.watch(clock.now())
  detector.stop()
  assert.equal(clock.pending, 0)
})

test('a pool that is closed, or has no waiter left, keeps no request for a search, which would keep it in memory', async () => {
  for (const end of ['stop', 'rest'] as const) {
    const { clock, detector, wait, waits } = detectorOf()
    const search = searchOn(clock)
    const requested = new Set<PoolNode>()
    const { request, withdraw } = search
    search.request = pool => {
      requested.add(pool)
      request.call(search, pool)
    }
    search.withdraw = pool => {
      requested.delete(pool)
      withdraw.call(search, pool)
    }
    detector.isStill = () => true
    detector.canMove = () => false
    wait()
    detector.watch(clock.now())
    await clock.advance(60)
    assert.ok(requested.has(detector))
    waits.splice(0)
    if (end === 'stop') detector.stop()
    else await clock.advance(60)
    assert.ok(!requested.has(detector), end)
  }
})
