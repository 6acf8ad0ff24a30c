import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ServerIdleTimeout } from '../../src/connections/server-idle-timeout.ts'

const learning = (option: number | 'auto' | 'none' = 'auto'): ServerIdleTimeout =>
  new ServerIdleTimeout(option, true)

/** The server closes connections of these idle ages at that time; the conclusion is drawn when the episode is over. */
function closes(limit: ServerIdleTimeout, now: number, ...ages: number[]): void {
  for (const age of ages) limit.closed(age, now)
  limit.conclude(now + 1000)
}

describe('the idle limit of a server', () => {
  test('is learned from two episodes that agree, and connections retire well before it', () => {
    const limit = learning()
    closes(limit, 100_000, 60_200, 60_400)
    assert.equal(limit.retireAfter, Number.POSITIVE_INFINITY, 'one episode proves nothing')
    closes(limit, 300_000, 60_900)
    assert.deepEqual(limit.stats, {
      limitMillis: 60_200,
      retireAfterMillis: 60_200 - 6020,
      source: 'learned',
      closesSeen: 3,
    })
  })

  test('is not taken from a restart, which closes connections of any age', () => {
    const limit = learning()
    for (const now of [100_000, 200_000, 300_000]) closes(limit, now, 2000, 30_000, 60_000)
    assert.equal(limit.stats.source, 'unknown')
  })

  test('is not taken from two restarts that happen to find connections of the same age, if connecting failed', () => {
    const limit = learning()
    for (const now of [100_000, 200_000]) {
      limit.closed(30_000, now)
      limit.refused(now + 20)
      limit.conclude(now + 2000)
    }
    assert.equal(limit.stats.source, 'unknown')
  })

  test('is not taken from single connections that an operator kills', () => {
    const limit = learning()
    for (const [now, age] of [
      [1e5, 3000],
      [2e5, 45_000],
      [3e5, 20_000],
      [4e5, 9000],
    ] as const) {
      closes(limit, now, age)
    }
    assert.equal(limit.stats.source, 'unknown')
  })

  test('is not what a server means that hangs up after its reply', () => {
    const limit = learning()
    for (const now of [1e5, 2e5, 3e5]) closes(limit, now, 2, 5)
    assert.equal(limit.stats.source, 'unknown')
    assert.equal(limit.stats.closesSeen, 6)
  })

  test('gets shorter when the server closes sooner, and is doubted when nothing confirms it for long', () => {
    const limit = learning()
    closes(limit, 100_000, 60_000)
    closes(limit, 300_000, 60_500)
    closes(limit, 400_000, 30_000)
    closes(limit, 500_000, 30_200)
    assert.equal(limit.stats.limitMillis, 30_000)
    assert.equal(limit.isDoubted(600_000), false)
    assert.equal(limit.isDoubted(500_000 + 1_600_000), true)
    closes(limit, 2_200_000, 30_100)
    assert.equal(limit.isDoubted(2_300_000), false, 'the test has confirmed it')
    limit.survived(40_000)
    assert.equal(limit.stats.source, 'learned')
    limit.survived(46_000)
    assert.equal(limit.stats.source, 'unknown', 'a connection has outlived it by half')
  })

  test('that was asked leaves a margin of a second or a tenth, and never more than half', () => {
    const limit = learning()
    for (const [asked, retire] of [
      [1000, 500],
      [2000, 1000],
      [5000, 4000],
      [300_000, 270_000],
    ] as const) {
      limit.answered(asked)
      assert.equal(limit.retireAfter, retire)
      assert.equal(limit.stats.source, 'asked')
    }
    limit.answered(0)
    assert.equal(limit.retireAfter, Number.POSITIVE_INFINITY)
    limit.answered(undefined)
    assert.equal(limit.stats.source, 'unknown')
  })

  test("that was given gives way to a proxy's shorter one, but 'none' is final", () => {
    const given = learning(300_000)
    assert.equal(given.retireAfter, 270_000)
    closes(given, 1e5, 60_000)
    closes(given, 3e5, 60_000)
    assert.equal(given.stats.source, 'learned')
    const none = learning('none')
    closes(none, 1e5, 60_000)
    closes(none, 3e5, 60_000)
    assert.equal(none.stats.source, 'unknown')
  })

  test('is not learned where nobody looks for dead connections, whatever closes', () => {
    const off = new ServerIdleTimeout('auto', false)
    for (const now of [1e5, 3e5, 5e5]) closes(off, now, 60_000)
    assert.deepEqual(off.stats, {
      limitMillis: undefined,
      retireAfterMillis: undefined,
      source: 'unknown',
      closesSeen: 0,
    })
  })

  test('is learned from ages that differ by up to 1.5 s, or by a twentieth, and from no others', () => {
    for (const [first, second, learned] of [
      [20_000, 21_500, 20_000],
      [20_000, 21_501, undefined],
      [21_500, 20_000, 20_000],
      [100_000, 95_000, 95_000],
      [100_000, 94_999, undefined],
    ] as const) {
      const apart = learning()
      closes(apart, 1e5, first)
      closes(apart, 3e5, second)
      assert.equal(apart.stats.limitMillis, learned, `${first}, then ${second}`)
      const together = learning()
      for (const now of [1e5, 3e5]) closes(together, now, first, second)
      assert.equal(together.stats.limitMillis, learned, `${first} and ${second} at once`)
    }
  })

  test('is not learned from one wave that takes a while, and what comes a second later is another', () => {
    const limit = learning()
    limit.closed(60_000, 100_000)
    limit.closed(60_100, 100_999)
    limit.closed(60_200, 101_998)
    limit.conclude(102_997)
    assert.equal(limit.stats.source, 'unknown', 'one episode')
    limit.closed(60_300, 102_998)
    limit.conclude(103_998)
    assert.equal(limit.stats.limitMillis, 60_000, 'the second')
  })

  test('is not learned from closes up to a second after connecting has failed, but from later ones', () => {
    for (const [refusedAt, source] of [
      [99_000, 'unknown'],
      [98_999, 'learned'],
    ] as const) {
      const limit = learning()
      closes(limit, 50_000, 60_000)
      limit.refused(refusedAt)
      closes(limit, 100_000, 60_000)
      assert.equal(limit.stats.source, source)
    }
  })

  test('of one second counts, and nothing shorter', () => {
    for (const [age, source] of [
      [1000, 'learned'],
      [999, 'unknown'],
    ] as const) {
      const limit = learning()
      for (const now of [1e5, 3e5]) closes(limit, now, age)
      assert.equal(limit.stats.source, source)
    }
  })

  test('is doubted after fifty times its length, at least ten minutes, unless it was given or asked as short', () => {
    const limit = learning()
    closes(limit, 1e5, 2000)
    closes(limit, 3e5, 2000)
    assert.equal(limit.retireAfter, 1000, 'half of it, as two seconds of margin would be all')
    const confirmed = 3e5 + 1000
    assert.deepEqual(
      [600_000, 600_001].map(later => limit.isDoubted(confirmed + later)),
      [false, true],
    )
    limit.answered(2000)
    assert.equal(limit.isDoubted(confirmed + 1e9), false)
    const long = learning()
    closes(long, 1e5, 60_000)
    closes(long, 3e5, 60_000)
    assert.deepEqual(
      [3_000_000, 3_000_001].map(later => long.isDoubted(confirmed + later)),
      [false, true],
    )
    assert.equal(learning().isDoubted(1e12), false, 'nothing is known')
  })

  test('that was learned is confirmed by the same again, whatever another episode has said between', () => {
    const limit = learning()
    for (const now of [1e5, 3e5]) closes(limit, now, 60_000)
    closes(limit, 5e5, 30_000)
    closes(limit, 3e6, 60_000)
    assert.equal(limit.stats.limitMillis, 60_000)
    const confirmed = 3e6 + 1000
    assert.deepEqual(
      [3_000_000, 3_000_001].map(later => limit.isDoubted(confirmed + later)),
      [false, true],
    )
  })

  test('is not learned from one wave because somebody asks in the middle of it', () => {
    const limit = learning()
    for (const now of [0, 900, 1800]) {
      limit.closed(60_000, 1e5 + now)
      limit.conclude(1e5 + now + 100)
    }
    limit.conclude(1e5 + 2800)
    assert.equal(limit.stats.source, 'unknown')
    closes(limit, 3e5, 60_000)
    assert.equal(limit.stats.source, 'learned')
  })

  test('that is no number says nothing', () => {
    const limit = learning()
    limit.answered('3000' as never)
    assert.equal(limit.stats.source, 'unknown')
  })

  test('is outlived by a connection that lives for half as long again, and what was learned is learned anew', () => {
    const limit = learning()
    closes(limit, 1e5, 60_000)
    closes(limit, 3e5, 60_000)
    limit.survived(89_999)
    assert.equal(limit.stats.source, 'learned')
    limit.survived(90_000)
    assert.equal(limit.stats.source, 'unknown')
    assert.equal(limit.retireAfter, Number.POSITIVE_INFINITY)
    closes(limit, 5e5, 60_000)
    assert.equal(limit.stats.source, 'unknown', 'one episode proves nothing')
    closes(limit, 7e5, 60_000)
    assert.equal(limit.stats.source, 'learned')
  })

  test('changes what waits for it exactly when it changes, and the rounds come four times within the margin', () => {
    const limit = learning(10_000)
    let changes = 0
    limit.onChange = () => {
      changes += 1
    }
    assert.deepEqual([limit.retireAfter, limit.period], [9000, 250])
    limit.answered(20_000)
    assert.equal(changes, 0, 'the given one is shorter')
    limit.answered(5000)
    assert.deepEqual([changes, limit.retireAfter, limit.period], [1, 4000, 250])
    assert.equal(limit.stats.source, 'asked')
    limit.answered(5000)
    assert.equal(changes, 1)
    limit.answered(Number.POSITIVE_INFINITY)
    assert.deepEqual([changes, limit.retireAfter], [2, 9000])
    assert.equal(limit.stats.source, 'given')
    assert.equal(learning().period, Number.POSITIVE_INFINITY)
  })
})
