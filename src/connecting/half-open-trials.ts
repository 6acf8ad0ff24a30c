import type { DestroyReason } from '../api/factory.ts'
import type { Slot } from '../connections/slot.ts'
import { Alarm } from '../runtime/clock.ts'
import type { Breaker } from './breaker.ts'
import type { House } from './connector.ts'

/** A connection that dies within this time, never lent, is as good as a failed create: without a pause for breath, a
 * server that accepts and hangs up would be dialled as fast as it answers. */
const STILLBORN_MILLIS = 1000
const SICKLY: ReadonlySet<DestroyReason> = new Set(['half-closed', 'broken', 'invalid', 'dirty'])

/**
 * What new connections say of the server. While they die young, a create that goes well says little: each is on
 * probation until it has been of use, or has lived, and no others are made beside it.
 */
export class Probation<T> {
  readonly #house: House<T>
  readonly #breaker: Breaker
  readonly #provision: () => void
  readonly #alarm: Alarm

  constructor(house: House<T>, breaker: Breaker, provision: () => void) {
    this.#house = house
    this.#breaker = breaker
    this.#provision = provision
    this.#alarm = new Alarm(house.clock, () => this.#askSurvivors(), house.bounds.onStall)
  }

  /** Has it died so young that its create counts as failed? */
  isStillborn(slot: Slot<T>, reason: DestroyReason, now: number): boolean {
    if (slot.loan > 0 || !SICKLY.has(reason)) return false
    // As long as it may take until it is known that one does not answer.
    const proof = reason === 'invalid' ? this.#house.options.validateTimeoutMillis : 0
    return now - slot.createdAt < STILLBORN_MILLIS + proof
  }

  /** How many there are that have been of use to nobody yet. */
  get untried(): number {
    if (!this.#breaker.unproven) return 0
    let count = 0
    for (const { state, loan } of this.#house.roster.slots) {
      if (loan === 0 && (state === 'idle' || state === 'validating')) count += 1
    }
    return count
  }

  /** A create has gone well. */
  begin(slot: Slot<T>, now: number): void {
    this.#breaker.succeeded(slot.startedAt, false)
    if (this.#breaker.unproven) this.#alarm.set(now + STILLBORN_MILLIS)
  }

  /** A connection has answered, or a loan of it has ended well. */
  ofUse(slot: Slot<T>): void {
    this.#breaker.succeeded(slot.startedAt, true)
    this.#provision()
  }

  stop(): void {
    this.#alarm.clear()
  }

  /** A connection that has not died young is of use as well, though it may be lent for hours, or idle. */
  #askSurvivors(): void {
    const now = this.#house.clock.now()
    for (const { state, createdAt, startedAt } of this.#house.roster.slots) {
      if (!this.#breaker.unproven) break
      if (state !== 'lent' && state !== 'idle') continue
      if (now - createdAt >= STILLBORN_MILLIS) this.#breaker.succeeded(startedAt, true)
      else this.#alarm.set(createdAt + STILLBORN_MILLIS)
    }
    this.#provision()
  }
}
