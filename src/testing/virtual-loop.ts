import type { Clock, EventLoop, Timer } from '../runtime/time/clock.ts'
import { setRealImmediate } from '../runtime/time/fake-timers.ts'

/** Something that will happen at a time: a timer, or an event outside the process. */
interface Due {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** The first to happen: by time, then in the order in which they were planned. */
function firstOf(all: Iterable<Due>, until: number): Due | undefined {
  let first: Due | undefined
  for (const due of all) {
    if (due.at > until) continue
    if (first === undefined || due.at < first.at || (due.at === first.at && due.order < first.order))
      first = due
  }
  return first
}

/**
 * Lets everything settle that waits for no event: microtasks and `process.nextTick`, in Node's own order. One real turn
 * is enough, because a real immediate runs only when both queues are empty.
 */
const settled = (): Promise<void> =>
  new Promise(resolve =>
    setRealImmediate === undefined ? queueMicrotask(resolve) : setRealImmediate(resolve),
  )

/**
 * An event loop in virtual time, with the phases of Node's. Time stands still while callbacks run, and jumps to the next
 * event when the loop would wait.
 *
 *     timers ──► poll: waits for events, then handles those that are ready ──► check: marks, immediates ──► closing
 *     ▲                                                                                                     │
 *     └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * What happens outside of the process (packets, other processes) is planned with {@link outside}. It happens at its time
 * even while the loop is blocked; the loop learns of it in its next poll phase, by {@link ready}.
 */
export class VirtualLoop implements Clock {
  #now = 0
  #busy = 0
  #order = 0
  #count = 0
  #events = 0
  readonly #timers = new Set<Due>()
  readonly #outside = new Set<Due>()
  #ready: (() => void)[] = []
  #immediates: (() => void)[] = []
  #closing: (() => void)[] = []
  readonly #marks = new Set<() => void>()
  /** Called after each callback, once everything has settled. */
  afterStep: () => void = () => {}

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

  active(): number {
    return this.#busy
  }

  after(millis: number, run: () => void): Timer {
    const timer = this.#due(millis, run)
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer), hold: () => {} }
  }

  turn(run: () => void): void {
    this.#immediates.push(run)
  }

  /** Plans an event outside of the process. It must not run code of the process under test. */
  outside(millis: number, run: () => void): () => void {
    const event = this.#due(millis, run)
    this.#outside.add(event)
    return () => void this.#outside.delete(event)
  }

  /** The next poll phase calls this. */
  ready(run: () => void): void {
    this.#ready.push(run)
  }

  /** The closing phase of this turn, or of the next one, calls this. */
  closing(run: () => void): void {
    this.#closing.push(run)
  }

  /** Synchronous work of so many milliseconds: time passes, and the process does nothing else. */
  block(millis: number): void {
    this.suspend(millis)
    this.#busy += millis
  }

  /** The process gets no CPU for so long. Its loop does not count that as work. */
  suspend(millis: number): void {
    this.#moveTo(this.#now + millis)
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size
  }

  /** Runs until this time, or until the condition holds. */
  async runUntil(until: number, isOver: () => boolean = () => false): Promise<'over' | 'idle'> {
    await this.#settle()
    while (!isOver()) {
      if (!(await this.#turn(until, isOver))) return 'idle'
    }
    return 'over'
  }

  /** @returns false if nothing is left to happen until then */
  async #turn(until: number, isOver: () => boolean): Promise<boolean> {
    // What these timers set waits for the next turn.
    const last = this.#order
    for (let due = this.#dueUntil(last); due !== undefined; due = this.#dueUntil(last)) {
      this.#timers.delete(due)
      await this.#call(due.run)
      if (isOver()) return true
    }
    this.#count += 1
    const isLeft = this.#wait(until)
    await this.#runAll(this.#take(this.#ready), true)
    await this.#check()
    await this.#runAll(this.#take(this.#closing))
    return isLeft
  }

  #dueUntil(order: number): Due | undefined {
    const due = firstOf(this.#timers, this.#now)
    return due === undefined || due.order > order ? undefined : due
  }

  /** The beginning of the poll phase: waits for the next event, if there is nothing to do. */
  #wait(until: number): boolean {
    this.#moveTo(this.#now)
    while (this.#ready.length + this.#immediates.length + this.#closing.length === 0) {
      const timer = firstOf(this.#timers, until)
      const event = firstOf(this.#outside, until)
      const at = Math.min(timer?.at ?? Number.POSITIVE_INFINITY, event?.at ?? Number.POSITIVE_INFINITY)
      if (at === Number.POSITIVE_INFINITY) {
        if (until !== Number.POSITIVE_INFINITY) this.#moveTo(until)
        return false
      }
      this.#moveTo(at)
      if (timer?.at === at) return true
    }
    return true
  }

  async #check(): Promise<void> {
    for (const mark of this.#marks) mark()
    await this.#runAll(this.#take(this.#immediates))
  }

  async #runAll(runs: readonly (() => void)[], areEvents = false): Promise<void> {
    for (const run of runs) {
      if (areEvents) this.#events += 1
      await this.#call(run)
    }
  }

  /** What is there now: what comes while it runs waits for the next turn. */
  #take(list: (() => void)[]): readonly (() => void)[] {
    return list.splice(0)
  }

  async #call(run: () => void): Promise<void> {
    run()
    await this.#settle()
    this.afterStep()
  }

  async #settle(): Promise<void> {
    await settled()
  }

  /** Time passes, and with it what happens outside. */
  #moveTo(time: number): void {
    for (
      let event = firstOf(this.#outside, time);
      event !== undefined;
      event = firstOf(this.#outside, time)
    ) {
      this.#outside.delete(event)
      this.#now = Math.max(this.#now, event.at)
      event.run()
    }
    this.#now = Math.max(this.#now, time)
  }

  #due(millis: number, run: () => void): Due {
    this.#order += 1
    return { at: this.#now + Math.max(millis, 0), order: this.#order, run }
  }
}
