import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ResolvedOptions } from '../../src/api/options/resolve-options.ts'
import { expired, mustValidate, retireBeforeExpiry, retireTime } from '../../src/connections/lifetime.ts'
import { Slot } from '../../src/connections/slot.ts'
import { Suspicion } from '../../src/connections/suspicion.ts'

const NEVER = Number.POSITIVE_INFINITY
const stalled = (millis: number) => ({ since: () => millis })
const options = (given: Partial<ResolvedOptions>): ResolvedOptions =>
  ({ testOnBorrow: false, validateAfterIdleMillis: 1000, ...given }) as ResolvedOptions

function idleSlot(idleSince = 0, provenAt = 0): Slot<object> {
  return Object.assign(new Slot<object>(1, 3, 0), { idleSince, provenAt })
}

describe('a connection that is about to be lent', () => {
  test('is not lent with a fault, of an old generation, or past its lifetime, its uses or the idle limit', () => {
    const slot = idleSlot()
    const why = (now: number, retireAfter = NEVER, maxUses = NEVER): string | undefined =>
      expired(slot, now, 3, retireAfter, maxUses)
    assert.equal(why(1e9), undefined)
    assert.equal(expired(slot, 0, 4, NEVER, NEVER), 'generation')
    slot.retireAt = 500
    assert.deepEqual([why(499), why(500)], [undefined, 'lifetime'])
    slot.retireAt = NEVER
    slot.loan = 7
    assert.deepEqual([why(0, NEVER, 8), why(0, NEVER, 7)], [undefined, 'uses'])
    slot.traffic.quietSince = 100
    assert.deepEqual([why(599, 500), why(600, 500)], [undefined, 'server-timeout'])
    slot.fault = { reason: 'broken', detail: undefined }
    assert.equal(why(0), 'broken')
  })

  test('is validated once it has been idle for the time of the option, and not a millisecond before', () => {
    const must = (now: number, slot: Slot<object>, stall = 0, given = {}): boolean =>
      mustValidate(slot, now, options(given), stalled(stall))
    assert.deepEqual([must(999, idleSlot()), must(1000, idleSlot())], [false, true])
    assert.deepEqual([must(1499, idleSlot(500)), must(1500, idleSlot(500))], [false, true])
    assert.deepEqual(
      [must(1499, idleSlot(0, 500)), must(1500, idleSlot(0, 500))],
      [false, true],
      'it has answered',
    )
    assert.equal(must(0, idleSlot(), 0, { testOnBorrow: true }), true)
    assert.equal(must(1e9, idleSlot(), 0, { validateAfterIdleMillis: NEVER }), false)
  })

  test('does not age in a stall, but in ten seconds of it: the machine may have slept', () => {
    const must = (now: number, stall: number): boolean =>
      mustValidate(idleSlot(), now, options({}), stalled(stall))
    assert.deepEqual([must(1400, 401), must(1400, 400)], [false, true])
    const later = (stall: number): boolean => mustValidate(idleSlot(5000), 6400, options({}), stalled(stall))
    assert.deepEqual([later(401), later(400)], [false, true])
    assert.deepEqual([must(10_999, 60_000), must(11_000, 60_000)], [false, true])
  })

  test('is checked if it was idle when another died, until a look or an answer has proved it', () => {
    const suspicion = new Suspicion()
    assert.equal(suspicion.closedAt, Number.NEGATIVE_INFINITY)
    assert.equal(suspicion.since(idleSlot(0)), undefined)
    assert.equal(suspicion.raise('closed', 1000), true)
    assert.equal(suspicion.closedAt, 1000)
    assert.equal(suspicion.since(idleSlot(999)), 1000)
    assert.equal(suspicion.since(idleSlot(1000)), undefined, 'it became idle after that')
    assert.equal(suspicion.since(Object.assign(idleSlot(0), { lookedAt: 999 })), 1000)
    assert.equal(suspicion.since(Object.assign(idleSlot(0), { lookedAt: 1000 })), undefined)
    assert.equal(suspicion.since(idleSlot(0, 1000)), undefined)
    assert.equal(suspicion.wantsAnswer(idleSlot(0)), false, 'a close leaves its trace in the kernel')
  })

  test('has to answer if it was idle when another fell silent: a look into the kernel proves nothing', () => {
    const suspicion = new Suspicion()
    assert.equal(suspicion.raise('silent', 1000), true)
    assert.equal(suspicion.since(idleSlot(0)), undefined)
    const looked = Object.assign(idleSlot(0), { lookedAt: 2000 })
    assert.deepEqual(
      [looked, idleSlot(999), idleSlot(1000), idleSlot(0, 999), idleSlot(0, 1000)].map(slot =>
        suspicion.wantsAnswer(slot),
      ),
      [true, true, false, true, false],
    )
  })
})

test('those that die within a second are one wave, and each kind has its own', () => {
  const suspicion = new Suspicion()
  assert.equal(suspicion.raise('closed', 1000), true)
  assert.equal(suspicion.raise('closed', 1999), false)
  assert.equal(suspicion.closedAt, 1000)
  assert.equal(suspicion.raise('silent', 1999), true)
  assert.equal(suspicion.raise('silent', 2998), false)
  assert.equal(suspicion.raise('closed', 2000), true)
  assert.equal(suspicion.closedAt, 2000)
})

test('connections made together retire one after the other, within the jitter and never after their lifetime', () => {
  const given = options({ maxLifetimeMillis: 10_000, lifetimeJitter: 0.2 })
  assert.deepEqual(
    [0, 0.5, 1].map(chance => retireTime(500, given, () => chance)),
    [10_500, 9500, 8500],
  )
  assert.equal(
    retireTime(500, options({ maxLifetimeMillis: NEVER, lifetimeJitter: 0.2 }), () => 0.5),
    NEVER,
  )
})

test('a connection that expires retires a tenth before that, at most a minute, and up to as much earlier again', () => {
  assert.deepEqual(
    [0, 1].map(chance => retireBeforeExpiry(1000, 100_000, () => chance)),
    [91_000, 81_000],
  )
  assert.deepEqual(
    [0, 1].map(chance => retireBeforeExpiry(1000, 3_600_000, () => chance)),
    [3_541_000, 3_481_000],
  )
})
