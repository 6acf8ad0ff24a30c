/*
 * A clock and an event loop that take one step at a time: the test decides which comes next, the next timer or a turn of
 * the loop, and whether time passes by a stall.
 */

import type { Clock, EventLoop, Timer } from '../../src/runtime/time/clock.ts'
import { settle } from '../support/clock.ts'

interface Due {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class StepClock implements Clock {
  #now = 1000
  #order = 0
  #count = 0
  #events = 0
  readonly #timers = new Set<Due>()
  #immediates: (() => void)[] = []
  readonly #marks = new Set<() => void>()
  /** For how long the loop has been blocked. */
  stalled = 0

  readonly loop: EventLoop = {
    eachTurn: run => {
      this.#marks.add(run)
      return () => this.#marks.delete(run)
    },
    metrics: () => ({ loopCount: this.#count, events: this.#events }),
  }

  now(): number {
    return this.#now
  }

  after(millis: number, run: () => void): Timer {
    this.#order += 1
    const timer = { at: this.#now + millis, order: this.#order, run }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer), hold: () => {} }
  }

  turn(run: () => void): void {
    this.#immediates.push(run)
  }

  active(): number {
    return this.stalled
  }

  get turnsPending(): number {
    return this.#immediates.length
  }

  /** When the timers are due, in their order. */
  get due(): number[] {
    return [...this.#timers].map(({ at }) => at).sort((a, b) => a - b)
  }

  /** When the next timer fires: when it is due, or now if that has passed. */
  get nextAt(): number {
    return Math.max(this.#next()?.at ?? Number.POSITIVE_INFINITY, this.#now)
  }

  fire(): void {
    const timer = this.#next()
    if (timer === undefined) throw new Error('no timer is set')
    this.#timers.delete(timer)
    this.#now = Math.max(this.#now, timer.at)
    timer.run()
  }

  /** Nothing happens until then. */
  idleUntil(at: number): void {
    if (Number.isFinite(at)) this.#now = Math.max(this.#now, Math.min(at, this.nextAt))
  }

  /** The loop is blocked for so long. */
  stall(millis: number): void {
    this.#now += millis
    this.stalled += millis
  }

  /** A poll phase and a check phase. */
  async turnLoop(poll: () => number): Promise<void> {
    this.#count += 1
    this.#events += poll()
    await settle()
    for (const mark of this.#marks) mark()
    for (const run of this.#immediates.splice(0)) {
      run()
      await settle()
    }
  }

  #next(): Due | undefined {
    let next: Due | undefined
    for (const timer of this.#timers)
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        next = timer
    return next
  }
}
