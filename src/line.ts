import type { Waiter } from './waiter.ts'

/*
 * Waiters stand in two lists at once: the line of their priority, in order of arrival, and the lane of their timeout,
 * in order of their deadlines. They are the links themselves, so that each enters and leaves at once from anywhere and
 * leaves nothing behind; a queue of marked entries would keep those who are served alive until it is swept.
 */

/** The waiters of one priority, in order of arrival. */
export class Line<T> {
  first: Waiter<T> | undefined = undefined
  last: Waiter<T> | undefined = undefined
  length = 0

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
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    waiter.previous = undefined
    waiter.next = undefined
    this.length -= 1
  }

  *[Symbol.iterator](): Generator<Waiter<T>> {
    for (let waiter = this.first; waiter !== undefined; waiter = waiter.next) yield waiter
  }
}

/** The waiters with one timeout: their deadlines come in the order in which they arrived. */
export class Lane<T> {
  first: Waiter<T> | undefined = undefined
  #last: Waiter<T> | undefined = undefined
  /** Not after the first deadline in the lane; it lags behind when waiters leave in time. */
  due: number
  readonly timeout: number

  constructor(timeout: number, due: number) {
    this.timeout = timeout
    this.due = due
  }

  push(waiter: Waiter<T>): void {
    waiter.lane = this
    waiter.earlier = this.#last
    if (this.#last === undefined) this.first = waiter
    else this.#last.later = waiter
    this.#last = waiter
  }

  remove(waiter: Waiter<T>): void {
    if (waiter.earlier === undefined) this.first = waiter.later
    else waiter.earlier.later = waiter.later
    if (waiter.later === undefined) this.#last = waiter.earlier
    else waiter.later.earlier = waiter.earlier
    waiter.earlier = undefined
    waiter.later = undefined
  }
}
