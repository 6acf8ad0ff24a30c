import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { LoadShedder } from '../../src/queue/load-shedder.ts'
import { PriorityList } from '../../src/queue/priority-list.ts'
import { type Snapshot, WaitQueue } from '../../src/queue/wait-queue.ts'
import { Waiter } from '../../src/queue/waiter.ts'
import { PORTION_CHECK, PORTION_MILLIS } from '../../src/runtime/time/deadlines.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock } from '../support/clock.ts'
import { Chance, seedFrom } from '../support/random.ts'

type Waiting = Waiter<object>

/** The default timeout: such waiters are kept in another list than all others. */
const DEFAULT = 5000

/** A queue without a pool, and what its listener hears. */
function queueOf(priorityRange = 3) {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  stalls.start()
  const queue = new WaitQueue<object>({ priorityRange, acquireTimeoutMillis: DEFAULT }, clock, stalls, true)
  const rejected: { readonly waiter: Waiting; readonly how: string }[] = []
  const heard = { rounds: 0, snapshots: 0 }
  queue.listener = {
    snapshot(now) {
      heard.snapshots += 1
      return { now, cause: undefined } as Snapshot
    },
    onRejected: (waiter, how) => void rejected.push({ waiter, how }),
    onAnyRejected() {
      heard.rounds += 1
    },
  }
  const join = (priority = 0, signal?: AbortSignal, timeout = 1000): Waiting => {
    const request = { priority, timeout, signal, detached: false }
    const waiter: Waiting = new Waiter(request, clock.now(), 'acquire', () => {})
    queue.enqueue(waiter)
    return waiter
  }
  /** A load shedder that only says whether the youngest go first. */
  const takeYoungest = (takesYoungest: boolean): void => {
    queue.loadShedder = { takesYoungest, queueStarted() {}, stop() {} } as unknown as LoadShedder<object>
  }
  return { clock, queue, join, rejected, heard, takeYoungest }
}

test('a list of waiters is that of an array, whoever leaves it, and who has left keeps no neighbour alive', () => {
  const chance = new Chance(seedFrom('LIFEGUARD_SEED'))
  const list = new PriorityList<object>()
  const array: Waiting[] = []
  const request = { priority: 0, timeout: 1000, signal: undefined, detached: false }
  for (let step = 0; step < 2000; step += 1) {
    if (array.length === 0 || chance.oneIn(2)) {
      const waiter: Waiting = new Waiter(request, 0, 'acquire', () => {})
      array.push(waiter)
      list.push(waiter)
    } else {
      const [waiter] = array.splice(chance.below(array.length), 1) as [Waiting]
      list.remove(waiter)
      assert.deepEqual([waiter.next, waiter.previous], [undefined, undefined])
    }
    const found = { all: [...list], first: list.first, last: list.last, length: list.length }
    const wanted = { all: array, first: array[0], last: array.at(-1), length: array.length }
    assert.ok(
      found.all.every((each, index) => each === array[index]),
      `seed ${chance.seed}`,
    )
    for (const key of ['first', 'last', 'length'] as const)
      assert.equal(found[key], wanted[key], `${key}, seed ${chance.seed}`)
  }
})

test('the waiter of the highest priority is next, and the one of a low priority is the oldest', async () => {
  const { clock, queue, join } = queueOf()
  assert.deepEqual([queue.peek(), queue.oldest(), queue.shift()], [undefined, undefined, undefined])
  const low = join(2)
  await clock.advance(10)
  const middle = join(1)
  await clock.advance(10)
  const high = join(0)
  assert.equal(queue.oldest(), low)
  for (const waiter of [high, middle, low]) {
    assert.equal(queue.peek(), waiter)
    assert.equal(queue.shift(), waiter)
    assert.equal(waiter.state, 'granted')
  }
  assert.equal(queue.waiting, 0)
})

test('of two that came in the same millisecond, the one of the higher priority counts as the oldest', () => {
  const { queue, join } = queueOf()
  join(1)
  const high = join(0)
  assert.equal(queue.oldest(), high)
})

test('how many are ahead: the higher priorities and the own one, where the youngest go first only the higher ones', () => {
  const { queue, join, takeYoungest } = queueOf()
  for (const priority of [0, 0, 1, 2, 2, 2]) join(priority)
  assert.deepEqual(
    [0, 1, 2].map(priority => queue.ahead(priority)),
    [2, 3, 6],
  )
  takeYoungest(false)
  assert.deepEqual(
    [0, 1, 2].map(priority => queue.ahead(priority)),
    [2, 3, 6],
  )
  takeYoungest(true)
  assert.deepEqual(
    [0, 1, 2].map(priority => queue.ahead(priority)),
    [0, 2, 3],
  )
})

test('where the youngest go first, the highest priority still does', () => {
  const { queue, join, takeYoungest } = queueOf()
  const [first, last, low] = [join(1), join(1), join(2)]
  takeYoungest(true)
  for (const waiter of [last, first, low]) assert.equal(queue.shift(), waiter)
  assert.equal(queue.shift(), undefined)
})

test('the first waiters are asked for in the order in which they are served, and no more of them', () => {
  const { queue, join } = queueOf()
  const [c, a, b] = [join(1), join(0), join(0)]
  for (const [most, wanted] of [
    [0, []],
    [1, [a]],
    [2, [a, b]],
    [3, [a, b, c]],
    [4, [a, b, c]],
  ] as const)
    assert.deepEqual(queue.waiters(most).map(id), wanted.map(id), `${most}`)
  assert.deepEqual(queue.waiters().map(id), [a, b, c].map(id))
  function id(waiter: Waiting): number {
    return [a, b, c].indexOf(waiter)
  }
})

test('whoever stands behind a waiter that was served still expires at its own time, and all hear of it once', async () => {
  const { clock, queue, join, rejected, heard } = queueOf()
  const [first, second] = [join(0, undefined, DEFAULT), join(0, undefined, DEFAULT)]
  const own = join(0, undefined, DEFAULT + 1)
  assert.deepEqual([first.isInOrder, second.isInOrder, own.isInOrder], [true, true, false])
  queue.shift()
  await clock.advance(DEFAULT)
  assert.deepEqual([second.state, own.state], ['expired', 'waiting'])
  assert.equal(rejected.length, 1)
  assert.equal(heard.rounds, 1)
})

test('a deadline that a stall has put off is kept by the order of the queue no more', async () => {
  const { clock, join } = queueOf()
  const waiter = join(0, undefined, DEFAULT)
  await clock.advance(DEFAULT - 50)
  await clock.stall(100)
  assert.deepEqual([waiter.state, waiter.isInOrder], ['waiting', false])
  await clock.advance(1000)
  assert.equal(waiter.state, 'expired')
})

test('the deadlines keep the process alive as long as somebody waits, and no longer', () => {
  const { clock, queue, join } = queueOf()
  let held = false
  const after = clock.after.bind(clock)
  const hold = (value: boolean): void => {
    held = value
  }
  clock.after = (millis, run) => ({ ...after(millis, run), hold })
  for (const timeout of [DEFAULT, 60_000]) join(0, undefined, timeout)
  assert.equal(held, true)
  queue.shift()
  assert.equal(held, true, 'one still waits')
  queue.shift()
  assert.equal(held, false)
})

test('a signal is heard again after everybody who waited with it has been served', () => {
  const { queue, join, rejected } = queueOf()
  const caller = new AbortController()
  join(0, caller.signal)
  join(0, caller.signal)
  assert.equal(getEventListeners(caller.signal, 'abort').length, 1, 'one listener serves both')
  queue.shift()
  assert.equal(getEventListeners(caller.signal, 'abort').length, 1, 'one still waits')
  queue.shift()
  assert.equal(getEventListeners(caller.signal, 'abort').length, 0)
  const later = [join(0, caller.signal), join(1, caller.signal)]
  caller.abort()
  assert.deepEqual(
    rejected.map(({ waiter, how }) => [later.indexOf(waiter), how]),
    [
      [0, 'aborted'],
      [1, 'aborted'],
    ],
  )
})

test('nobody is notified of a failed probe that concerns nobody', () => {
  const { queue, join, rejected, heard } = queueOf()
  queue.rejectUnhealthy()
  queue.rejectSince(1)
  const before = join()
  const since = join()
  since.breakerOpening = 1
  queue.rejectSince(2)
  assert.deepEqual(heard, { rounds: 0, snapshots: 0 })
  queue.rejectSince(1)
  assert.deepEqual(
    rejected.map(({ waiter }) => waiter === since),
    [true],
  )
  assert.deepEqual(heard, { rounds: 1, snapshots: 1 })
  queue.rejectUnhealthy()
  assert.equal(before.state, 'unhealthy')
})

test('a waiter is rejected once: the second call is told so, and nobody hears of it', () => {
  const { queue, join, rejected, heard } = queueOf()
  const waiter = join()
  assert.equal(queue.reject(waiter, 'deadlocked'), true)
  assert.equal(queue.reject(waiter), false)
  assert.deepEqual(
    rejected.map(({ how }) => how),
    ['deadlocked'],
  )
  assert.equal(heard.rounds, 1)
  assert.equal(queue.waiting, 0)
})

test('a close rejects everybody before it returns, however many they are and however long it takes', () => {
  const { clock, queue, join, rejected } = queueOf()
  for (let joined = 0; joined < 4 * PORTION_CHECK; joined += 1) join()
  queue.listener.onRejected = (waiter, how) => {
    rejected.push({ waiter, how })
    void clock.stall(1)
  }
  let stopped = 0
  queue.loadShedder = { stop: () => (stopped += 1) } as unknown as LoadShedder<object>
  queue.close()
  assert.equal(stopped, 1, 'the load shedder')
  assert.equal(rejected.length, 4 * PORTION_CHECK)
  assert.equal(clock.pending, 0, clock.describe())
})

test('a closed queue keeps no timer of those who waited', () => {
  const { clock, queue, join } = queueOf()
  for (const timeout of [DEFAULT, 60_000]) join(0, undefined, timeout)
  assert.ok(clock.pending > 0)
  queue.close()
  assert.equal(clock.pending, 0, clock.describe())
})

test('others than a close reject in portions, each waiter once and in order', async () => {
  const { clock, queue, join, rejected } = queueOf()
  const all = Array.from({ length: 3 * PORTION_CHECK + 1 }, () => join())
  queue.listener.onRejected = (waiter, how) => {
    rejected.push({ waiter, how })
    void clock.stall(1)
  }
  queue.rejectUnhealthy()
  assert.equal(rejected.length, PORTION_CHECK)
  assert.equal(queue.waiting, 0, 'nobody is served who has been refused')
  await clock.advance(0)
  assert.equal(rejected.length, all.length)
  assert.ok(rejected.every(({ waiter }, index) => waiter === all[index]))
})

test('acquires that go to another pool leave at once, and a few are told in each turn, as each has work to do then', () => {
  const { clock, queue, join, rejected, heard } = queueOf()
  const turns: (() => void)[] = []
  clock.turn = run => void turns.push(run)
  const signals = Array.from({ length: 130 }, () => new AbortController().signal)
  const going = signals.map(signal => join(1, signal))
  const staying = [join(0), join(0, new AbortController().signal)]
  const error = new Error('elsewhere')
  queue.withdraw(new Set(), error)
  queue.withdraw(new Set([new AbortController().signal]), error)
  assert.deepEqual(heard, { rounds: 0, snapshots: 0 }, 'it concerns nobody')
  queue.withdraw(new Set(signals), error)
  assert.deepEqual([queue.waiting, queue.waiters()], [2, staying])
  for (const told of [64, 128, 130]) {
    assert.equal(rejected.length, told)
    for (const run of turns.splice(0)) run()
  }
  assert.equal(turns.length, 0)
  assert.ok(rejected.every(({ waiter, how }, index) => waiter === going[index] && how === 'aborted'))
  assert.ok(going.every(({ ownError }) => ownError === error))
  assert.deepEqual(
    staying.map(({ ownError }) => ownError),
    [undefined, undefined],
  )
  assert.deepEqual(heard, { rounds: 1, snapshots: 1 })
})

test('a portion goes on for as long as it may take, to the millisecond', () => {
  const { clock, queue, join, rejected } = queueOf()
  for (let joined = 0; joined < 2 * PORTION_CHECK; joined += 1) join()
  queue.listener.onRejected = (waiter, how) => {
    rejected.push({ waiter, how })
    if (rejected.length === PORTION_CHECK) clock.compute(PORTION_MILLIS)
  }
  queue.rejectUnhealthy()
  assert.equal(rejected.length, 2 * PORTION_CHECK)
})

test('the service rate hears that the queue is empty when the last one gives up, not when it is served', () => {
  const { queue, join } = queueOf()
  let emptied = 0
  queue.serviceRate = { emptied: () => (emptied += 1) } as unknown as NonNullable<typeof queue.serviceRate>
  join()
  const [second, third] = [join(), join()]
  queue.shift()
  queue.reject(second)
  assert.equal(emptied, 0)
  queue.reject(third)
  assert.equal(emptied, 1)
  join()
  queue.shift()
  assert.equal(emptied, 1)
})

test('waiters that were served are not kept until their deadline', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { clock, queue, join } = queueOf()
  const refs: WeakRef<Waiting>[] = []
  for (let joined = 0; joined < 500; joined += 1) {
    refs.push(new WeakRef(join(0, undefined, joined % 2 === 0 ? DEFAULT : 3_600_000)))
    queue.shift()
  }
  // A reference that was made in this turn counts as used until its end.
  await clock.advance(0)
  collect()
  const kept = refs.filter(ref => ref.deref() !== undefined).length
  assert.ok(kept < 200, `${kept} of 500 waiters are still there`)
})
