/*
 * The injected clock that stands still until the test moves it, timer by timer, with turns of the loop and stalls. For
 * thousands of timers there is the JumpingClock.
 */

import type { Clock, Timer } from '../../src/runtime/time/clock.ts'

interface Pending {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** Lets every promise that can settle without time passing settle. */
export const settle = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** A clock that stands still until the test moves it. Timers run one by one, each followed by what it set off. */
export class FakeClock implements Clock {
  #now = 1000
  #stalled = 0
  #order = 0
  readonly #timers = new Set<Pending>()
  readonly #turns: (() => void)[] = []
  /** What the poll phase delivers once the loop turns again, before the immediates run. */
  beforeTurns: () => void = () => {}

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size
  }

  /** When each timer is due, for a message. */
  describe(): string {
    return [...this.#timers].map(timer => `in ${timer.at - this.#now} ms`).join(', ')
  }

  now(): number {
    return this.#now
  }

  /** How many timers have ever been set. */
  get timersSet(): number {
    return this.#order
  }

  after(millis: number, run: () => void): Timer {
    this.#order += 1
    const timer: Pending = { at: this.#now + millis, order: this.#order, run }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer), hold: () => {} }
  }

  turn(run: () => void): void {
    this.#turns.push(run)
  }

  /** The loop waits for events, but for when it stands still. */
  active(): number {
    return this.#stalled
  }

  /** Moves time on; whatever becomes due on the way runs at its own time. */
  async advance(millis: number): Promise<void> {
    await this.#turn()
    const target = this.#now + millis
    for (let next = this.#next(target); next !== undefined; next = this.#next(target)) {
      this.#now = Math.max(this.#now, next.at)
      await this.#fire(next)
    }
    this.#now = target
    await this.#turn()
  }

  /** The event loop stands still: time passes, and what was due meanwhile fires late, all in one go. */
  async stall(millis: number): Promise<void> {
    this.#now += millis
    this.#stalled += millis
    for (let next = this.#next(this.#now); next !== undefined; next = this.#next(this.#now))
      await this.#fire(next)
  }

  /** A callback computes for so long: time passes, and no timer fires before it ends. */
  compute(millis: number): void {
    this.#now += millis
    this.#stalled += millis
  }

  async #fire(timer: Pending): Promise<void> {
    this.#timers.delete(timer)
    timer.run()
    await this.#turn()
  }

  /** Microtasks, then a turn of the loop for as long as somebody asks for one. */
  async #turn(): Promise<void> {
    await settle()
    while (this.#turns.length > 0) {
      this.beforeTurns()
      await settle()
      for (const run of this.#turns.splice(0)) run()
      await settle()
    }
  }

  #next(until: number): Pending | undefined {
    let first: Pending | undefined
    for (const timer of this.#timers) {
      if (timer.at > until) continue
      if (
        first === undefined ||
        timer.at < first.at ||
        (timer.at === first.at && timer.order < first.order)
      ) {
        first = timer
      }
    }
    return first
  }
}

/** A clock with cheap readings, as the system's has: they are as old as the current run of microtasks. */
export class CoarseClock extends FakeClock {
  #recent: number | undefined
  readonly #forget = (): void => {
    this.#recent = undefined
  }

  readonly recent = (): number => {
    if (this.#recent === undefined) {
      this.#recent = this.now()
      process.nextTick(this.#forget)
    }
    return this.#recent
  }

  readonly afterMicrotasks = (run: () => void): void => process.nextTick(run)
}
