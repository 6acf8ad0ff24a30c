import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Waiter } from '../../src/queue/waiter.ts'
import { Deadlines, PORTION_CHECK, PORTION_MILLIS } from '../../src/runtime/time/deadlines.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { Chance, seedFrom } from '../support/random.ts'

type Waiting = Waiter<object>

/** The deadlines of a queue that is not there: who waits, and who has expired at what time. */
function queue(clock = new FakeClock()) {
  const expired: { readonly waiter: Waiting; readonly at: number }[] = []
  let portions = 0
  let onExpire = (): void => {}
  const stalls = new Stalls(new StallMonitor(clock))
  stalls.start()
  const timeouts = new Deadlines<Waiting>(clock, stalls, {
    expire(waiter, now) {
      assert.ok(!waiter.hasEnded, 'only those who wait expire')
      expired.push({ waiter, at: now })
      leave(waiter)
      onExpire()
    },
    done() {
      portions += 1
    },
  })
  const join = (timeout: number): Waiting => {
    const request = { priority: 0, timeout, signal: undefined, detached: false }
    const waiter: Waiting = new Waiter(request, clock.now(), 'acquire', () => {})
    timeouts.add(waiter)
    return waiter
  }
  const leave = (waiter: Waiting): void => {
    waiter.state = 'granted'
    timeouts.ended()
  }
  return {
    clock,
    expired,
    timeouts,
    join,
    leave,
    get portions() {
      return portions
    },
    set onExpire(run: () => void) {
      onExpire = run
    },
    end: () => stalls.stop(),
  }
}

test('each expires at its own deadline, in order of deadlines and not of arrival', async () => {
  const { clock, expired, join, end } = queue()
  const start = clock.now()
  for (const timeout of [300, 20, 20, 1000, 1, 2 ** 31]) join(timeout)
  await clock.advance(1000)
  assert.deepEqual(
    expired.map(({ at }) => at - start),
    [1, 20, 20, 300, 1000],
  )
  end()
})

test('who has been served does not expire', async () => {
  const { clock, expired, join, leave, end } = queue()
  const served = join(10)
  const other = join(20)
  leave(served)
  await clock.advance(100)
  assert.deepEqual(
    expired.map(({ waiter }) => waiter),
    [other],
  )
  end()
})

test('one who comes last with the shortest time is not late', async () => {
  const { clock, expired, join, end } = queue()
  join(5000)
  await clock.advance(10)
  join(3)
  await clock.advance(3)
  assert.equal(expired.length, 1)
  end()
})

test('without limit nobody ever expires, and no timer rings for nothing', async () => {
  const { clock, expired, join, end } = queue()
  join(Number.POSITIVE_INFINITY)
  const set = clock.timersSet
  await clock.advance(1e6)
  assert.deepEqual(expired, [])
  assert.equal(clock.timersSet, set)
  end()
})

test('one timer serves a thousand waiters', async () => {
  const { clock, expired, join, end } = queue()
  for (let waiter = 0; waiter < 1000; waiter += 1) {
    join(50)
    assert.equal(clock.pending, 1)
  }
  await clock.advance(50)
  assert.equal(expired.length, 1000)
  assert.equal(clock.pending, 0)
  end()
})

test('after stop nobody expires', async () => {
  const { clock, expired, join, timeouts, end } = queue()
  join(10)
  timeouts.stop()
  await clock.advance(100)
  assert.deepEqual(expired, [])
  end()
})

test('a crowd expires in portions, between which the event loop turns', async () => {
  const clock = new SpendingClock()
  const waiting = queue(clock)
  const { expired, join, end } = waiting
  const crowd = 10 * PORTION_CHECK
  for (let waiter = 0; waiter < crowd; waiter += 1) join(10)
  // A whole portion's time is gone after 100 of them; the clock is read after PORTION_CHECK.
  waiting.onExpire = () => clock.spend(PORTION_MILLIS / 100)
  const between: number[] = []
  clock.beforeTurns = () => between.push(expired.length)
  await clock.advance(10)
  assert.equal(expired.length, crowd)
  assert.deepEqual(
    between,
    Array.from({ length: 10 }, (_, portion) => (portion + 1) * PORTION_CHECK),
  )
  assert.ok(waiting.portions >= 10, `told of ${waiting.portions} portions`)
  end()
})

test('a deadline that fell into a stall is put off until the loop has run for 100 ms, and not for ever', async () => {
  const { clock, expired, join, end } = queue()
  const start = clock.now()
  join(200)
  await clock.advance(150)
  await clock.stall(80)
  assert.deepEqual(expired, [], 'of the 100 ms before its deadline, half stood still')
  await clock.advance(1000)
  assert.equal(expired.length, 1)
  const late = expired.map(({ at }) => at - start - 200)[0] ?? Number.NaN
  assert.ok(late >= 50 && late <= 110, `${late} ms after its deadline`)
  end()
})

test('one whose deadline is put off and who is served meanwhile does not expire', async () => {
  const { clock, expired, join, leave, end } = queue()
  const waiter = join(100)
  await clock.stall(150)
  assert.deepEqual(expired, [])
  leave(waiter)
  await clock.advance(1000)
  assert.deepEqual(expired, [])
  end()
})

test('a loop that stands still again and again makes nobody immortal', async () => {
  const { clock, expired, join, end } = queue()
  join(100)
  let stalls = 0
  for (; stalls < 20 && expired.length === 0; stalls += 1) await clock.stall(150)
  assert.equal(stalls, 4, 'put off three times, and no more')
  end()
})

test('no timer rings for those who have been served meanwhile', async () => {
  const { clock, expired, join, leave, end } = queue()
  join(10)
  for (let timeout = 20; timeout < 70; timeout += 1) leave(join(timeout))
  join(1000)
  const set = clock.timersSet
  await clock.advance(1000)
  assert.equal(expired.length, 2)
  assert.equal(clock.timersSet - set, 1)
  end()
})

test('those who were served are not kept in memory until their deadlines', async () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const { join, leave, end } = queue()
  const refs = Array.from({ length: 2000 }, () => {
    const waiter = join(1e9)
    leave(waiter)
    return new WeakRef(waiter)
  })
  // What a turn has taken a weak reference to lives on until its end.
  await settle()
  gc()
  const kept = refs.filter(ref => ref.deref() !== undefined).length
  assert.ok(kept < 200, `${kept} of ${refs.length} are still there`)
  end()
})

test('whoever comes and goes, each expires at its deadline unless it has left before', async t => {
  const seed = seedFrom('LIFEGUARD_SEED')
  t.diagnostic(`LIFEGUARD_SEED=${seed}`)
  const chance = new Chance(seed)
  for (let round = 0; round < 20; round += 1) {
    const { clock, expired, join, leave, end } = queue()
    const waiting = new Set<Waiting>()
    const due: { readonly waiter: Waiting; readonly at: number }[] = []
    const range = chance.pick([5, 300])
    for (let step = 0; step < 150; step += 1) {
      for (let count = chance.below(5); count > 0; count -= 1) {
        const waiter = join(chance.oneIn(20) ? Number.POSITIVE_INFINITY : 1 + chance.below(range))
        waiting.add(waiter)
      }
      for (const waiter of waiting)
        if (chance.oneIn(chance.pick([2, 10]))) {
          waiting.delete(waiter)
          leave(waiter)
        }
      const millis = chance.below(4)
      const until = clock.now() + millis
      for (const waiter of waiting) {
        if (waiter.deadline > until) continue
        waiting.delete(waiter)
        due.push({ waiter, at: waiter.deadline })
      }
      await clock.advance(millis)
      assert.equal(expired.length, due.length)
    }
    assert.deepEqual(new Set(expired.map(({ waiter }) => waiter)), new Set(due.map(({ waiter }) => waiter)))
    for (const { waiter, at } of expired) assert.equal(at, waiter.deadline)
    end()
  }
})

/** A clock on which work takes time. */
class SpendingClock extends FakeClock {
  #spent = 0

  spend(millis: number): void {
    this.#spent += millis
  }

  override now(): number {
    return super.now() + this.#spent
  }
}
