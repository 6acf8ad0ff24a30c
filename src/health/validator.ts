import type { House, Supply } from '../connecting/connector.ts'
import type { Leftover } from '../connections/handles.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { askLimit, clean, prove } from './checks.ts'

/** A validation or reset that takes longer than this is not waited for alone: others are tried beside it. */
const LONG_PROOF_MILLIS = 100

/** Who lends connections, and takes them over once they have proved themselves. */
export interface Lender<T> {
  /** Why a connection must not be lent, whatever state it is in. */
  unfit(slot: Slot<T>, now: number): Fault | undefined
  rest(slot: Slot<T>, now: number): void
  ready(slot: Slot<T>, now: number, idleSince: number | undefined): void
  serve(now: number): void
}

/** Connections that are asked something by the pool itself, and lent to nobody meanwhile: validated, or reset. */
export class Proving<T> {
  readonly #house: House<T>
  readonly #supply: Supply<T>
  readonly #lender: Lender<T>

  constructor(house: House<T>, supply: Supply<T>, lender: Lender<T>) {
    this.#house = house
    this.#supply = supply
    this.#lender = lender
  }

  /** Has an idle connection prove itself. Its idle age stays what it is. */
  refresh(slot: Slot<T>): Promise<void> {
    return this.#check(slot, 'validating', async () => {
      const fault = await prove(this.#house, slot)
      if (fault === undefined) slot.provenAt = this.#house.clock.now()
      return fault
    })
  }

  /** Asks the server, over an idle connection, for its idle limit. */
  ask(slot: Slot<T>): Promise<void> {
    return this.#check(slot, 'validating', () => askLimit(this.#house, slot))
  }

  /** Has a connection that came back reset. */
  clean(slot: Slot<T>, left: Leftover | undefined): Promise<void> {
    return this.#check(slot, 'resetting', () => clean(this.#house, slot, left))
  }

  #check(
    slot: Slot<T>,
    state: 'validating' | 'resetting',
    proof: () => Promise<Fault | undefined>,
  ): Promise<void> {
    slot.watch?.yield()
    const idleSince = slot.state === 'idle' ? slot.idleSince : undefined
    this.#house.roster.move(slot, state)
    const inTime = this.#expectSoon()
    return proof().then(fault => {
      inTime()
      this.#proved(slot, state, fault, idleSince)
    })
  }

  /** Stops counting on a validation or reset that takes long. @returns to be called at its end */
  #expectSoon(): () => void {
    const { clock } = this.#house
    let isOverdue = false
    const timer = clock.after(LONG_PROOF_MILLIS, () => {
      isOverdue = true
      this.#supply.overdue += 1
      this.#lender.serve(clock.now())
    })
    return () => {
      timer.cancel()
      if (isOverdue) this.#supply.overdue -= 1
    }
  }

  #proved(
    slot: Slot<T>,
    from: 'validating' | 'resetting',
    fault: Fault | undefined,
    idleSince: number | undefined,
  ): void {
    const { clock, limit, options, onChange } = this.#house
    const now = clock.now()
    // The pool may have been closed by force meanwhile, and the connection with it.
    if (slot.state === from) {
      if (fault === undefined && from === 'validating') {
        limit.survived(now - slot.activeAt)
        slot.activeAt = now
        if (this.#supply.breaker.unproven) this.#supply.probation.ofUse(slot)
      }
      const end = fault ?? this.#lender.unfit(slot, now)
      if (end !== undefined) this.#supply.discard(slot, end.reason, end.detail)
      else if (from === 'resetting' && options.testOnBorrow) this.#lender.rest(slot, now)
      else this.#lender.ready(slot, now, idleSince)
    }
    this.#lender.serve(now)
    onChange()
  }
}
