import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { SlotState } from '../../src/api/stats.ts'
import type { Breaker } from '../../src/connecting/breaker.ts'
import { Capacity, phaseOf } from '../../src/connecting/capacity.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import type { PoolShare } from '../../src/connecting/pool-share.ts'
import { Slots } from '../../src/connections/slots.ts'

const NEVER = Number.POSITIVE_INFINITY

/** What the capacity reads, as numbers of the test. */
function capacityOf(given: { max?: number; min?: number; maxConnecting?: number } = {}) {
  const options = { max: 10, min: 0, maxConnecting: 4, acquireTimeoutMillis: 5000, ...given }
  const slots = new Slots<object>()
  const queue = { waiting: 0 }
  const totals = { created: 1 }
  const suspicion = { closedAt: Number.NEGATIVE_INFINITY }
  const stall = { millis: 0 }
  const breaker = { failures: 0, retryAt: 0, unproven: false, trials: { count: 0, until: NEVER } }
  const context = {
    ...{ options, slots, queue, totals, liveness: { suspicion } },
    stalls: { knownSince: () => stall.millis },
  } as unknown as PoolContext<object>
  const capacity = new Capacity(context, breaker as unknown as Breaker<object>)
  const add = (state: SlotState, startedAt = 0) => {
    const slot = slots.add(0, startedAt)
    if (state === 'connecting') capacity.connects.add(slot)
    else {
      slots.counts.connecting -= 1
      slots.counts[state] += 1
      slot.state = state
    }
    return slot
  }
  return { capacity, options, slots, queue, totals, suspicion, stall, breaker, context, add }
}

describe('how many connections are to be made', () => {
  test('as many as callers wait for, less those on their way, within the free permits', () => {
    const { capacity, queue, add } = capacityOf()
    assert.equal(capacity.demand(false), 0)
    queue.waiting = 3
    assert.equal(capacity.demand(false), 3)
    add('connecting')
    assert.equal(capacity.demand(false), 2)
    capacity.checks.add(add('validating'))
    assert.equal(capacity.demand(false), 1)
    queue.waiting = 100
    assert.equal(capacity.demand(false), 8)
    for (let count = 0; count < 9; count += 1) add('closing')
    assert.equal(capacity.freePermits, -1)
    assert.equal(capacity.demand(false), -1)
  })

  test('idle connections count as on their way while the event loop is to show whether they are alive', () => {
    const { capacity, queue, add } = capacityOf()
    add('idle')
    add('idle')
    queue.waiting = 3
    assert.deepEqual([capacity.incoming, capacity.demand(false)], [0, 3])
    capacity.awaitsEventLoop = true
    assert.deepEqual([capacity.incoming, capacity.demand(false)], [2, 1])
  })

  test('as many as are missing to min, if that is kept, and not on top of those for callers', () => {
    const { capacity, queue, add } = capacityOf({ min: 4 })
    assert.deepEqual([capacity.demand(false), capacity.demand(true)], [0, 4])
    add('idle')
    assert.equal(capacity.demand(true), 3)
    queue.waiting = 1
    assert.equal(capacity.demand(true), 3)
    queue.waiting = 7
    assert.equal(capacity.demand(true), 7)
  })

  test('none above max after a resize', () => {
    const { capacity, options, add } = capacityOf()
    for (let count = 0; count < 3; count += 1) add('idle')
    options.max = 3
    assert.equal(capacity.isOversized, false)
    options.max = 2
    assert.equal(capacity.isOversized, true)
  })

  test('only the budget keeps a pool from them where its share is used up and it has others', () => {
    for (const [free, has, wanted] of [
      [undefined, true, false],
      [1, true, false],
      [0, true, true],
      [0, false, false],
    ] as const) {
      const { capacity, add } = capacityOf()
      if (free !== undefined) capacity.share = { free } as PoolShare<object>
      if (has) add('lent')
      assert.equal(capacity.isOutOfBudget, wanted, `${free} ${has}`)
    }
  })

  test('within its share of a budget', () => {
    const { capacity } = capacityOf()
    assert.equal(capacity.obtainable, 10)
    capacity.share = { free: 3 } as PoolShare<object>
    assert.equal(capacity.obtainable, 3)
    capacity.share = { free: 30 } as PoolShare<object>
    assert.equal(capacity.obtainable, 10)
  })
})

describe('how many more acquires can count on a connection', () => {
  test('as many as can be made or are on their way, less those who wait', () => {
    const { capacity, queue, add } = capacityOf({ max: 3 })
    assert.equal(capacity.expected, 3)
    add('lent')
    queue.waiting = 1
    assert.equal(capacity.expected, 1)
    add('connecting')
    assert.equal(capacity.expected, 1)
    queue.waiting = 5
    assert.equal(capacity.expected, -3)
  })

  test('one while connecting fails, and none above it while that one runs', () => {
    const { capacity, breaker, add } = capacityOf()
    breaker.failures = 1
    assert.equal(capacity.expected, 1)
    const slot = add('connecting')
    assert.equal(capacity.expected, 1, 'the one on its way')
    capacity.connects.delete(slot)
    assert.equal(capacity.expected, 0, 'it hangs')
    add('connecting')
    assert.equal(capacity.expected, 1)
  })

  test('none that a shrunken pool would have to end', () => {
    const { capacity, options, add } = capacityOf()
    for (let count = 0; count < 3; count += 1) add('lent')
    options.max = 1
    assert.equal(capacity.expected, 0)
  })
})

describe('when the next connect may start', () => {
  test('two at a time until the server has answered once, then as many as the option says', () => {
    const { capacity, totals, add } = capacityOf()
    totals.created = 0
    add('connecting')
    assert.equal(capacity.nextConnectAt(1000), 1000)
    add('connecting')
    assert.equal(capacity.nextConnectAt(1000), NEVER)
    totals.created = 1
    add('connecting')
    assert.equal(capacity.nextConnectAt(1000), 1000)
    add('connecting')
    assert.equal(capacity.nextConnectAt(1000), NEVER)
    const single = capacityOf({ maxConnecting: 1 })
    single.totals.created = 0
    single.add('connecting')
    assert.equal(single.capacity.nextConnectAt(1000), NEVER)
  })

  test('one alone after connections were lost, until one is made', () => {
    const { capacity, suspicion, add } = capacityOf()
    capacity.connectedAt = 500
    suspicion.closedAt = 499
    add('connecting')
    assert.equal(capacity.hasRoomToConnect, true, 'one was made since')
    suspicion.closedAt = 500
    assert.equal(capacity.hasRoomToConnect, false)
    capacity.connects.clear()
    assert.equal(capacity.hasRoomToConnect, true)
  })

  test('a connect that hangs counts half', () => {
    const { capacity, add } = capacityOf({ maxConnecting: 2 })
    for (let hung = 0; hung < 3; hung += 1) add('connecting')
    capacity.connects.clear()
    assert.equal(capacity.hasRoomToConnect, true)
    add('connecting')
    assert.equal(capacity.hasRoomToConnect, false, 'four connect, though only one counts')
  })

  test('after a pause of its own, and after that of the breaker', () => {
    const { capacity, breaker } = capacityOf()
    capacity.pauseUntil = 1001
    assert.deepEqual([capacity.nextConnectAt(1000), capacity.nextConnectAt(1001)], [1001, 1001])
    breaker.failures = 1
    breaker.retryAt = 2000
    assert.deepEqual(
      [1500, 1999, 2000, 2500].map(now => capacity.nextConnectAt(now)),
      [2000, 2000, 2000, 2500],
    )
  })

  test('while connecting fails: when none runs and none is on trial', () => {
    const { capacity, breaker, add } = capacityOf()
    breaker.failures = 1
    const slot = add('connecting')
    capacity.connects.delete(slot)
    assert.equal(capacity.nextConnectAt(1000), NEVER, 'a hanging one counts')
    const trial = capacityOf()
    Object.assign(trial.breaker, { failures: 1, unproven: true, trials: { count: 1, until: 1700 } })
    assert.equal(trial.capacity.nextConnectAt(1000), 1700)
    trial.breaker.retryAt = 1000
    assert.equal(trial.capacity.nextConnectAt(1000), 1700, 'its pause is just over')
    trial.breaker.trials = { count: 0, until: NEVER }
    assert.equal(trial.capacity.nextConnectAt(1000), 1000)
    Object.assign(trial.breaker, { unproven: false, trials: { count: 1, until: 1700 } })
    assert.equal(trial.capacity.nextConnectAt(1000), 1000)
  })
})

test('a connection may still serve somebody unless it connects, closes, has a fault, is old or was lent long ago', () => {
  for (const [state, change, serves] of [
    ['idle', {}, true],
    ['validating', {}, true],
    ['resetting', {}, true],
    ['lent', { lentAt: 5001 }, true],
    ['lent', { lentAt: 5000 }, false],
    ['idle', { lentAt: 1 }, true],
    ['connecting', {}, false],
    ['closing', {}, false],
    ['idle', { fault: { reason: 'broken' } }, false],
    ['idle', { generation: 3 }, false],
  ] as const) {
    const { capacity, add } = capacityOf()
    Object.assign(add(state), change)
    assert.equal(capacity.mayServe(10_000, 0), serves, `${state} ${JSON.stringify(change)}`)
  }
  const { capacity, add } = capacityOf()
  assert.equal(capacity.mayServe(10_000, 0), false)
  Object.assign(add('idle'), { generation: 1 })
  add('idle')
  assert.equal(capacity.mayServe(10_000, 0), true, 'one of two is enough')
})

test('neither a connection that is being made nor one that is being closed serves, beside one with a fault', () => {
  const { capacity, add } = capacityOf()
  add('idle').fault = { reason: 'broken', detail: undefined }
  add('connecting')
  add('closing')
  assert.equal(capacity.mayServe(10_000, 0), false)
})

describe('a connect is not counted on any more', () => {
  test('once a caller has waited for about as long as it takes already, unless that was a moment', () => {
    for (const [startedAt, waited, isImpatient, counts] of [
      [9100, 1000, false, false],
      [9101, 1000, false, true],
      [0, 49, true, true],
      [0, 50, true, false],
      [0, 49, false, false],
    ] as const) {
      const { capacity, add } = capacityOf()
      add('connecting', startedAt)
      const newer = add('connecting', startedAt + 1)
      capacity.waiterLeft(waited, 10_000, isImpatient)
      assert.equal(capacity.connects.size, counts ? 2 : 1, `${startedAt} ${waited}`)
      assert.ok(capacity.connects.has(newer), 'the oldest')
    }
    capacityOf().capacity.waiterLeft(1000, 10_000, false)
  })

  test('for which the event loop has had no time, though the caller has waited through a stall', () => {
    const { capacity, stall, add } = capacityOf()
    add('connecting', 9550)
    capacity.waiterLeft(1000, 10_000, false)
    assert.equal(capacity.connects.size, 1)
    stall.millis = 500
    capacity.waiterLeft(1000, 10_000, false)
    assert.equal(capacity.connects.size, 0)
  })

  test('that a newer one has overtaken by four times, and by a tenth of a second', () => {
    for (const [took, oldest, counts] of [
      [10, 100, true],
      [10, 101, false],
      [50, 200, true],
      [50, 201, false],
    ] as const) {
      const { capacity, add } = capacityOf()
      add('connecting', 10_000 - oldest)
      const winner = add('connecting', 10_000 - took)
      capacity.connects.delete(winner)
      add('connecting', 9999)
      capacity.dropOvertaken(winner, 10_000)
      assert.equal(capacity.connects.size, counts ? 2 : 1, `${took} ${oldest}`)
    }
  })
})

test('what the first in the queue waits for is named: a check, a connect, or a loan', () => {
  const { context, breaker, add } = capacityOf()
  const phase = () => phaseOf(context, breaker as unknown as Breaker<object>)
  assert.equal(phase(), 'queue')
  breaker.failures = 1
  assert.equal(phase(), 'connect')
  breaker.failures = 0
  add('connecting')
  assert.equal(phase(), 'connect')
  add('validating')
  assert.equal(phase(), 'validate')
})
