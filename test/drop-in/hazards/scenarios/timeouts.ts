/* Hazards 15 and 16: timeouts in an unlucky order, and thirty thousand at once. */

import { block, CountingFactory, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

/** Runs its callbacks a turn of the event loop later, as Bluebird does. */
class LatePromise<T> extends Promise<T> {
  // biome-ignore lint/suspicious/noThenProperty: being a promise is the point
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return super.then(late(onFulfilled), late(onRejected))
  }
}

function late<V, R>(
  callback: ((value: V) => R | PromiseLike<R>) | null | undefined,
): ((value: V) => Promise<R>) | null {
  if (callback == null) return null
  return value => new Promise<V>(resolve => setImmediate(resolve, value)).then(() => callback(value))
}

/** A waiter expires, and in the same turn the connection that it waited for comes back. */
export async function latePromises(createPool: CreatePool): Promise<Facts> {
  const millis = 150
  const pool = createPool(new CountingFactory(), {
    max: 1,
    acquireTimeoutMillis: millis,
    Promise: LatePromise,
  })
  const resource = await pool.acquire()
  const waiter = pool.acquire()
  waiter.catch(() => {})
  // Same delay, started right after the waiter's own timer, and both overdue when the loop turns: they run in one turn,
  // this one second.
  const given = new Promise<void>(resolve =>
    setTimeout(() => {
      pool.release(resource).catch(() => {})
      resolve()
    }, millis),
  )
  block(millis + 20)
  await given
  const waited = await settledWithin(waiter, 500)
  // Which of the two timers comes first is a matter of microseconds; both outcomes are right.
  if (waited.state === 'fulfilled') pool.release(waited.value).catch(() => {})
  await turns(5)
  const { pending } = pool
  const next = await settledWithin(pool.acquire(), 500)
  return { waiter: ending(waited), pending, next: ending(next) }
}

interface FakeTimer {
  at: number
  readonly run: () => void
}

/** Timers and clocks under the test's control, as sinon and jest put them in place. */
function installFakeTimers(): { tick(millis: number): void; restore(): void } {
  const real = { setTimeout, clearTimeout, dateNow: Date.now }
  const pending = new Set<FakeTimer>()
  let now = 0
  const fakeSet = (run: (...args: unknown[]) => void, millis = 0, ...args: unknown[]): object => {
    const timer = { at: now + Math.max(millis, 1), run: () => run(...args) }
    pending.add(timer)
    const handle = { timer, ref: () => handle, unref: () => handle, hasRef: () => true }
    return handle
  }
  const fakeClear = (handle: unknown): void => {
    if (typeof handle === 'object' && handle !== null && 'timer' in handle) {
      pending.delete(handle.timer as FakeTimer)
    }
  }
  Object.assign(globalThis, { setTimeout: fakeSet, clearTimeout: fakeClear })
  Date.now = () => now
  Object.defineProperty(performance, 'now', { configurable: true, value: () => now })
  return {
    /** All due timers in one go: no microtask runs between them. */
    tick(millis) {
      const end = now + millis
      for (;;) {
        const due = [...pending].filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        pending.delete(due)
        now = Math.max(now, due.at)
        due.run()
      }
      now = end
    },
    restore() {
      Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout })
      Date.now = real.dateNow
      Reflect.deleteProperty(performance, 'now')
    },
  }
}

/** A waiter's timer is made to fire, and before any microtask runs the connection comes back. */
export async function fakeTimers(createPool: CreatePool): Promise<Facts> {
  const fake = installFakeTimers()
  const pool = createPool(new CountingFactory(), { max: 1, acquireTimeoutMillis: 40 })
  const resource = await pool.acquire()
  const waiter = pool.acquire()
  waiter.catch(() => {})
  fake.tick(41)
  pool.release(resource).catch(() => {})
  await turns(5)
  const { pending } = pool
  const next = pool.acquire()
  fake.restore()
  return {
    waiter: ending(await settledWithin(waiter, 500)),
    pending,
    next: ending(await settledWithin(next, 500)),
  }
}

const CALLERS = 30_000

/** Thirty thousand callers give up at about the same time: how many of them in one turn of the event loop? */
export async function manyTimeoutsAtOnce(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 1, acquireTimeoutMillis: 1500 })
  await pool.acquire()
  let expired = 0
  const waiters: Promise<void>[] = []
  for (let caller = 0; caller < CALLERS; caller += 1) {
    waiters.push(
      pool.acquire().then(
        () => {},
        () => {
          expired += 1
        },
      ),
    )
  }
  let mostInOneTurn = 0
  let before = 0
  let isOver = false
  const count = (): void => {
    mostInOneTurn = Math.max(mostInOneTurn, expired - before)
    before = expired
    if (!isOver) setImmediate(count)
  }
  count()
  await Promise.all(waiters)
  isOver = true
  count()
  return { expired, mostInOneTurn, pending: pool.pending }
}
