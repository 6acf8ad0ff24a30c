import type { ResolvedOptions } from '../api/resolve-options.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import { Codel } from './codel.ts'
import type { Waiter } from './waiter.ts'

/** What the shedder needs of the queue. */
export interface ShedQueue<T> {
  readonly waiting: number
  /** The waiter that has waited longest, of any priority: those of a low priority stand behind all others. */
  oldest(): Waiter<T> | undefined
  /** Those of each priority, oldest first. */
  readonly lists: readonly Iterable<Waiter<T>>[]
  /** Rejects these waiters. */
  shed(group: readonly Waiter<T>[]): void
}

/** Applies {@link Codel} to the queue of a pool. It costs O(1) a waiter, and nothing while no acquire waits. */
export class LoadShedder<T> {
  readonly #codel: Codel
  readonly #lifo: boolean
  readonly #queue: ShedQueue<T>
  readonly #interval: number
  readonly #clock: Clock
  readonly #poll: Alarm
  readonly #stalls: Stalls
  #served = false

  constructor(
    options: NonNullable<ResolvedOptions['shedding']>,
    queue: ShedQueue<T>,
    clock: Clock,
    stalls: Stalls,
  ) {
    this.#codel = new Codel(options.targetMillis, options.intervalMillis)
    this.#lifo = options.order === 'lifo'
    this.#interval = options.intervalMillis
    this.#queue = queue
    this.#clock = clock
    this.#stalls = stalls
    this.#poll = new Alarm(clock, () => this.#check(), stalls)
  }

  /** Is the youngest waiter to be served first? Only while there is a standing queue. */
  get takesYoungest(): boolean {
    return this.#lifo && this.#codel.isSlow
  }

  /** The first waiter joins an empty queue. */
  queueStarted(now: number): void {
    this.#codel.emptied()
    if (!this.#poll.isSet) this.#poll.set(now + this.#interval)
  }

  /** A connection is ready to be lent. Rejects the waiters that have waited too long for it. */
  dequeue(now: number): void {
    this.#served = true
    const first = this.#queue.oldest()
    if (first === undefined) return
    const limit = this.#codel.dequeue(now, this.#delay(first, now))
    this.#shed(now, limit)
  }

  stop(): void {
    this.#poll.clear()
  }

  /** Where no connection comes back at all, {@link dequeue} is never called. */
  #check(): void {
    const first = this.#queue.oldest()
    if (first === undefined) return
    const now = this.#clock.now()
    if (!this.#served) this.#shed(now, this.#codel.stuck(now, this.#delay(first, now)))
    this.#served = false
    this.#poll.set(now + this.#interval)
  }

  #shed(now: number, limit: number): void {
    if (limit === Number.POSITIVE_INFINITY) return
    const group: Waiter<T>[] = []
    for (const line of this.#queue.lists) {
      for (const waiter of line) {
        if (this.#delay(waiter, now) <= limit) break
        group.push(waiter)
      }
    }
    if (group.length === 0) return
    if (this.#lifo) this.#codel.dropped()
    this.#queue.shed(group)
  }

  /** Time for which the event loop stood still is not queue delay. */
  #delay(waiter: Waiter<T>, now: number): number {
    return now - waiter.since - this.#stalls.since(waiter.since)
  }
}
