import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import { Codel } from './codel.ts'
import type { Waiter } from './waiter.ts'

/** What the shedder needs from the queue. */
interface ShedQueue<T> {
  readonly waiting: number
  /** The waiter that has waited longest, of any priority: one of low priority stands behind all others. */
  oldest(): Waiter<T> | undefined
  /** The waiters of each priority, oldest first. */
  readonly lists: readonly Iterable<Waiter<T>>[]
  /** Rejects these waiters. */
  shed(group: readonly Waiter<T>[]): void
}

/** Applies {@link Codel} to the queue of a pool. Costs O(1) per waiter, and nothing while no acquire waits. */
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

  /** Should the youngest waiter be served first? Only while there is a standing queue. */
  get takesYoungest(): boolean {
    return this.#lifo && this.#codel.isSlow
  }

  /** Called when the first waiter joins an empty queue. */
  queueStarted(now: number): void {
    this.#codel.emptied()
    this.#poll.set(now + this.#interval)
  }

  /** Called when a connection is ready to be lent: rejects the waiters that have waited too long. */
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

  /** Needed when no connection comes back at all, because {@link dequeue} is never called then. */
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

  /** Time in which the event loop was blocked does not count as queue delay. */
  #delay(waiter: Waiter<T>, now: number): number {
    return now - waiter.since - this.#stalls.since(waiter.since)
  }
}
