import { systemClock, type Timer, timestamp } from '../../runtime/time/clock.ts'
import type { Painter } from './cells.ts'
import { History, type PoolLook } from './history.ts'
import { Screen, type Terminal } from './screen.ts'
import type { Source } from './source.ts'
import { linesOf, type Page } from './view.ts'

/** From one question to the next. Milliseconds. */
const EVERY_MILLIS = 1000
/** A process that takes long to answer is asked less often, so that it never spends more than a twentieth on this. */
const REST = 20
const LONGEST_REST_MILLIS = 60_000
/** An answer that takes longer than this is said to be missing. Milliseconds. */
const LATE_MILLIS = 2500

const PAGES: Readonly<Record<string, Page>> = { h: 'holders', e: 'events', a: 'all' }
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const

/** Of the universal time, as in logs. */
export const timeOfDay = (): string => `${timestamp().slice(11, 19)}Z`

/** The view that goes on until somebody quits. @returns the exit code, and what to print then */
export class Live {
  readonly #source: Source
  readonly #paint: Painter
  readonly #screen: Screen
  readonly #history = new History()
  #pools: PoolLook[] = []
  #selected = 0
  #page: Page = 'all'
  #asOf = ''
  #askedAt: number | undefined
  #failure: string | undefined
  #timer: Timer | undefined
  #end: (how: { code: number; text: string }) => void = () => {}
  #fail: (error: unknown) => void = () => {}

  constructor(source: Source, terminal: Terminal, paint: Painter) {
    this.#source = source
    this.#paint = paint
    this.#screen = new Screen(
      terminal,
      key => this.#onKey(key),
      () => this.#draw(),
    )
    // The terminal has gone, or what it was piped into.
    terminal.output.on('error', () => this.#end({ code: 1, text: '' }))
  }

  async run(): Promise<{ code: number; text: string }> {
    const ended = new Promise<{ code: number; text: string }>((resolve, reject) => {
      this.#end = resolve
      this.#fail = reject
    })
    const signals = Object.entries(SIGNALS).map(([signal, number]) => {
      const quit = (): void => this.#end({ code: 128 + number, text: '' })
      process.on(signal, quit)
      return () => process.off(signal, quit)
    })
    const onContinue = (): void => {
      this.#screen.enter()
      this.#draw()
    }
    process.on('SIGCONT', onContinue)
    try {
      this.#screen.enter()
      this.#draw()
      void this.#ask()
      return await ended
    } finally {
      this.#timer?.cancel()
      this.#screen.leave()
      process.off('SIGCONT', onContinue)
      for (const off of signals) off()
    }
  }

  async #ask(): Promise<void> {
    const asked = systemClock.now()
    this.#askedAt = asked
    // While there is no answer, the view says so.
    this.#later(LATE_MILLIS, () => this.#watchLate())
    try {
      const reports = await this.#source.read()
      const now = systemClock.now()
      this.#pools = this.#history.add(reports, now)
      this.#asOf = timeOfDay()
      this.#failure = undefined
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error)
    }
    this.#askedAt = undefined
    if (this.#source.isGone()) {
      this.#end({ code: 0, text: `${this.#source.what} has ended\n` })
      return
    }
    this.#draw()
    const took = systemClock.now() - asked
    const rest = Math.min(Math.max(EVERY_MILLIS - took, took * REST), LONGEST_REST_MILLIS)
    this.#later(rest, () => void this.#ask())
  }

  #watchLate(): void {
    if (this.#source.isGone()) {
      this.#end({ code: 0, text: `${this.#source.what} has ended\n` })
      return
    }
    this.#draw()
    this.#later(EVERY_MILLIS, () => this.#watchLate())
  }

  #later(millis: number, run: () => void): void {
    this.#timer?.cancel()
    this.#timer = systemClock.after(millis, run)
    this.#timer.hold(true)
  }

  #onKey(key: string): void {
    const last = Math.max(this.#pools.length - 1, 0)
    if (key === 'q' || key === 'Q') this.#end({ code: 0, text: '' })
    else if (key === 'suspend') this.#suspend()
    else if (key === 'up' || key === 'k') this.#selected = Math.max(this.#selected - 1, 0)
    else if (key === 'down' || key === 'j') this.#selected = Math.min(this.#selected + 1, last)
    else if (/^[1-9]$/.test(key)) this.#selected = Math.min(Number(key) - 1, last)
    else if (PAGES[key] !== undefined) this.#page = this.#page === PAGES[key] ? 'all' : PAGES[key]
    else return
    this.#draw()
  }

  #suspend(): void {
    this.#screen.leave()
    process.kill(process.pid, 'SIGTSTP')
  }

  #draw(): void {
    try {
      this.#screen.draw(this.#lines())
    } catch (error) {
      // An exception that nobody catches would be printed on the screen that is about to go.
      this.#fail(error)
    }
  }

  #lines(): string[] {
    const late = this.#askedAt === undefined ? 0 : systemClock.now() - this.#askedAt
    const trouble =
      late > LATE_MILLIS
        ? `NO ANSWER FOR ${Math.round(late / 1000)} s, is its event loop blocked?`
        : this.#failure
    const model = {
      ...{ what: this.#source.what, pools: this.#pools, selected: this.#selected, page: this.#page },
      ...{ asOf: this.#asOf, trouble, isLive: true },
    }
    return linesOf(model, this.#screen.size, this.#paint)
  }
}
