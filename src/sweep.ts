import { Alarm } from './clock.ts'
import { idleCheckPeriod, tooIdle } from './policy/freshness.ts'
import type { House, Supply } from './supply.ts'

/** Looks at idle connections from time to time, and ends those whose time is over. Holds no process alive. */
export class Sweep<T> {
  readonly #house: House<T>
  readonly #supply: Supply<T>
  readonly #alarm: Alarm

  constructor(house: House<T>, supply: Supply<T>) {
    this.#house = house
    this.#supply = supply
    this.#alarm = new Alarm(house.clock, () => this.#run(), house.bounds.onStall)
  }

  /** The timer of the next run, if one is planned. */
  get planned(): object | null {
    return this.#alarm.isSet ? this.#alarm : null
  }

  start(): void {
    const period = idleCheckPeriod(this.#house.options)
    if (Number.isFinite(period)) this.#alarm.set(this.#house.clock.now() + period)
  }

  stop(): void {
    this.#alarm.clear()
  }

  /** The longest idle come first, as many as one run may test. */
  #run(): void {
    const { clock, options, roster } = this.#house
    const now = clock.now()
    for (const slot of roster.idleSlots().slice(0, options.numTestsPerEvictionRun)) {
      if (slot.state !== 'idle') continue
      const spare = roster.census.idle > options.min
      if (tooIdle(slot, now, options, spare)) this.#supply.discard(slot, 'idle')
      else if (now >= slot.retireAt) this.#supply.discard(slot, 'lifetime')
    }
    this.start()
  }
}
