import { Alarm } from './clock.ts'
import type { Lending } from './lending.ts'
import { badOptions } from './options.ts'
import { Patrol } from './patrol.ts'
import * as refusals from './refusals.ts'
import type { House, Supply } from './supply.ts'
import { Sweep } from './sweep.ts'
import type { PoolStats } from './types.ts'
import { Upkeep } from './upkeep.ts'

/** How long a call may take, in milliseconds, instead of the option that is its default. */
export interface Patience {
  timeoutMillis?: number | false
}

/** The life of a pool: open → draining → closed; what starts it, and what ends it in bounded time. */
export class Lifecycle<T> {
  state: PoolStats['state'] = 'open'
  readonly sweep: Sweep<T>
  readonly #house: House<T>
  readonly #lending: Lending<T>
  readonly #supply: Supply<T>
  readonly #patrol: Patrol<T>
  readonly #watchers = new Set<() => void>()
  #started = false
  #clearing = 0
  #closing: Promise<void> | undefined

  constructor(house: House<T>, lending: Lending<T>) {
    this.#house = house
    this.#lending = lending
    this.#supply = lending.supply
    const upkeep = new Upkeep(lending)
    this.sweep = new Sweep(house, lending, upkeep)
    this.#patrol = new Patrol(house, lending.supply)
    house.lookout.onSuspicion = kind => {
      if (kind === 'closed') this.#patrol.hurry()
      else if (house.factory.validate !== undefined) upkeep.validate(house.roster.idleSlots())
    }
  }

  start(): void {
    if (this.#started || this.state !== 'open') return
    this.#started = true
    this.sweep.start()
    this.#keepMin()
  }

  async ready(patience: Patience): Promise<void> {
    const { options, roster } = this.#house
    const millis = this.#millis(patience, options.acquireTimeoutMillis)
    this.start()
    const isReady = (): boolean => roster.alive >= options.min
    const settled = await this.#until(() => isReady() || this.state !== 'open', millis)
    if (isReady()) return
    throw settled
      ? refusals.closed(this.#house.stats())
      : refusals.notReady(this.#house.stats(), millis, this.#supply.breaker.lastError)
  }

  async drain(patience: Patience): Promise<void> {
    await this.#drain(this.#millis(patience, this.#house.options.drainTimeoutMillis))
  }

  async #drain(millis: number): Promise<void> {
    const { roster, gate } = this.#house
    const { census } = roster
    if (this.state === 'open') this.state = 'draining'
    this.#keepMin()
    this.sweep.stop()
    this.changed()
    const isDrained = (): boolean => gate.waiting === 0 && census.lent === 0 && census.resetting === 0
    if (await this.#until(isDrained, millis)) return
    throw refusals.drainTimeout(this.#house.stats(), millis, 'drain', 'It stays draining.')
  }

  async clear(): Promise<void> {
    const { slots } = this.#house.roster
    this.#clearing += 1
    this.#keepMin()
    this.#discardIdle()
    const dials = [...slots].filter(slot => slot.state === 'connecting')
    // Bounded: every dial ends by its own deadline, and so does every close.
    await this.#until(() => !dials.some(slot => slot.state === 'connecting'), Number.POSITIVE_INFINITY)
    this.#discardIdle()
    const closing = [...slots].filter(slot => slot.state === 'closing')
    await this.#until(() => closing.every(slot => slot.state === 'closed'), Number.POSITIVE_INFINITY)
    this.#clearing -= 1
    this.#keepMin()
  }

  close(patience: Patience): Promise<void> {
    if (this.#closing === undefined) {
      let millis: number
      try {
        millis = this.#millis(patience, this.#house.options.drainTimeoutMillis)
      } catch (error) {
        return Promise.reject(error)
      }
      this.#closing = this.#close(millis)
    }
    return this.#closing
  }

  /** Something has ended: a connection, a loan, a wait. Whoever waits for such a thing looks again. */
  changed(): void {
    for (const check of this.#watchers) check()
    if (this.#house.lookout.watched > 0 && this.#patrol.isResting) this.#patrol.start()
    if (this.sweep.owesQuestion && this.sweep.planned === null) this.sweep.plan()
  }

  async #close(millis: number): Promise<void> {
    const { clock, roster, gate } = this.#house
    const deadline = clock.now() + millis
    const drained = await this.#drain(millis).then(
      () => true,
      () => false,
    )
    const before = this.#house.stats()
    this.state = 'closed'
    this.#supply.stop(refusals.closed(this.#house.stats()))
    gate.close()
    for (const slot of [...roster.slots]) {
      if (slot.state === 'lent') this.#lending.destroy(slot, 'drain')
      else if (slot.state !== 'connecting' && slot.state !== 'closing') this.#supply.discard(slot, 'drain')
    }
    this.changed()
    const left = Math.max(deadline - clock.now(), 1)
    const isEmpty = drained && (await this.#until(() => roster.slots.size === 0, left))
    this.#house.bounds.stalls.stop()
    if (isEmpty) return
    const then = drained
      ? 'Connections that did not close are given up.'
      : 'What was lent has been destroyed, and who waited has been rejected.'
    throw refusals.drainTimeout(before, millis, 'close', then)
  }

  /** `min` is kept while the pool is open, started, and not being cleared. */
  #keepMin(): void {
    this.#supply.keepsMin = this.#started && this.state === 'open' && this.#clearing === 0
    this.#supply.provision()
  }

  #discardIdle(): void {
    for (const slot of this.#house.roster.idleSlots()) {
      if (slot.state === 'idle') this.#supply.discard(slot, 'drain')
    }
  }

  #millis(patience: Patience | null, otherwise: number): number {
    const timeoutMillis = patience?.timeoutMillis
    if (timeoutMillis === undefined) return otherwise
    if (timeoutMillis === false) return Number.POSITIVE_INFINITY
    if (typeof timeoutMillis === 'number' && timeoutMillis >= 0) return timeoutMillis
    throw badOptions(
      [`timeoutMillis must be milliseconds ≥ 0, or false, got ${String(timeoutMillis)}`],
      this.#house.options.name,
    )
  }

  /** @returns true when the condition holds, false when it did not within so many milliseconds */
  #until(condition: () => boolean, millis: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true)
    return new Promise(resolve => {
      const settle = (met: boolean): void => {
        this.#watchers.delete(check)
        alarm.hold(false)
        alarm.clear()
        resolve(met)
      }
      const check = (): void => {
        if (condition()) settle(true)
      }
      const alarm = new Alarm(this.#house.clock, () => settle(condition()), this.#house.bounds.onStall)
      // Somebody awaits this: it may keep the process alive, for as long as it takes.
      alarm.hold(true)
      alarm.set(this.#house.clock.now() + millis)
      this.#watchers.add(check)
    })
  }
}
