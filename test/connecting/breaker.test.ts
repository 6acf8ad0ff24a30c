import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { SlotState } from '../../src/api/stats.ts'
import { Breaker } from '../../src/connecting/breaker.ts'
import type { ConnectFailure } from '../../src/connecting/connect-failure.ts'
import { Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { FakeClock } from '../support/clock.ts'

const UNHEALTHY = 2000

/** A breaker whose time and chance are numbers of the test. */
function breakerOf(unhealthyAfterMillis = UNHEALTHY) {
  const time = { now: 0 }
  const clock = Object.assign(new FakeClock(), { now: () => time.now })
  const slots = new Slots<object>()
  const told: [state: string, failures: number, error: unknown][] = []
  const host = { random: 0, awaitedBefore: Number.NEGATIVE_INFINITY }
  const breaker = new Breaker<object>({
    ...{ clock, slots, options: { unhealthyAfterMillis }, random: () => host.random },
    isAwaitedSince: since => host.awaitedBefore < since,
    listener: (...said) => void told.push(said),
  })
  host.awaitedBefore = Number.POSITIVE_INFINITY
  const slotOf = (
    startedAt: number,
    createdAt: number,
    state: SlotState = 'idle',
    loan = 0,
  ): Slot<object> => {
    const slot = slots.add(0, startedAt)
    return Object.assign(slot, { createdAt, state, loan })
  }
  return { breaker, time, slots, told, host, slotOf }
}

const failure = (kind: ConnectFailure['kind'], error: unknown = kind): ConnectFailure => ({ error, kind })

/** Fails each time as soon as it may. @returns the pauses */
function pausesOf(kind: ConnectFailure['kind'], times: number, random: number, unhealthy = 1e9): number[] {
  const { breaker, host } = breakerOf(unhealthy)
  host.random = random
  let now = 1000
  return Array.from({ length: times }, () => {
    breaker.failed(failure(kind), now, now)
    const pause = breaker.retryAt - now
    now = breaker.retryAt
    return Math.round(pause)
  })
}

describe('the pause after a failed connect', () => {
  test('is fifty milliseconds while nobody accepts, and does not grow while callers wait', () => {
    assert.deepEqual(pausesOf('unreachable', 4, 0), [50, 50, 50, 50])
    assert.deepEqual(pausesOf('unreachable', 2, 1), [55, 55])
  })

  test('doubles up to 0.8 s where the server accepts and closes, because each try costs it work', () => {
    assert.deepEqual(pausesOf('turned-away', 7, 1), [50, 100, 200, 400, 800, 800, 800])
    assert.deepEqual(pausesOf('turned-away', 3, 0), [25, 50, 100])
  })

  test('is long from the start where a try would lock an account', () => {
    assert.deepEqual(pausesOf('permanent', 6, 0), [1000, 5000, 10_000, 15_000, 15_000, 15_000])
    assert.deepEqual(pausesOf('permanent', 2, 1), [1100, 5500])
  })

  test('doubles up to a second once the breaker is open and nobody has waited since before', () => {
    assert.deepEqual(pausesOf('unreachable', 7, 1, 0), [50, 100, 200, 400, 800, 1000, 1000])
  })

  test('starts again at its least when the failures become of another kind', () => {
    const { breaker, host } = breakerOf(1e9)
    host.random = 1
    for (const now of [1000, 2000, 3000]) breaker.failed(failure('turned-away'), now, now)
    assert.equal(breaker.retryAt, 3200)
    breaker.failed(failure('unreachable'), 4000, 4000)
    assert.equal(breaker.retryAt, 4055)
    breaker.failed(failure('turned-away'), 5000, 5000)
    assert.equal(breaker.retryAt, 5050)
  })

  test('stays short for those who have waited since before the breaker opened, for as long again', () => {
    const { breaker, host } = breakerOf()
    host.random = 1
    host.awaitedBefore = 0
    breaker.failed(failure('unreachable'), 1000, 1000)
    breaker.failed(failure('unreachable'), 3000, 3000)
    assert.ok(breaker.isOpen)
    assert.equal(breaker.retryAt, 3055)
    for (let now = 3500; now <= 4500; now += 500) {
      breaker.failed(failure('unreachable'), now, now)
      assert.equal(breaker.retryAt, now + 55)
    }
    breaker.failed(failure('unreachable'), 4999, 4999)
    assert.equal(breaker.retryAt, 5054)
    for (const [now, pause] of [
      [5500, 50],
      [6000, 100],
    ] as const) {
      breaker.failed(failure('unreachable'), now, now)
      assert.equal(breaker.retryAt, now + pause, 'twice the time is over')
    }
  })

  test('is short for the last time a millisecond before twice the time of the option', () => {
    for (const [now, pause] of [
      [4999, 55],
      [5000, 50],
    ] as const) {
      const { breaker, host } = breakerOf()
      Object.assign(host, { random: 1, awaitedBefore: 0 })
      for (const at of [1000, 3000, now]) breaker.failed(failure('unreachable'), at, at)
      assert.equal(breaker.retryAt, now + pause)
    }
  })

  test('does not stay short where nobody waits, where the server turns away, or is over', () => {
    for (const [kind, awaitedBefore] of [
      ['unreachable', 3000],
      ['turned-away', 0],
    ] as const) {
      const { breaker, host } = breakerOf()
      Object.assign(host, { random: 1, awaitedBefore })
      breaker.failed(failure(kind), 1000, 1000)
      breaker.failed(failure(kind), 3000, 3000)
      breaker.failed(failure(kind), 3500, 3500)
      assert.equal(breaker.retryAt, 3600, kind)
    }
  })

  test('is counted once for connects that began together', () => {
    const { breaker, host } = breakerOf(1e9)
    host.random = 1
    breaker.failed(failure('turned-away'), 1000, 1010)
    assert.equal(breaker.retryAt, 1060)
    breaker.failed(failure('turned-away'), 1000, 1020)
    breaker.failed(failure('turned-away'), 1010, 1030)
    assert.equal(breaker.retryAt, 1060, 'they began before the pause')
    assert.equal(breaker.failures, 3)
    breaker.failed(failure('turned-away'), 1011, 1100)
    assert.equal(breaker.retryAt, 1200)
  })
})

describe('the breaker', () => {
  test('opens when the server has been away for the time of the option, and not before', () => {
    const { breaker, told } = breakerOf()
    assert.equal(breaker.failed(failure('unreachable', 'first'), 1000, 1100), false)
    assert.equal(breaker.failed(failure('unreachable', 'second'), 2000, 2999), false)
    assert.equal(breaker.isOpen, false)
    assert.equal(breaker.failed(failure('unreachable', 'third'), 2999, 3000), false, 'it was no probe')
    assert.deepEqual([breaker.isOpen, breaker.openings], [true, 1])
    assert.equal(breaker.failed(failure('unreachable', 'fourth'), 3100, 3200), true)
    assert.deepEqual([breaker.failures, breaker.lastError, breaker.openings], [4, 'fourth', 1])
    breaker.connected()
    assert.deepEqual(told, [
      ['open', 3, 'third'],
      ['closed', 4, 'fourth'],
    ])
    assert.deepEqual(
      [breaker.isOpen, breaker.failures, breaker.lastError, breaker.retryAt],
      [false, 0, undefined, 0],
    )
    assert.equal(breaker.openings, 1)
    breaker.connected()
    assert.equal(told.length, 2)
  })

  test('opens at once where trying again does not help, and keeps what to do until a connect succeeds', () => {
    const { breaker } = breakerOf()
    breaker.failed({ ...failure('permanent'), advice: 'correct the password' }, 1000, 1001)
    assert.deepEqual([breaker.isOpen, breaker.permanentAdvice], [true, 'correct the password'])
    breaker.failed(failure('unreachable'), 3000, 3000)
    assert.equal(breaker.permanentAdvice, undefined, 'of the last error')
    breaker.failed({ ...failure('permanent'), advice: 'correct the password' }, 5000, 5001)
    breaker.connected()
    assert.equal(breaker.permanentAdvice, undefined)
  })

  test('takes a failure long after the last one for a new outage, and one soon after it for the same', () => {
    for (const [startedAt, isOpen] of [
      [3100, true],
      [3101, false],
    ] as const) {
      const { breaker } = breakerOf()
      breaker.failed(failure('unreachable'), 1000, 1100)
      breaker.failed(failure('unreachable'), startedAt, startedAt)
      assert.equal(breaker.isOpen, isOpen, `${startedAt}`)
    }
    const quick = breakerOf(10).breaker
    quick.failed(failure('unreachable'), 1000, 1001)
    quick.failed(failure('unreachable'), 2001, 2001)
    assert.equal(quick.isOpen, true, 'a second at least')
    const slow = breakerOf(10).breaker
    slow.failed(failure('unreachable'), 1000, 1001)
    slow.failed(failure('unreachable'), 2002, 2002)
    assert.equal(slow.isOpen, false)
  })

  test('opens without a failure while a probe hangs or a try is overdue, but not while it only pauses', () => {
    const { breaker } = breakerOf()
    breaker.openIfOverdue(1e6, true)
    assert.equal(breaker.isOpen, false, 'nothing has failed')
    breaker.failed(failure('unreachable'), 1000, 1000)
    breaker.openIfOverdue(2999, true)
    assert.equal(breaker.isOpen, false)
    breaker.openIfOverdue(3000, false)
    assert.equal(breaker.isOpen, false, 'nobody tries: it is not known')
    breaker.openIfOverdue(3000, true)
    assert.equal(breaker.isOpen, true)
    breaker.openIfOverdue(3001, true)
    assert.equal(breaker.openings, 1)
    const pausing = breakerOf(10).breaker
    pausing.failed(failure('unreachable'), 1000, 1000)
    pausing.openIfOverdue(1049, false)
    assert.equal(pausing.isOpen, true, 'it pauses and has been away for longer')
    const due = breakerOf(10).breaker
    due.failed(failure('unreachable'), 1000, 1000)
    due.openIfOverdue(1050, false)
    assert.equal(due.isOpen, false, 'the next try is due')
  })
})

describe('after a connection that died at once', () => {
  const died = failure('turned-away', 'died')

  test('the server was there until then: it has been away since now, not since the connect began', () => {
    const { breaker, slotOf } = breakerOf()
    breaker.diedEarly(died, slotOf(1000, 1010), 2900)
    breaker.failed(failure('unreachable'), 3000, 4899)
    assert.equal(breaker.isOpen, false)
    breaker.failed(failure('unreachable'), 4899, 4900)
    assert.equal(breaker.isOpen, true)
  })

  test('a successful connect proves nothing, an answer does', () => {
    const { breaker, slotOf } = breakerOf()
    assert.equal(breaker.diedEarly(died, slotOf(1000, 1010), 1020), false)
    assert.deepEqual([breaker.unproven, breaker.failures], [true, 1])
    const next = slotOf(1100, 1110)
    breaker.connected()
    assert.equal(breaker.failures, 1)
    const socket = { bytesRead: 0, bytesWritten: 0 }
    next.socket = socket as unknown as Socket
    next.traffic.start(next.socket)
    breaker.provedUseful(next)
    assert.equal(breaker.unproven, true, 'nothing was asked')
    Object.assign(socket, { bytesRead: 1, bytesWritten: 1 })
    breaker.provedUseful(next)
    assert.deepEqual([breaker.unproven, breaker.failures], [false, 0])
  })

  test('a loan proves it where answers cannot be observed, and only that of a connection made since', () => {
    const { breaker, slotOf } = breakerOf()
    breaker.diedEarly(died, slotOf(1000, 1010), 1020)
    breaker.provedUseful(slotOf(1019, 1021))
    assert.equal(breaker.unproven, true, 'it was made before')
    breaker.provedUseful(slotOf(1020, 1021))
    assert.equal(breaker.unproven, false)
  })

  test('a connect that began before another one failed proves the server, unless connections die young', () => {
    const { breaker } = breakerOf()
    breaker.failed(failure('unreachable'), 1000, 1000)
    breaker.connected()
    assert.equal(breaker.failures, 0)
  })

  test('a success has the pauses begin anew', () => {
    const { breaker } = breakerOf(1e9)
    const pause = (now: number): number => {
      breaker.failed(failure('turned-away'), now, now)
      return breaker.retryAt - now
    }
    assert.deepEqual([pause(1000), pause(2000), pause(3000)], [25, 50, 100])
    breaker.connected()
    assert.equal(pause(5000), 25)
  })

  test('one that was begun as the pause began is on trial', () => {
    const { breaker, slotOf, time } = breakerOf()
    breaker.diedEarly(died, slotOf(1000, 1010, 'closing'), 1020)
    slotOf(1020, 1030)
    time.now = 1040
    assert.equal(breaker.trials.count, 1)
  })

  test('a loan that ends well says nothing of a server that cannot be reached', () => {
    const { breaker, slotOf, told } = breakerOf()
    breaker.failed(failure('unreachable'), 1000, 1000)
    breaker.provedUseful(slotOf(1000, 1010))
    assert.deepEqual([breaker.failures, told], [1, []])
  })

  test('a second of life proves it, idle or lent, without an answer, and again not from before', () => {
    for (const [startedAt, state, age, isProof] of [
      [1020, 'idle', 1000, true],
      [1020, 'lent', 1000, true],
      [1020, 'idle', 999, false],
      [1019, 'idle', 5000, false],
      [1020, 'validating', 5000, false],
      [1020, 'closing', 5000, false],
    ] as const) {
      const { breaker, slotOf, time } = breakerOf()
      breaker.diedEarly(died, slotOf(1000, 1010, 'closing'), 1020)
      slotOf(startedAt, 1100, state)
      time.now = 1100 + age
      breaker.checkSurvivors()
      assert.equal(breaker.unproven, !isProof, `${startedAt} ${state} ${age}`)
    }
    const among = breakerOf()
    among.breaker.diedEarly(died, among.slotOf(1000, 1010, 'closing'), 1020)
    among.slotOf(1000, 1010)
    among.slotOf(1020, 1100)
    among.time.now = 2100
    among.breaker.checkSurvivors()
    assert.equal(among.breaker.unproven, false, 'behind one from before that has lived, too')
    const { breaker, slotOf, time, told } = breakerOf()
    slotOf(1000, 1010)
    time.now = 9000
    breaker.checkSurvivors()
    assert.deepEqual(told, [], 'nothing is to be proved')
    breaker.failed(failure('unreachable'), 9000, 9000)
    slotOf(9000, 9001)
    time.now = 11_000
    breaker.checkSurvivors()
    assert.equal(breaker.failures, 1, 'an old connection says nothing of a server that is away now')
  })

  test('a silent connection that has lived for a second is proof when its loan ends', () => {
    const { breaker, slotOf, time } = breakerOf()
    breaker.diedEarly(died, slotOf(1000, 1010), 1020)
    const next = slotOf(1100, 1110)
    next.socket = { bytesRead: 0, bytesWritten: 0 } as unknown as Socket
    next.traffic.start(next.socket)
    time.now = 2109
    breaker.provedUseful(next)
    assert.equal(breaker.unproven, true)
    time.now = 2110
    breaker.provedUseful(next)
    assert.equal(breaker.unproven, false)
  })

  test('those on trial are the young ones made since, without a second loan, and the oldest is through first', () => {
    const { breaker, slotOf, time } = breakerOf()
    breaker.diedEarly(died, slotOf(1000, 1010, 'closing'), 1020)
    assert.deepEqual(breaker.trials, { count: 0, until: Number.POSITIVE_INFINITY })
    slotOf(1019, 1100)
    slotOf(1100, 0, 'connecting')
    slotOf(1100, 1110, 'closing')
    slotOf(1100, 1110, 'lent', 2)
    assert.equal(breaker.trials.count, 0)
    slotOf(1100, 1130, 'lent', 1)
    slotOf(1100, 1110)
    slotOf(1100, 1120)
    time.now = 2109
    assert.deepEqual(breaker.trials, { count: 3, until: 2110 })
    time.now = 2110
    assert.deepEqual(breaker.trials, { count: 2, until: 2120 })
  })

  test('new connections are watched for twice as long as it lived, from 5 to 50 ms', () => {
    for (const [age, watched] of [
      [1, 5],
      [2, 5],
      [10, 20],
      [25, 50],
      [400, 50],
    ] as const) {
      const { breaker, slotOf } = breakerOf()
      breaker.diedEarly(died, slotOf(1000, 1010), 1010 + age)
      const next = slotOf(2000, 2004)
      next.traffic.made = { read: 0, written: 0 }
      assert.equal(breaker.watchMillis(next, false), watched, `${age}`)
      next.traffic.made = { read: 1, written: 0 }
      assert.equal(breaker.watchMillis(next, false), 0, 'it has spoken')
      next.traffic.made = undefined
      assert.equal(breaker.watchMillis(next, false), 0, 'it cannot be seen')
    }
  })
})

test('without early deaths a connection is watched beside others only, for twice the time of its connect, 2 to 50 ms', () => {
  const { breaker } = breakerOf()
  for (const [took, watched] of [
    [0, 2],
    [1, 2],
    [10, 20],
    [30, 50],
  ] as const) {
    const slot = Object.assign(new Slot<object>(1, 0, 1000), { createdAt: 1000 + took })
    slot.traffic.made = { read: 0, written: 7 }
    assert.equal(breaker.watchMillis(slot, true), watched)
    assert.equal(breaker.watchMillis(slot, false), 0)
  }
})
