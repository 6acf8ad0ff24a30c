import type { WaitQueue } from './wait-queue.ts'
import type { Waiter } from './waiter.ts'

/** A waiting acquire, as generic-pool's users see it. */
interface WaitingClient {
  reject(reason: unknown): void
}

/**
 * The part of generic-pool's queue that other packages access. In a listener of `factoryCreateError`, they take
 * acquires from it to make them fail at once. An acquire that is taken but not rejected keeps waiting, and is served or
 * refused like any other.
 */
export class WaitingClients<T> {
  readonly #queue: WaitQueue<T>
  readonly #taken = new WeakSet<Waiter<T>>()

  constructor(queue: WaitQueue<T>) {
    this.#queue = queue
  }

  get length(): number {
    return this.#queue.waiting
  }

  /** The first acquire that has not been taken yet; undefined if there is none. */
  dequeue(): WaitingClient | undefined {
    for (const list of this.#queue.lists) {
      for (const waiter of list) {
        if (this.#taken.has(waiter)) continue
        this.#taken.add(waiter)
        return { reject: reason => this.#reject(waiter, reason) }
      }
    }
    return undefined
  }

  #reject(waiter: Waiter<T>, reason: unknown): void {
    if (waiter.hasEnded) return
    waiter.ownError = reason ?? new Error('taken from the queue of the pool, and rejected without a reason')
    this.#queue.reject(waiter)
  }
}
