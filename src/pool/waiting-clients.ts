import type { WaitQueue } from '../queue/wait-queue.ts'
import type { Waiter } from '../queue/waiter.ts'

/** An acquire that waits, as generic-pool's users see it. */
export interface WaitingClient {
  reject(reason: unknown): void
}

/**
 * generic-pool's queue of acquires, as far as its users reach into it: packages take from it, in a listener of
 * `factoryCreateError`, whom they want to fail at once. One that is taken and not rejected goes on waiting, and is served
 * or refused like any other.
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

  /** The first that has not been taken yet; undefined: there is none. */
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
