import type { Request } from '../api/acquire-request.ts'
import { type Awaiters, answer, Question, rejectTo } from '../nested/awaiters.ts'
import type { LeaseScope } from '../nested/host.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { WaitObserver } from './traced-acquire.ts'

/** The state of an acquire. It leaves `waiting` once. The caller that moves it learns whether it was the first. */
export type WaiterState =
  | 'waiting'
  | 'granted'
  | 'expired'
  | 'aborted'
  | 'refused'
  | 'unhealthy'
  | 'shed'
  | 'deadlocked'

/** The method that was called. `acquire` gets the connection itself, the others a `Grant`. */
export type Call = 'acquire' | 'lease' | 'use'

type Resolve = (value: unknown) => void

const settled: Resolve = () => {}

/** One waiting acquire. There may be a hundred thousand of them, so it has no unnecessary field. */
export class Waiter<T> {
  state: WaiterState = 'waiting'
  readonly call: Call
  readonly priority: number
  /** When the wait began, in milliseconds of the pool's clock. `DefaultWaits` may correct it. */
  since: number
  /** How long it may wait, in milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  readonly detached: boolean
  /** Whether its deadline is kept by the order of the queue, see `DefaultWaits`. */
  isInOrder = false
  /** The neighbours in the queue. */
  next: Waiter<T> | undefined = undefined
  previous: Waiter<T> | undefined = undefined
  /** The stack of the acquire call, if it was taken. */
  trace: StackTrace | undefined = undefined
  /** Under `nested: 'forbid'`: the scope for the lease that it waits for. */
  scope: LeaseScope | undefined = undefined
  /** Who awaits it; undefined until somebody has asked. */
  awaiters: Awaiters | undefined = undefined
  /** The number of the breaker's opening (`Breaker.openings`) during which it came; -1 if the breaker was closed. */
  breakerOpening = -1
  /** Set while somebody traces this acquire. It is notified when the acquire ends. */
  traced: WaitObserver | undefined = undefined
  /**
   * The error to reject with instead of the queue's own: it breaks a deadlock, sends the acquire to another pool, or
   * comes from a user of `_waitingClientsQueue`.
   */
  ownError: unknown = undefined
  #resolve: Resolve

  /**
   * There is always this one. When a full garbage collection finds no object of a class, V8 drops the code that it has
   * compiled for it, and the next hundred thousand waiters would take twice the time.
   */
  static readonly kept = new Waiter(
    { priority: 0, timeout: 1, signal: undefined, detached: false },
    0.5,
    'use',
    settled,
  )

  /** @param resolve - settles the promise that the caller of the acquire awaits */
  constructor(request: Request, now: number, call: Call, resolve: Resolve) {
    this.call = call
    this.priority = request.priority
    this.since = now
    this.timeout = request.timeout
    this.signal = request.signal
    this.detached = request.detached
    this.#resolve = resolve
  }

  get hasEnded(): boolean {
    return this.state !== 'waiting'
  }

  /** In milliseconds of the pool's clock. */
  get deadline(): number {
    return this.since + this.timeout
  }

  /**
   * Finds out who awaits it. `awaiters` is up to date once the microtasks queued by this call have run. The waiter
   * keeps waiting, and its caller does not notice.
   */
  ask(): void {
    if (this.hasEnded) return
    const before = this.#resolve
    const served = new Promise<unknown>(resolve => {
      this.#resolve = resolve
    })
    const isFirst = this.awaiters === undefined
    this.awaiters ??= { chain: undefined }
    before(isFirst ? answer(this.awaiters, served) : new Question(served))
  }

  /** @param value - the connection, or the `Grant` of its loan */
  grant(value: unknown): void {
    this.#settle(value)
  }

  /** @param told - is called with the functions that await this acquire, a moment before they get the error */
  fail(error: unknown, told?: (awaiters: StackTrace) => void): void {
    if (told !== undefined) {
      this.#settle(rejectTo(told, error))
      return
    }
    // Resolving a promise with this object rejects it. Keeping its reject function too would cost 64 bytes per waiter.
    // biome-ignore lint/suspicious/noThenProperty: the promise calls this method
    this.#settle({ then: (_: unknown, reject: (error: unknown) => void) => reject(error) })
  }

  /** Drops the resolve function: a waiter that has left must not keep its caller's objects alive. */
  #settle(value: unknown): void {
    this.#resolve(value)
    this.#resolve = settled
  }
}
