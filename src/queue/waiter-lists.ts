import type { Waiter } from './waiter.ts'

/** Waiters with one timeout: their deadlines come in the order in which they arrived. */
export interface TimeoutGroup<T> {
  readonly timeout: number
  /** Whose deadline comes first. */
  readonly soonest: Waiter<T> | undefined
  /** Not after the first deadline, but for those who are spared; it lags behind when waiters leave in time. */
  due: number
  /** Whose deadline comes next after that of one of them. */
  after(waiter: Waiter<T>): Waiter<T> | undefined
}

/**
 * The waiters of one priority, in order of arrival. They are the links themselves, so each enters and leaves at once
 * from anywhere and leaves nothing behind; a queue of marked entries would keep those alive that have been served.
 *
 * Those with the pool's own timeout, mostly all, are a {@link TimeoutGroup} as they stand: their deadlines come in order.
 */
export class PriorityList<T> implements TimeoutGroup<T> {
  first: Waiter<T> | undefined = undefined
  last: Waiter<T> | undefined = undefined
  length = 0
  soonest: Waiter<T> | undefined = undefined
  due = Number.POSITIVE_INFINITY
  /** Whether {@link TimeoutGroup.due} is being looked after. */
  isPlanned = false
  readonly timeout: number
  readonly priority: number

  constructor(priority: number, timeout: number) {
    this.priority = priority
    this.timeout = timeout
  }

  push(waiter: Waiter<T>): void {
    const { last } = this
    waiter.previous = last
    this.last = waiter
    if (last === undefined) this.first = waiter
    else last.next = waiter
    this.length += 1
  }

  remove(waiter: Waiter<T>): void {
    const { previous, next } = waiter
    if (waiter === this.soonest) this.soonest = this.after(waiter)
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    waiter.previous = undefined
    waiter.next = undefined
    this.length -= 1
  }

  /** As only ever the first is removed by way of this, each waiter is passed once: O(1) on average. */
  after(waiter: Waiter<T>): Waiter<T> | undefined {
    let next = waiter.next
    while (next !== undefined && next.particulars.lane !== undefined) next = next.next
    return next
  }

  *[Symbol.iterator](): Generator<Waiter<T>> {
    for (let waiter = this.first; waiter !== undefined; waiter = waiter.next) yield waiter
  }
}

/** The waiters with a timeout of their own that is the same, of whatever priority; linked in the same way. */
export class TimeoutList<T> implements TimeoutGroup<T> {
  soonest: Waiter<T> | undefined = undefined
  #latest: Waiter<T> | undefined = undefined
  due = 0
  readonly timeout: number

  constructor(timeout: number) {
    this.timeout = timeout
  }

  push(waiter: Waiter<T>): void {
    const { own } = waiter
    own.lane = this
    own.earlier = this.#latest
    if (this.#latest === undefined) this.soonest = waiter
    else this.#latest.own.later = waiter
    this.#latest = waiter
  }

  remove(waiter: Waiter<T>): void {
    const { own } = waiter
    if (own.earlier === undefined) this.soonest = own.later
    else own.earlier.own.later = own.later
    if (own.later === undefined) this.#latest = own.earlier
    else own.later.own.earlier = own.earlier
    own.earlier = undefined
    own.later = undefined
  }

  after(waiter: Waiter<T>): Waiter<T> | undefined {
    return waiter.particulars.later
  }
}
