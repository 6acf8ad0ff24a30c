import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ControlConnection, ControlPlace, type Question } from '../../src/connecting/control-place.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import type { Slot } from '../../src/connections/slot.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock, settle } from '../support/clock.ts'

type One = Slot<string>

/** One that has been lent, or never. */
const slotOf = (loan = 1): One => ({ loan }) as unknown as One

/** A control place beside a pool that is only numbers. */
function placeOf({ max = 2, freePermits = 0, missing = 0, waiting = 0 } = {}) {
  const clock = new FakeClock()
  const idle: One[] = []
  const pool = { freePermits, missing, waiting, isOutOfBudget: false }
  const done: string[] = []
  const questions: Question<string>[] = []
  const context = {
    ...{ clock, stalls: new Stalls(new StallMonitor(clock)), options: { max } },
    queue: {
      get waiting() {
        return pool.waiting
      },
    },
    slots: {
      counts: {
        get idle() {
          return idle.length
        },
      },
      nextIdle: (longest: boolean) => (longest ? idle[0] : idle.at(-1)),
    },
  }
  const place = new ControlPlace<string>(context as unknown as PoolContext<string>, {
    get freePermits() {
      return pool.freePermits
    },
    get missing() {
      return pool.missing
    },
    get isOutOfBudget() {
      return pool.isOutOfBudget
    },
    connectMore: () => void done.push('connect'),
    discard: (slot, reason) => {
      idle.splice(idle.indexOf(slot), 1)
      done.push(`discard ${reason}`)
    },
    ask: (slot, asked) => {
      idle.splice(idle.indexOf(slot), 1)
      questions.push(...asked)
      done.push(`ask ${asked.length}`)
    },
  })
  return { clock, pool, idle, done, questions, place }
}

const control = (): ControlConnection & { asked: number } => ({
  asked: 0,
  giveWay() {
    this.asked += 1
  },
})

/** Where a promise is, without waiting for it. */
function watched<T>(promise: Promise<T>): { value: T | 'waiting' } {
  const seen: { value: T | 'waiting' } = { value: 'waiting' }
  void promise.then(value => {
    seen.value = value
  })
  return seen
}

test('the server is asked over an idle connection, but not ahead of acquires that wait', () => {
  for (const [pool, idle, wanted] of [
    [{}, 0, false],
    [{}, 1, true],
    [{ waiting: 1 }, 1, false],
    [{ freePermits: 1 }, 0, true],
    [{ freePermits: 1, missing: 1, waiting: 1 }, 0, false],
  ] as const) {
    const scene = placeOf(pool)
    if (idle > 0) scene.idle.push(slotOf())
    assert.equal(scene.place.canAsk, wanted, JSON.stringify([pool, idle]))
  }
})

test('a place for which a connection is being closed is taken by nobody else', async () => {
  const { pool, idle, done, place } = placeOf()
  const first = slotOf()
  idle.push(first)
  const [one, other] = [control(), control()]
  const claimed = watched(place.claim(one, 1000, 0))
  assert.deepEqual(done, ['discard surplus'])
  pool.freePermits = 1
  assert.equal(place.isFree, false)
  assert.equal(place.take(other), false)
  place.returned(first)
  await settle()
  assert.equal(claimed.value, true)
  assert.equal(place.take(one), true)
})

test('who is not in the place cannot leave it: another control connection would be one too many', () => {
  const { done, place } = placeOf({ freePermits: 2 })
  const [one, other] = [control(), control()]
  assert.equal(place.take(one), true)
  place.leave(other)
  assert.equal(place.take(other), false)
  assert.deepEqual(done, [])
  place.leave(one)
  assert.deepEqual(done, ['connect'])
  assert.equal(place.take(other), true)
})

test('a question waits for a connection as long as no control connection could be opened instead', async () => {
  const { pool, place } = placeOf()
  const answered = watched(place.ask(async () => 'never', 1000))
  place.changed()
  await settle()
  assert.equal(answered.value, 'waiting')
  pool.freePermits = 1
  place.changed()
  await settle()
  assert.equal(answered.value, undefined)
})

test('a question that has been asked, and a claim that was granted, leave no timer behind', async () => {
  const { clock, pool, idle, questions, done, place } = placeOf()
  idle.push(slotOf())
  const answered = watched(place.ask(async resource => `${resource}!`, 1000))
  assert.deepEqual(done, ['ask 1'])
  assert.equal(clock.pending, 1)
  await questions[0]?.('resource')
  await settle()
  assert.deepEqual(answered.value, { answer: 'resource!' })
  assert.equal(clock.pending, 0, clock.describe())
  pool.freePermits = 2
  const none = watched(place.ask(async () => 'never', 1000))
  const claimed = watched(place.claim(control(), 1000, 0))
  await settle()
  assert.deepEqual([none.value, claimed.value], [undefined, true])
  assert.equal(clock.pending, 0, clock.describe())
})

test('a question over a connection that was asked too late is not told twice, and a failed one fails', async () => {
  const { clock, idle, questions, place } = placeOf()
  const answered = watched(place.ask(async () => 'never', 1000))
  await clock.advance(999)
  assert.equal(answered.value, 'waiting')
  await clock.advance(1)
  assert.equal(answered.value, undefined)
  idle.push(slotOf())
  place.changed()
  assert.equal(questions.length, 0, 'it is not asked any more')
  const failed = place.ask(() => Promise.reject(new Error('no')), 1000)
  await questions[0]?.('resource')
  await assert.rejects(failed, /^Error: no$/)
})

test('a claim that has waited for long enough is told so, and no connection is given up for it afterwards', async () => {
  const { clock, idle, done, place } = placeOf()
  const one = control()
  const claimed = watched(place.claim(one, 1000, 1))
  await clock.advance(999)
  assert.equal(claimed.value, 'waiting')
  await clock.advance(1)
  assert.equal(claimed.value, false)
  const slot = slotOf()
  idle.push(slot)
  place.changed()
  assert.equal(place.wants(slot), false)
  assert.deepEqual(done, [])
})

test('who holds as many connections as there may be is refused at once, one fewer waits', async () => {
  const { place } = placeOf({ max: 2 })
  const claims = [1, 2, 3].map(held => watched(place.claim(control(), 1000, held)))
  await settle()
  assert.deepEqual(
    claims.map(({ value }) => value),
    ['waiting', false, false],
  )
})

test('a connection is given up for the first claim, and the others wait for theirs', async () => {
  const { pool, idle, done, place } = placeOf()
  const [one, other] = [control(), control()]
  const slots = [slotOf(), slotOf()]
  idle.push(...slots)
  const claims = [one, other, one].map(by => watched(place.claim(by, 1000, 0)))
  const told = async () => {
    await settle()
    return claims.map(({ value }) => value)
  }
  assert.deepEqual(done.splice(0), ['discard surplus'], 'one for all')
  assert.equal(place.wants(slots[1] as One), false)
  pool.freePermits = 1
  place.returned(slots[0] as One)
  assert.deepEqual(await told(), [true, 'waiting', true])
  pool.freePermits = 0
  place.changed()
  assert.equal(place.wants(slots[1] as One), false, 'the place is taken')
  assert.ok(one.asked > 0, 'it is one too many')
  place.leave(one)
  assert.deepEqual(done.splice(0), ['connect', 'discard surplus'])
  pool.freePermits = 1
  place.returned(slots[1] as One)
  assert.deepEqual(await told(), [true, true, true])
})

test('a connection that is closed is not given to a claim where the pool has none to spare', async () => {
  const { pool, place } = placeOf()
  const claimed = watched(place.claim(control(), 1000, 0))
  place.returned(slotOf())
  await settle()
  assert.equal(claimed.value, 'waiting', 'after a resize there is no permit')
  pool.freePermits = 1
  pool.missing = 1
  place.returned(slotOf(0))
  await settle()
  assert.equal(claimed.value, 'waiting', 'it was never lent: acquires wait for it')
  place.returned(slotOf())
  await settle()
  assert.equal(claimed.value, true)
})

test('nothing is given up for a claim while acquires wait, and a connection that was never lent is not wanted', () => {
  const { pool, idle, done, place } = placeOf({ waiting: 1 })
  void place.claim(control(), 1000, 0)
  const [fresh, used] = [slotOf(0), slotOf()]
  idle.push(used)
  place.changed()
  assert.deepEqual(done, [])
  assert.deepEqual([place.wants(fresh), place.wants(used)], [false, true])
  void place.ask(async () => {}, 1000)
  assert.deepEqual([place.wants(fresh), place.wants(used)], [true, true], 'to be asked')
  pool.waiting = 0
  place.changed()
  assert.deepEqual(done, ['ask 1'])
  assert.deepEqual([place.wants(fresh), place.wants(used)], [false, true], 'asked once')
})

test('the last permit is left to the pool if it needs that, but for a budget that keeps it from using it', async () => {
  for (const [pool, isGranted] of [
    [{ freePermits: 2, missing: 2 }, true],
    [{ freePermits: 1, missing: 0 }, true],
    [{ freePermits: 1, missing: 1 }, false],
    [{ freePermits: 1, missing: 1, isOutOfBudget: true }, true],
    [{ freePermits: 0, missing: 1, isOutOfBudget: true }, false],
    [{ freePermits: 0, missing: 0 }, false],
  ] as const) {
    const scene = placeOf()
    Object.assign(scene.pool, pool)
    const one = control()
    const claimed = watched(scene.place.claim(one, 1000, 0))
    await settle()
    assert.equal(claimed.value, isGranted ? true : 'waiting', JSON.stringify(pool))
    assert.equal(scene.place.isTaken, isGranted)
    const isNeeded = pool.freePermits === 0 || (pool.freePermits === 1 && pool.missing > 0)
    assert.equal(one.asked > 0, isGranted && isNeeded, JSON.stringify(pool))
  }
})

test('a connection that comes back while the place is taken does not let a second control connection in', async () => {
  const { pool, place } = placeOf({ freePermits: 2 })
  const [one, other] = [control(), control()]
  assert.equal(place.take(one), true)
  const claimed = watched(place.claim(other, 1000, 0))
  place.returned(slotOf())
  await settle()
  assert.equal(claimed.value, 'waiting')
  assert.equal(place.take(other), false)
  pool.freePermits = 1
  place.leave(one)
  await settle()
  assert.equal(claimed.value, true)
})

test('of the idle connections that is taken which has been idle for longest: the other will be lent again soon', () => {
  const { idle, done, place } = placeOf()
  const [longest, other] = [slotOf(), slotOf()]
  idle.push(longest, other)
  void place.ask(async () => {}, 1000)
  assert.deepEqual([idle, done.splice(0)], [[other], ['ask 1']])
  idle.unshift(longest)
  void place.claim(control(), 1000, 0)
  assert.deepEqual([idle, done], [[other], ['discard surplus']])
})

test('one that enters is asked to leave if it is one too many, and does not take the place of another', () => {
  const { pool, place } = placeOf({ freePermits: 1 })
  const [one, other] = [control(), control()]
  place.enter(one)
  assert.equal(one.asked, 0)
  place.enter(other)
  assert.deepEqual([place.take(one), place.take(other)], [true, false])
  pool.freePermits = 0
  place.changed()
  assert.deepEqual([one.asked, other.asked], [1, 0])
  const full = placeOf()
  const surplus = control()
  full.place.enter(surplus)
  assert.equal(surplus.asked, 1, 'at once')
})
