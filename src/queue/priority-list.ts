import type { Waiter } from './waiter.ts'

/**
 * The waiters of one priority, in order of arrival. The waiters themselves are the links of the list, so one can enter
 * or leave at any place in O(1), without a further object.
 */
export class PriorityList<T> {
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
