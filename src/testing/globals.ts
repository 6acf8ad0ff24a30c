import type { Timer } from '../runtime/time/clock.ts'
import type { VirtualLoop } from './virtual-loop.ts'

/** The time of day at which every simulation begins. */
const MIDNIGHT = Date.UTC(2026, 0, 1)

type Callback = (...given: unknown[]) => void

/** What the simulated `setTimeout` returns. */
class VirtualTimeout {
  readonly #loop: VirtualLoop
  readonly #millis: number
  readonly #run: () => void
  readonly #repeats: boolean
  #timer: Timer | undefined
  #isReferenced = true

  constructor(loop: VirtualLoop, millis: number, run: () => void, repeats: boolean) {
    this.#loop = loop
    this.#millis = millis >= 1 ? millis : 1
    this.#run = run
    this.#repeats = repeats
    this.refresh()
  }

  refresh(): this {
    this.#timer?.cancel()
    this.#timer = this.#loop.after(this.#millis, () => {
      this.#timer = undefined
      if (this.#repeats) this.refresh()
      this.#run()
    })
    return this
  }

  close(): this {
    this.#timer?.cancel()
    this.#timer = undefined
    return this
  }

  ref(): this {
    this.#isReferenced = true
    return this
  }

  unref(): this {
    this.#isReferenced = false
    return this
  }

  hasRef(): boolean {
    return this.#isReferenced
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

const clear = (timer: unknown): void => {
  if (timer instanceof VirtualTimeout) timer.close()
}

function virtualGlobals(loop: VirtualLoop): Record<string, unknown> {
  const timer =
    (repeats: boolean) =>
    (run: Callback, millis?: number, ...given: unknown[]) =>
      new VirtualTimeout(loop, Number(millis ?? 1), () => run(...given), repeats)
  const timeOfDay = (): number => Math.floor(MIDNIGHT + loop.now())
  class VirtualDate extends Date {
    constructor(...given: []) {
      if (given.length === 0) super(timeOfDay())
      else super(...given)
    }

    static override now(): number {
      return timeOfDay()
    }
  }
  return {
    setTimeout: timer(false),
    setInterval: timer(true),
    clearTimeout: clear,
    clearInterval: clear,
    setImmediate: (run: Callback, ...given: unknown[]) => {
      const immediate = { isCleared: false, ref: () => immediate, unref: () => immediate, hasRef: () => true }
      loop.turn(() => {
        if (!immediate.isCleared) run(...given)
      })
      return immediate
    },
    clearImmediate: (immediate: { isCleared?: boolean } | null | undefined) => {
      if (immediate !== null && immediate !== undefined) immediate.isCleared = true
    },
    Date: VirtualDate,
  }
}

/** Replaces properties of an object. @returns a function that puts back what was there */
function replace(target: object, properties: Record<string, unknown>): () => void {
  const before = Object.keys(properties).map(
    name => [name, Object.getOwnPropertyDescriptor(target, name)] as const,
  )
  for (const [name, value] of Object.entries(properties))
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: true })
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, descriptor)
    }
  }
}

/**
 * Replaces the process's timers, dates, `performance.now` and `AbortSignal.timeout` by those of the loop.
 *
 * @returns a function that puts Node's own back
 */
export function replaceGlobals(loop: VirtualLoop): () => void {
  const timeout = (millis: number): AbortSignal => {
    const abort = new AbortController()
    loop.after(millis, () => abort.abort(new DOMException('The operation timed out', 'TimeoutError')))
    return abort.signal
  }
  const undo = [
    replace(globalThis, virtualGlobals(loop)),
    replace(performance, { now: () => loop.now() }),
    replace(AbortSignal, { timeout }),
  ]
  return () => {
    for (const each of undo) each()
  }
}
