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
export async function run(createPool: CreatePool): Promise<Facts> {
  const pool = createPool(new CountingFactory(), { max: 1, acquireTimeoutMillis: 40, Promise: LatePromise })
  const resource = await pool.acquire()
  const waiter = pool.acquire()
  waiter.catch(() => {})
  // Same delay, started right after the waiter's own timer, and both overdue when the loop turns: they run in one turn,
  // this one second.
  const given = new Promise<void>(resolve =>
    setTimeout(() => {
      pool.release(resource).catch(() => {})
      resolve()
    }, 40),
  )
  block(60)
  await given
  const waited = await settledWithin(waiter, 500)
  // Which of the two timers comes first is a matter of microseconds; both outcomes are right.
  if (waited.state === 'fulfilled') pool.release(waited.value).catch(() => {})
  await turns(5)
  const { pending } = pool
  const next = await settledWithin(pool.acquire(), 500)
  return { waiter: ending(waited), pending, next: ending(next) }
}
