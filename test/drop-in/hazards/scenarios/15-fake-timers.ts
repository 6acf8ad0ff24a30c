import { CountingFactory, settledWithin, turns } from '../../../support/factories.ts'
import { type CreatePool, ending, type Facts } from '../scenario.ts'

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
export async function run(createPool: CreatePool): Promise<Facts> {
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
