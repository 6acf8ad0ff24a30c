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
})
