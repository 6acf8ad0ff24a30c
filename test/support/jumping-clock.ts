/*
 * The injected clock for tests with thousands of timers: it jumps from one due time to the next. Where a test looks at
 * single timers, turns or stalls, use the FakeClock of clock.ts.
 */

import type { Clock, Timer } from '../../src/runtime/time/clock.ts'

interface Due {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

/**
 * A clock for thousands of timers in one test: it jumps from one due time to the next, and lets every promise settle
 * that can, before it goes on.
 */
export class JumpingClock implements Clock {
  #now = 1000
  #order = 0
  readonly #heap: Due[] = []
  #turns: (() => void)[] = []

  now(): number {
    return this.#now
  }

  after(millis: number, run: () => void): Timer {
    this.#order += 1
    const due: Due = { at: this.#now + millis, order: this.#order, run }
    this.#push(due)
    return {
      cancel: () => {
        due.run = undefined
      },
      hold: () => {},
    }
  }

  turn(run: () => void): void {
    this.#turns.push(run)
  }

  active(): undefined {}

  readonly sleep = (millis: number): Promise<void> =>
    new Promise(resolve => {
      this.after(millis, resolve)
    })

  /** Moves time on by so many milliseconds, unless there is nothing left to happen before. */
  async advance(millis: number, until: () => boolean = () => false): Promise<void> {
    const target = this.#now + millis
    await this.#settle()
    for (let next = this.#heap[0]; next !== undefined && next.at <= target; next = this.#heap[0]) {
      if (until()) return
      this.#now = Math.max(this.#now, next.at)
      while (this.#heap[0] !== undefined && this.#heap[0].at <= this.#now) this.#pop().run?.()
      await this.#settle()
    }
    if (!until()) this.#now = target
  }

  async #settle(): Promise<void> {
    do {
      await new Promise(resolve => setImmediate(resolve))
      const turns = this.#turns
      this.#turns = []
      for (const run of turns) run()
      if (turns.length > 0) await new Promise(resolve => setImmediate(resolve))
    } while (this.#turns.length > 0)
  }

  #push(due: Due): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(due)
    while (at > 0) {
      const above = (at - 1) >> 1
      if (before(heap[above] as Due, due)) break
      heap[at] = heap[above] as Due
      at = above
    }
    heap[at] = due
  }

  #pop(): Due {
    const heap = this.#heap
    const first = heap[0] as Due
    const last = heap.pop() as Due
    if (heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Due, heap[child] as Due)) child += 1
      if (before(last, heap[child] as Due)) break
      heap[at] = heap[child] as Due
      at = child
    }
    heap[at] = last
    return first
  }
}

const before = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)
