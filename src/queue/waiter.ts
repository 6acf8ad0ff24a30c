import type { Request } from '../api/acquire-request.ts'
import type { PoolError } from '../api/errors.ts'
import { Grant, type Slot } from '../connections/slot.ts'
import { type Awaiters, answer, Question } from '../nested/awaiters.ts'
import type { Scope } from '../nested/context.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { PriorityList, TimeoutList } from './waiter-lists.ts'

/** Where a waiting acquire is: it leaves `waiting` once, and whoever moves it learns whether it was the one. */
export type WaiterState =
  | 'waiting'
  | 'granted'
  | 'expired'
  | 'aborted'
  | 'refused'
  | 'unhealthy'
  | 'shed'
  | 'deadlocked'
/** What was called; `acquire` gets the connection itself, the others a {@link Grant}. */
export type Call = 'acquire' | 'lease' | 'use'

/** What most waiters do not have: kept apart, as there may be a hundred thousand of them. */
class Particulars<T = unknown> {
  signal: AbortSignal | undefined = undefined
  detached = false
  readonly call: Call
  /** The queue of its priority, if that is not the highest. */
  line: PriorityList<T> | undefined = undefined
  /** Its companions, if its timeout is not the pool's. */
  lane: TimeoutList<T> | undefined = undefined
  earlier: Waiter<T> | undefined = undefined
  later: Waiter<T> | undefined = undefined
  /** Where it was called, if that is known. */
  trace: StackTrace | undefined = undefined
  /** Under `nested: 'forbid'`, the scope of the lease that it waits for. */
  scope: Scope | undefined = undefined
  /** Who awaits it, once it has been asked. */
  awaiters: Awaiters | undefined = undefined
  /** The opening of the breaker during which it came; see {@link Breaker.openings}. */
  breakerOpening: number | undefined = undefined
  /** What it is told when it is sent away to break a deadlock. */
  deadlockError: PoolError | undefined = undefined

  constructor(call: Call) {
    this.call = call
  }
}

/** What waiters without particulars have in common; copied when one of them gets some. */
const COMMON: Readonly<Record<Call, Particulars<never>>> = {
  acquire: Object.freeze(new Particulars<never>('acquire')),
  lease: Object.freeze(new Particulars<never>('lease')),
  use: Object.freeze(new Particulars<never>('use')),
}

type Resolve = (value: unknown) => void

const nobodys: Resolve = () => {}
let latest = nobodys
const keep = (resolve: Resolve): void => {
  latest = resolve
}

/** A promise for the next {@link Waiter} that is made. One function for all: a closure for each would cost as much again. */
export const newPending = <R>(): Promise<R> => new Promise<R>(keep as (resolve: (value: R) => void) => void)

/** Rejects the promise that is resolved with it: so a waiter needs to keep one function of its promise, not two. */
class Failure {
  readonly #error: PoolError

  constructor(error: PoolError) {
    this.#error = error
  }

  // biome-ignore lint/suspicious/noThenProperty: that is what it is for
  then(_fulfil: unknown, reject: (error: PoolError) => void): void {
    reject(this.#error)
  }
}

/** One acquire that waits: 90 bytes, and its promise some 150. */
export class Waiter<T> {
  state: WaiterState = 'waiting'
  /** Since when, in milliseconds of the pool's clock. */
  readonly since: number
  /** Its neighbours in the queue. */
  next: Waiter<T> | undefined = undefined
  previous: Waiter<T> | undefined = undefined
  #particulars: Readonly<Particulars<T>>
  #resolve: Resolve

  /** Fulfils or rejects the latest promise of {@link newPending}. */
  constructor({ signal, detached }: Request, now: number, call: Call) {
    this.since = now
    this.#resolve = latest
    // It holds on to its promise, and with that to the connection.
    latest = nobodys
    this.#particulars = COMMON[call]
    if (signal === undefined && !detached) return
    const { own } = this
    own.signal = signal
    own.detached = detached
  }

  get hasLeft(): boolean {
    return this.state !== 'waiting'
  }

  get priority(): number {
    return this.particulars.line?.priority ?? 0
  }

  /** @param usual - the pool's own timeout */
  deadline(usual: number): number {
    return this.since + (this.particulars.lane?.timeout ?? usual)
  }

  /** What is particular about it, to be read. */
  get particulars(): Readonly<Particulars<T>> {
    return this.#particulars
  }

  /** The same, to be written. */
  get own(): Particulars<T> {
    const { call } = this.#particulars
    if (this.#particulars === COMMON[call]) this.#particulars = new Particulars<T>(call)
    return this.#particulars
  }

  get awaiters(): Awaiters | undefined {
    return this.particulars.awaiters
  }

  /** Looks up who awaits it: known once the microtasks that this queues have run. It goes on waiting, and nobody notices. */
  ask(): void {
    const { own } = this
    const served = newPending<unknown>()
    const resolve = this.#resolve
    this.#resolve = latest
    latest = nobodys
    const isFirst = own.awaiters === undefined
    own.awaiters ??= { chain: undefined }
    resolve(isFirst ? answer(own.awaiters, served) : new Question(served))
  }

  grant(slot: Slot<T>): void {
    this.#resolve(this.#particulars.call === 'acquire' ? slot.lent : new Grant(slot))
  }

  fail(error: PoolError): void {
    this.#resolve(new Failure(error))
  }
}
