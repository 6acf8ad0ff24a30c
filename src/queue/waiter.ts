import type { Request } from '../api/acquire-request.ts'
import { type Awaiters, answer, Question } from '../nested/awaiters.ts'
import type { LeaseScope } from '../nested/host.ts'
import type { TracedAcquire } from '../runtime/channels.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'

/** The state of an acquire. It leaves `waiting` once; the caller that moves it learns whether it was the first. */
export type WaiterState =
  | 'waiting'
  | 'granted'
  | 'expired'
  | 'aborted'
  | 'refused'
  | 'unhealthy'
  | 'shed'
  | 'deadlocked'

/** What was called; `acquire` gets the connection itself, the others a `Grant`. */
export type Call = 'acquire' | 'lease' | 'use'

type Resolve = (value: unknown) => void

const settled: Resolve = () => {}

/** One acquire that waits. There may be a hundred thousand of them: no field that is not needed. */
export class Waiter<T> {
  state: WaiterState = 'waiting'
  readonly call: Call
  readonly priority: number
  /** Since when, in milliseconds of the pool's clock. */
  readonly since: number
  /** For how long at most, in milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  readonly detached: boolean
  /** Its neighbours in the queue. */
  next: Waiter<T> | undefined = undefined
  previous: Waiter<T> | undefined = undefined
  /** Where it was called, if that is known. */
  trace: StackTrace | undefined = undefined
  /** Under `nested: 'forbid'`, the scope of the lease that it waits for. */
  scope: LeaseScope | undefined = undefined
  /** Who awaits it, once it has been asked. */
  awaiters: Awaiters | undefined = undefined
  /** The opening of the breaker during which it came, see {@link Breaker.openings}; -1: the breaker was closed. */
  breakerOpening = -1
  /** Set while a subscriber traces this acquire; told when the acquire ends. */
  traced: TracedAcquire | undefined = undefined
  /**
   * The error to reject with instead of the queue's own: it breaks a deadlock, or comes from a user of
   * `_waitingClientsQueue`.
   */
  ownError: unknown = undefined
  #resolve: Resolve

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

  /** Looks up who awaits it: known once the microtasks that this queues have run. It goes on waiting, and nobody notices. */
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

  fail(error: unknown): void {
    // The promise is rejected when it is resolved with this. To keep its reject as well would cost 64 bytes a waiter.
    // biome-ignore lint/suspicious/noThenProperty: that is what it is for
    this.#settle({ then: (_: unknown, reject: (error: unknown) => void) => reject(error) })
  }

  /** A waiter that has left must not keep alive what it waited for. */
  #settle(value: unknown): void {
    this.#resolve(value)
    this.#resolve = settled
  }
}
