import type { Clock } from '../runtime/time/clock.ts'
import type { Waiter } from './waiter.ts'

/** From this difference on, the time of a wait is corrected. Milliseconds. */
const TOLERANCE_MILLIS = 1

/**
 * The deadlines of the waiters with the default timeout and priority: nearly all. They are due in the order of the
 * queue, so nothing needs to be kept but which waiter is the first. The others are kept in `Deadlines`.
 *
 * It also corrects when these waits began, where the pool takes that time from `Clock.recent`. Such a reading may be as
 * old as the current run of microtasks, and a deadline that counts from it would come too early. When the run is over,
 * the waits that it has brought begin. No timer can fire before that.
 */
export class DefaultWaits<T> {
  /** The first waiter whose deadline is kept here. */
  first: Waiter<T> | undefined = undefined
  readonly #timeout: number
  readonly #clock: Clock
  readonly #afterMicrotasks: Clock['afterMicrotasks']
  /** The first waiter of this run of microtasks; all waiters behind it came in this run, too. */
  #unsettled: Waiter<T> | undefined = undefined
  #isPlanned = false
  readonly #settle = (): void => this.#settleTimes()

  /** @param hasExactTimes - whether waits begin at an exact time already */
  constructor(timeout: number, clock: Clock, hasExactTimes: boolean) {
    this.#timeout = timeout
    this.#clock = clock
    this.#afterMicrotasks = hasExactTimes ? undefined : clock.afterMicrotasks
  }

  /** Is the deadline of this waiter kept here? */
  keeps({ priority, timeout }: Waiter<T>): boolean {
    return priority === 0 && timeout === this.#timeout
  }

  /**
   * Called when a waiter has joined the end of the queue.
   * @returns whether it is the first one
   */
  add(waiter: Waiter<T>): boolean {
    if (this.#afterMicrotasks !== undefined && this.#unsettled === undefined) this.#begin(waiter)
    if (this.first !== undefined) return false
    this.first = waiter
    return true
  }

  /** Called before a waiter leaves the queue, or its deadline is kept elsewhere. */
  remove(waiter: Waiter<T>): void {
    if (waiter === this.#unsettled) this.#unsettled = nextKept(waiter)
    if (waiter === this.first) this.first = nextKept(waiter)
  }

  #begin(first: Waiter<T>): void {
    this.#unsettled = first
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#afterMicrotasks?.(this.#settle)
  }

  #settleTimes(): void {
    const from = this.#unsettled
    this.#isPlanned = false
    this.#unsettled = undefined
    // The time of a test may have moved since then, and is always exact.
    if (from === undefined || this.#clock.isFake?.()) return
    const now = this.#clock.now()
    if (now - from.since < TOLERANCE_MILLIS) return
    for (let each: Waiter<T> | undefined = from; each !== undefined; each = nextKept(each)) each.since = now
  }
}

/** The next waiter whose deadline is kept by the order of the queue. Each waiter is passed over at most once. */
function nextKept<T>({ next }: Waiter<T>): Waiter<T> | undefined {
  let waiter = next
  while (waiter !== undefined && !waiter.isInOrder) waiter = waiter.next
  return waiter
}
