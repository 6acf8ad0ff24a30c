import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Leftover } from '../connections/handles.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { askLimit, flush, leftBusy, reset, validate } from './checks.ts'

/** A validation or reset that takes longer than this is not waited for alone: others are tried beside it. */
const LONG_PROOF_MILLIS = 100

/** Who lends connections, and takes them over once they have proved themselves. */
export interface ValidatorHost<T> {
  /** Why a connection must not be lent, whatever state it is in. */
  unfitReason(slot: Slot<T>, now: number): Fault | undefined
  makeIdle(slot: Slot<T>, now: number): void
  /** The connection has answered; its idle age is given where it stays what it was. */
  validated(slot: Slot<T>, now: number, idleSince: number | undefined): void
  serve(now: number): void
}

/** Connections that are asked something by the pool itself, and lent to nobody meanwhile: validated, or reset. */
export class Validator<T> {
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  /** Set when all parts are there, see `assemble`. */
  host!: ValidatorHost<T>

  constructor(context: PoolContext<T>, connector: Connector<T>) {
    this.#context = context
    this.#connector = connector
  }

  /** Has an idle connection prove itself. Its idle age stays what it is. */
  validate(slot: Slot<T>): Promise<void> {
    return this.#check(slot, 'validating', async () => {
      const fault = await validate(this.#context, slot)
      if (fault === undefined) slot.provenAt = this.#context.clock.now()
      return fault
    })
  }

  /** Asks the server, over an idle connection, for its idle limit. */
  askLimit(slot: Slot<T>): Promise<void> {
    return this.#check(slot, 'validating', () => askLimit(this.#context, slot))
  }

  /** Has a connection that came back reset. */
  reset(slot: Slot<T>, left: Leftover | undefined): Promise<void> {
    return this.#check(slot, 'resetting', () => reset(this.#context, slot, left))
  }

  /**
   * Lets a connection that came back send what was written on it, then has it reset.
   * @param end - why it is to be destroyed after that
   * @returns rejects with `POOL_UNSENT` if it will not arrive
   */
  async flush(slot: Slot<T>, left: Leftover | undefined, end: Fault | undefined): Promise<void> {
    const flushing = flush(this.#context, slot)
    this.#check(
      slot,
      'resetting',
      async () =>
        (await flushing) ?? end ?? leftBusy(this.#context, slot) ?? reset(this.#context, slot, left),
    )
    const lost = await flushing
    if (lost !== undefined) throw lost.error
  }

  #check(
    slot: Slot<T>,
    state: 'validating' | 'resetting',
    proof: () => Promise<Fault | undefined>,
  ): Promise<void> {
    slot.watch?.yield()
    const idleSince = slot.state === 'idle' ? slot.idleSince : undefined
    this.#context.slots.move(slot, state)
    const inTime = this.#startOverdueTimer()
    return proof().then(fault => {
      inTime()
      this.#checked(slot, state, fault, idleSince)
    })
  }

  /** Stops counting on a validation or reset that takes long. @returns to be called at its end */
  #startOverdueTimer(): () => void {
    const { clock } = this.#context
    let isOverdue = false
    const timer = clock.after(LONG_PROOF_MILLIS, () => {
      isOverdue = true
      this.#connector.overdue += 1
      this.host.serve(clock.now())
    })
    return () => {
      timer.cancel()
      if (isOverdue) this.#connector.overdue -= 1
    }
  }

  #checked(
    slot: Slot<T>,
    from: 'validating' | 'resetting',
    fault: Fault | undefined,
    idleSince: number | undefined,
  ): void {
    const { clock, serverLimit, options, onChange } = this.#context
    const now = clock.now()
    // The pool may have been closed by force meanwhile, and the connection with it.
    if (slot.state === from) {
      if (fault === undefined && from === 'validating') {
        serverLimit.survived(now - slot.activeAt)
        slot.activeAt = now
        if (this.#connector.breaker.unproven) this.#connector.trials.provedUseful(slot)
      }
      const end = fault ?? this.host.unfitReason(slot, now)
      if (end !== undefined) this.#connector.discard(slot, end.reason, end.detail)
      else if (from === 'resetting' && options.testOnBorrow) this.host.makeIdle(slot, now)
      else this.host.validated(slot, now, idleSince)
    }
    this.host.serve(now)
    onChange()
  }
}
