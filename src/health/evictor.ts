import type { House } from '../connecting/connector.ts'
import { idleCheckPeriod, outstays, retirePeriod, tooIdle } from '../connections/lifetime.ts'
import type { Slot } from '../connections/slot.ts'
import type { Lending } from '../pool/lending.ts'
import { Alarm } from '../runtime/clock.ts'
import type { Upkeep } from './background-validation.ts'

/** Longest work of one run, and the pause before the next when there is more. Milliseconds. */
const RUN_MILLIS = 0.5
const REST_MILLIS = 25
/** Pause before a question to the server that found no idle connection is tried again. Milliseconds. */
const ASK_AGAIN_MILLIS = 100

/** Looks at idle connections from time to time, and ends those whose time is over. Holds no process alive. */
export class Sweep<T> {
  readonly #house: House<T>
  readonly #lending: Lending<T>
  readonly #upkeep: Upkeep<T>
  readonly #alarm: Alarm
  #started = false
  /** When idle connections are next tested as generic-pool does it, and when for lifetime and the server's limit. */
  #evictAt = Number.POSITIVE_INFINITY
  #askedIn: number | undefined

  constructor(house: House<T>, lending: Lending<T>, upkeep: Upkeep<T>) {
    this.#house = house
    this.#lending = lending
    this.#upkeep = upkeep
    this.#alarm = new Alarm(house.clock, () => this.#run(), house.bounds.onStall)
  }

  /** The timer of the next run, if one is planned. */
  get planned(): object | null {
    return this.#alarm.isSet ? this.#alarm : null
  }

  /** Is the server still to be asked for its idle limit? Once in every generation. */
  get owesQuestion(): boolean {
    const { factory, options } = this.#house
    return (
      this.#started &&
      this.#askedIn !== this.#lending.supply.generation &&
      factory.serverIdleTimeout !== undefined &&
      options.serverIdleTimeoutMillis === 'auto' &&
      options.halfClose === 'on'
    )
  }

  start(): void {
    this.#started = true
    this.#evictAt = this.#house.clock.now() + idleCheckPeriod(this.#house.options)
    this.plan()
  }

  /** Sets the alarm for whatever is due first. Call it when something new may be. */
  plan(): void {
    if (!this.#started) return
    const { clock, options, limit, roster } = this.#house
    const now = clock.now()
    const retireAt = now + retirePeriod(options, limit.period)
    const askAt = this.owesQuestion && roster.alive > 0 ? now + ASK_AGAIN_MILLIS : Number.POSITIVE_INFINITY
    const next = Math.min(this.#evictAt, retireAt, askAt)
    if (Number.isFinite(next)) this.#alarm.set(next)
  }

  stop(): void {
    this.#started = false
    this.#alarm.clear()
  }

  #run(): void {
    const { clock, options } = this.#house
    const now = clock.now()
    if (now >= this.#evictAt) {
      this.#evict(now)
      this.#evictAt = now + idleCheckPeriod(options)
    }
    this.#retire(now)
    if (this.owesQuestion) this.#ask()
    this.plan()
  }

  /** The longest idle come first, as many as one run may test. */
  #evict(now: number): void {
    const { options, roster } = this.#house
    const all = roster.idleSlots()
    // A period of the pool's own making comes without a number of tests that would fit it.
    const tests = options.evictionRunIntervalMillis > 0 ? options.numTestsPerEvictionRun : all.length
    for (const slot of all.slice(0, tests)) {
      if (slot.state !== 'idle') continue
      const spare = roster.census.idle > options.min
      if (tooIdle(slot, now, options, spare)) this.#lending.supply.discard(slot, 'idle')
    }
  }

  /** Some of those whose lifetime is over, or that the server is about to close: never all in one go. */
  #retire(now: number): void {
    const { clock, options, roster, limit } = this.#house
    let left = Math.max(Math.ceil(roster.census.idle / 8), 1)
    let tester = limit.isDoubted(now)
    for (const slot of roster.idleSlots()) {
      if (slot.state !== 'idle') continue
      const old = now >= slot.retireAt
      if (!old && !outstays(slot, now, limit.retireAfter)) continue
      if (!old && tester) {
        // The longest idle one is left to the server, to see when it closes.
        tester = false
        limit.survived(now - slot.activeAt)
        continue
      }
      if (left === 0 || clock.now() - now > RUN_MILLIS) {
        this.#alarm.set(now + REST_MILLIS)
        return
      }
      left -= 1
      if (!old && options.keepWarm) this.#upkeep.validate([slot])
      else this.#lending.supply.discard(slot, old ? 'lifetime' : 'server-timeout')
    }
  }

  #ask(): void {
    const { roster, options } = this.#house
    // Not the one that is to be lent next.
    const slot: Slot<T> | undefined = roster.idle(!options.fifo)
    if (slot === undefined) return
    this.#askedIn = this.#lending.supply.generation
    this.#lending.proving.ask(slot)
  }
}
