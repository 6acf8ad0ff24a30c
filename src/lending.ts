import { attempt } from './deadline.ts'
import { messageOf } from './errors.ts'
import { insideHook } from './events.ts'
import type { Leftover } from './handles.ts'
import { log, tracing } from './log.ts'
import { expired, mustProve } from './policy/freshness.ts'
import { isHealthy } from './policy/sockets.ts'
import type { Fault, Slot } from './slot.ts'
import { type House, Supply } from './supply.ts'
import type { DestroyReason } from './types.ts'
import type { Waiter } from './waiter.ts'

/** A validation or reset that takes longer than this is not waited for alone: others are tried beside it. */
const LONG_PROOF_MILLIS = 100

const FOUND_CLOSED: Fault = { reason: 'half-closed', detail: 'its socket was found closed' }
const SURPLUS: Fault = { reason: 'surplus', detail: undefined }
const CLOSED_POOL: Fault = { reason: 'drain', detail: undefined }

/**
 * Lends connections and takes them back: idle → (validating) → lent → (resetting) → idle.
 *
 * Invariant 5: when a step has ended and somebody waits, no idle connection is fit to be lent, and no permit is free
 * that demand and breaker would let be used.
 */
export class Lending<T> {
  readonly supply: Supply<T>
  readonly #house: House<T>
  readonly #fifo: boolean
  readonly #cleans: boolean

  constructor(house: House<T>) {
    this.#house = house
    this.#fifo = house.options.fifo
    this.#cleans = house.factory.reset !== undefined || house.options.testOnReturn
    this.supply = new Supply(house, slot => this.#arrived(slot))
  }

  /**
   * The next idle connection that is fit to be lent at this moment; those that are not are destroyed, or sent to be
   * validated, on the way.
   * @param validations - how many may be sent
   */
  take(now: number, validations: number): Slot<T> | undefined {
    const { roster, options } = this.#house
    for (let slot = roster.idle(this.#fifo); slot !== undefined; slot = roster.idle(this.#fifo)) {
      const end = this.#unfit(slot, now)
      if (end !== undefined) this.supply.discard(slot, end.reason, end.detail)
      else if (!mustProve(slot, now, options)) return slot
      else if (validations <= 0) return undefined
      else {
        validations -= 1
        this.#validate(slot)
      }
    }
    return undefined
  }

  lend(slot: Slot<T>, now: number, waitedMillis: number): void {
    const { roster, options, events, totals } = this.#house
    roster.move(slot, 'lent')
    roster.handOut(slot)
    slot.loan += 1
    slot.lentAt = now
    totals.acquired += 1
    if (tracing.loans) log.lend('%s #%d: lent, loan %d', options.name, slot.id, slot.loan)
    if (events.listenerCount('acquire') > 0) {
      events.announce('acquire', { pool: options.name, resource: slot.lent as T, waitedMillis })
    }
  }

  /** Serves whoever waits with what is idle, and sees to it that more is on its way. */
  serve(now: number): void {
    const { gate, roster } = this.#house
    while (gate.waiting > 0 && roster.census.idle > 0) {
      const proving = Math.max(roster.census.validating - this.supply.overdue, 0)
      const slot = this.take(now, gate.waiting - proving)
      // A hook that ran on the way may have sent the last waiter away.
      if (slot === undefined || gate.waiting === 0) break
      this.#grant(slot, now)
    }
    this.supply.provision()
  }

  /** Takes a lent connection back: to the next in the queue, to the idle ones, or to its end. */
  giveBack(slot: Slot<T>): void {
    const now = this.#house.clock.now()
    const { loan } = slot
    const left = this.#house.roster.takeBack(slot)
    const end = this.#unfit(slot, now) ?? this.#leftDirty(slot, left)
    // factory.busy may have ended the loan itself.
    if (slot.state !== 'lent' || slot.loan !== loan) return
    this.#tellRelease(slot, now)
    if (end === undefined && this.supply.breaker.unproven) this.supply.breaker.proven()
    if (end !== undefined) this.supply.discard(slot, end.reason, end.detail)
    else if (this.#cleans || left !== undefined) this.#clean(slot, left)
    else if (this.#house.options.testOnBorrow) {
      this.#rest(slot, now)
      this.serve(now)
    } else this.#ready(slot, now)
    this.#house.onChange()
  }

  /** Ends a lent connection at its borrower's wish. */
  destroy(slot: Slot<T>): void {
    this.#tellRelease(slot, this.#house.clock.now())
    this.supply.discard(slot, 'user')
    this.#house.onChange()
  }

  #tellRelease(slot: Slot<T>, now: number): void {
    const { events, options, totals } = this.#house
    totals.released += 1
    if (tracing.loans) log.lend('%s #%d: back, loan %d', options.name, slot.id, slot.loan)
    if (events.listenerCount('release') > 0) {
      const heldMillis = now - slot.lentAt
      events.announce('release', { pool: options.name, resource: slot.lent as T, heldMillis })
    }
  }

  /** Why a connection must not be lent, or lent again, whatever state it is in. */
  #unfit(slot: Slot<T>, now: number): Fault | undefined {
    const over = expired(slot, now, this.supply.generation)
    if (over !== undefined) return slot.fault ?? { reason: over, detail: undefined }
    if (slot.socket !== undefined && !isHealthy(slot.socket)) return FOUND_CLOSED
    return this.supply.isOversized ? SURPLUS : undefined
  }

  /** Has the borrower left what cannot be put right, or work unanswered? The next one would get the replies. */
  #leftDirty(slot: Slot<T>, left: Leftover | undefined): Fault | undefined {
    const { factory } = this.#house
    if (left !== undefined && left.undo === undefined) return { reason: 'dirty', detail: left.detail }
    if (factory.busy === undefined) return undefined
    try {
      return insideHook(() => factory.busy?.(slot.resource as T))
        ? { reason: 'dirty', detail: 'it came back with unanswered work' }
        : undefined
    } catch (error) {
      return { reason: 'dirty', detail: `factory.busy threw: ${messageOf(error)}` }
    }
  }

  #arrived(slot: Slot<T>): void {
    const now = this.#house.clock.now()
    const end = this.supply.isStopped ? CLOSED_POOL : this.#unfit(slot, now)
    if (end !== undefined) this.supply.discard(slot, end.reason, end.detail)
    else if (this.#house.options.testOnBorrow) this.#rest(slot, now)
    else this.#ready(slot, now)
    this.serve(now)
  }

  /** A connection that has just proved itself: to whoever is first in the queue, else it is idle. */
  #ready(slot: Slot<T>, now: number): void {
    this.#rest(slot, now)
    if (this.#house.gate.waiting > 0) this.#grant(slot, now)
  }

  #rest(slot: Slot<T>, now: number): void {
    slot.idleSince = now
    this.#house.roster.move(slot, 'idle')
  }

  #grant(slot: Slot<T>, now: number): void {
    const waiter = this.#house.gate.take() as Waiter<T>
    this.lend(slot, now, now - waiter.since)
    waiter.grant(slot)
  }

  #validate(slot: Slot<T>): void {
    this.#house.roster.move(slot, 'validating')
    const inTime = this.#expectSoon()
    this.#prove(slot).then(detail => {
      inTime()
      this.#proved(slot, 'validating', 'invalid', detail)
    })
  }

  /** Stops counting on a validation or reset that takes long. @returns to be called at its end */
  #expectSoon(): () => void {
    const { clock } = this.#house
    const { supply } = this
    let isOverdue = false
    const timer = clock.after(LONG_PROOF_MILLIS, () => {
      isOverdue = true
      supply.overdue += 1
      this.serve(clock.now())
    })
    return () => {
      timer.cancel()
      if (isOverdue) supply.overdue -= 1
    }
  }

  #clean(slot: Slot<T>, left: Leftover | undefined): void {
    this.#house.roster.move(slot, 'resetting')
    const inTime = this.#expectSoon()
    this.#restore(slot, left).then(fault => {
      inTime()
      this.#proved(slot, 'resetting', fault?.reason ?? 'dirty', fault?.detail)
    })
  }

  /** What a connection goes through on its return: leftovers are undone, `factory.reset`, then `testOnReturn`. */
  async #restore(slot: Slot<T>, left: Leftover | undefined): Promise<Fault | undefined> {
    const { factory, options, bounds } = this.#house
    if (left?.undo !== undefined) {
      const undone = await attempt(left.undo, options.resetTimeoutMillis, bounds)
      if (!undone.ok)
        return { reason: 'dirty', detail: `${left.detail}, not undone: ${messageOf(undone.error)}` }
    }
    const reset = await attempt(
      signal => factory.reset?.(slot.resource as T, signal),
      options.resetTimeoutMillis,
      bounds,
    )
    if (!reset.ok) return { reason: 'dirty', detail: `factory.reset failed: ${messageOf(reset.error)}` }
    const detail = options.testOnReturn ? await this.#prove(slot) : undefined
    return detail === undefined ? undefined : { reason: 'invalid', detail }
  }

  /** @returns what is wrong with the connection, in words */
  async #prove(slot: Slot<T>): Promise<string | undefined> {
    const { factory, options, bounds } = this.#house
    const ended = await attempt(
      signal => factory.validate?.(slot.resource as T, signal),
      options.validateTimeoutMillis,
      bounds,
    )
    if (log.validate.enabled) log.validate('%s #%d: %O', options.name, slot.id, ended)
    if (!ended.ok) return `factory.validate failed: ${messageOf(ended.error)}`
    return ended.value ? undefined : 'factory.validate said no'
  }

  #proved(
    slot: Slot<T>,
    from: 'validating' | 'resetting',
    reason: DestroyReason,
    detail: string | undefined,
  ): void {
    const now = this.#house.clock.now()
    // The pool may have been closed by force meanwhile, and the connection with it.
    if (slot.state === from) {
      const end = detail === undefined ? this.#unfit(slot, now) : { reason, detail }
      if (end !== undefined) this.supply.discard(slot, end.reason, end.detail)
      else if (from === 'resetting' && this.#house.options.testOnBorrow) this.#rest(slot, now)
      else this.#ready(slot, now)
    }
    this.serve(now)
    this.#house.onChange()
  }
}
