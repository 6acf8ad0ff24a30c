/*
 * A clock and an event loop that take one step at a time: the test decides which comes next, the next timer or a turn of
 * the loop, and whether time passes by a stall.
 */

import type { Clock, EventLoop, Timer } from '../../src/runtime/time/clock.ts'
import { settle } from '../support/clock.ts'

/** Something that will run. */
interface Planned {
  readonly run: () => void
  /** Who has planned it: the stack of that call, and what ran then. Without them timers could not be told apart. */
  readonly site: { stack?: string }
  readonly cause: Planned | undefined
  name: string | undefined
}

interface Due extends Planned {
  readonly at: number
  readonly order: number
}

/** A timer is set by an alarm, for its owner or for a list of deadlines, which is part of a larger part. */
const MOST_FRAMES = 5

/** The parts that plan for others. */
const IS_MIDDLEMAN =
  /^(?:_?(?:Alarm|Deadlines|Hidden)\.|#(?:arm|fire|ringIfDue|end|yield|setAlarm|ring|turn)$|eachTurn$)/

const IS_OWN = /^(?:_?StepClock\.|#run$)/

/** The function for which it was planned. */
function nameOf(planned: Planned): string {
  planned.name ??= callersIn(planned.site.stack ?? '') ?? nameIn(planned.cause)
  return planned.name
}

function nameIn(cause: Planned | undefined): string {
  return cause === undefined ? '?' : nameOf(cause)
}

function callersIn(stack: string): string | undefined {
  for (const [, name = ''] of stack.matchAll(/^ +at (?:async )?(\S+) \(/gm)) {
    // From here on the stack belongs to what was running.
    if (IS_OWN.test(name)) return undefined
    if (!IS_MIDDLEMAN.test(name)) return once(name)
  }
  return undefined
}

/** Each name once: as a part of a stack, it would keep the whole stack. */
const names = new Map<string, string>()

function once(name: string): string {
  const known = names.get(name)
  if (known === undefined) names.set(name, name)
  return known ?? name
}

/** The stack of a call, without the clock's own part. */
function siteOf(above: (...args: never[]) => unknown): { stack?: string } {
  const site = {}
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = MOST_FRAMES
  Error.captureStackTrace(site, above)
  Error.stackTraceLimit = stackTraceLimit
  return site
}

export class StepClock implements Clock {
  #now = 1000
  #order = 0
  #count = 0
  #events = 0
  #isTurning = false
  readonly #timers = new Set<Due>()
  #immediates: (Planned & { readonly turns: number })[] = []
  #running: (Planned & { readonly turns?: number }) | undefined
  readonly #marks = new Set<Planned>()
  /** The names of what the same event planned before, and what has been planned in this event. */
  #known: readonly string[] | undefined
  readonly #planned: Planned[] = []
  #marked: readonly Planned[] = []
  /** For how long the loop has been blocked. */
  stalled = 0

  readonly loop: EventLoop = {
    eachTurn: run => {
      const mark = this.#plan(run, this.loop.eachTurn)
      this.#marks.add(mark)
      return () => this.#marks.delete(mark)
    },
    metrics: () => ({ loopCount: this.#count, events: this.#events }),
  }

  now(): number {
    return this.#now
  }

  after(millis: number, run: () => void): Timer {
    this.#order += 1
    const timer = Object.assign(this.#plan(run, this.after), { at: this.#now + millis, order: this.#order })
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer), hold: () => {} }
  }

  turn(run: () => void): void {
    const turns = this.#isTurning ? (this.#running?.turns ?? 0) + 1 : 0
    this.#immediates.push(Object.assign(this.#plan(run, this.turn), { turns }))
  }

  active(): number {
    return this.stalled
  }

  /** What will run, and who has planned it. Timers as `[for how long they have been due, by whom]`. */
  get plans(): readonly unknown[] {
    const timers = [...this.#timers].sort(byTime).map(timer => [this.#now - timer.at, nameOf(timer)])
    return [timers, this.#immediates.map(each => [nameOf(each), each.turns])]
  }

  /** How often the loop has turned. */
  get turns(): number {
    return this.#count
  }

  /** How many events the poll phases have delivered. */
  get events(): number {
    return this.#events
  }

  /** Who has marked the last turn. */
  get marks(): string {
    return this.#marked.map(nameOf).join()
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
    this.#run(timer)
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
    this.#marked = [...this.#marks]
    for (const mark of this.#marked) mark.run()
    this.#isTurning = true
    for (const immediate of this.#immediates.splice(0)) {
      this.#run(immediate)
      await settle()
    }
    this.#isTurning = false
  }

  /** From here on an event is repeated: as these names are known, no stacks are needed. */
  repeat(names: readonly string[] | undefined): void {
    this.#planned.length = 0
    this.#known = names
  }

  /** @returns the names of all that has been planned since {@link repeat} */
  names(): readonly string[] {
    const known = this.#known
    this.#known = undefined
    if (known === undefined) return this.#planned.map(nameOf)
    if (known.length !== this.#planned.length)
      throw new Error(`equal states, but the same event planned other timers and turns before: ${known}`)
    return known
  }

  #plan(run: () => void, above: (...args: never[]) => unknown): Planned {
    const name = this.#known?.[this.#planned.length]
    const site = name === undefined ? siteOf(above) : {}
    const planned = { run, site, cause: this.#running, name }
    this.#planned.push(planned)
    return planned
  }

  #run(planned: Planned): void {
    this.#running = planned
    planned.run()
    this.#running = undefined
  }

  #next(): Due | undefined {
    let next: Due | undefined
    for (const timer of this.#timers) if (next === undefined || byTime(timer, next) < 0) next = timer
    return next
  }
}

const byTime = (a: Due, b: Due): number => a.at - b.at || a.order - b.order
