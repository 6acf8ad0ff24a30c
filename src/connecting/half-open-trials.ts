import type { DestroyReason } from '../api/stats.ts'
import type { Slot } from '../connections/slot.ts'
import { Alarm } from '../runtime/alarm.ts'
import type { Breaker } from './breaker.ts'
import type { PoolContext } from './pool-context.ts'

/** A connection that dies within this time, never lent, is as good as a failed create: without a pause for breath, a
 * server that accepts and hangs up would be dialled as fast as it answers. */
const EARLY_DEATH_MILLIS = 1000
const DEATH_REASONS: ReadonlySet<DestroyReason> = new Set(['half-closed', 'broken', 'invalid', 'dirty'])

/**
 * What new connections say of the server. While they die young, a create that goes well says little: each is on
 * probation until it has been of use, or has lived, and no others are made beside it.
 */
export class HalfOpenTrials<T> {
  readonly #context: PoolContext<T>
  readonly #breaker: Breaker
  readonly #connectMore: () => void
  readonly #alarm: Alarm

  constructor(context: PoolContext<T>, breaker: Breaker, provision: () => void) {
    this.#context = context
    this.#breaker = breaker
    this.#connectMore = provision
    this.#alarm = new Alarm(context.clock, () => this.#checkSurvivors(), context.stalls)
  }

  /** Has it died so young that its create counts as failed? */
  diedEarly(slot: Slot<T>, reason: DestroyReason, now: number): boolean {
    if (slot.loan > 0 || !DEATH_REASONS.has(reason)) return false
    // As long as it may take until it is known that one does not answer.
    const proof = reason === 'invalid' ? this.#context.options.validateTimeoutMillis : 0
    return now - slot.createdAt < EARLY_DEATH_MILLIS + proof
  }

  /** How many there are that have been of use to nobody yet. */
  get unused(): number {
    if (!this.#breaker.unproven) return 0
    let count = 0
    for (const { state, loan } of this.#context.slots.all) {
      if (loan === 0 && (state === 'idle' || state === 'validating')) count += 1
    }
    return count
  }

  /** A create has gone well. */
  connected(slot: Slot<T>, now: number): void {
    this.#breaker.succeeded(slot.startedAt, false)
    if (this.#breaker.unproven) this.#alarm.set(now + EARLY_DEATH_MILLIS)
  }

  /** A connection has answered, or a loan of it has ended well. */
  provedUseful(slot: Slot<T>): void {
    this.#breaker.succeeded(slot.startedAt, true)
    this.#connectMore()
  }

  stop(): void {
    this.#alarm.clear()
  }

  /** A connection that has not died young is of use as well, though it may be lent for hours, or idle. */
  #checkSurvivors(): void {
    const now = this.#context.clock.now()
    for (const { state, createdAt, startedAt } of this.#context.slots.all) {
      if (!this.#breaker.unproven) break
      if (state !== 'lent' && state !== 'idle') continue
      if (now - createdAt >= EARLY_DEATH_MILLIS) this.#breaker.succeeded(startedAt, true)
      else this.#alarm.set(createdAt + EARLY_DEATH_MILLIS)
    }
    this.#connectMore()
  }
}
