import type { Connector } from '../connecting/connector.ts'
import type { Question } from '../connecting/control-place.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Leftover } from '../connections/handles.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import type { Timer } from '../runtime/time/clock.ts'
import { bytesThrough } from '../sockets/socket-state.ts'
import { ask, askIdleTimeout, flush, leftBehind, reset, unfitReason, validate } from './checks.ts'

/** If a validation or reset takes longer than this, other connections are tried as well. Milliseconds. */
const LONG_CHECK_MILLIS = 100
/** How many validations run in the background at a time. */
const AT_A_TIME = 8

/** The part of the pool that lends connections. It takes them over once they have passed their check. */
export interface ValidatorHost<T> {
  makeIdle(slot: Slot<T>, now: number): void
  /** Called when the connection has answered. `idleSince` is given if it was idle before and stays so. */
  validated(slot: Slot<T>, now: number, idleSince: number | undefined): void
  serve(now: number): void
}

/** Validates and resets connections. They are lent to nobody meanwhile. */
export class Validator<T> {
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  /** Set when all parts exist, see `assemble`. */
  host!: ValidatorHost<T>
  /** `#queued`: idle connections to validate in the background. `#running`: how many such validations run now. */
  readonly #queued = new Set<Slot<T>>()
  #running = 0

  constructor(context: PoolContext<T>, connector: Connector<T>) {
    this.#context = context
    this.#connector = connector
  }

  /** Validates an idle connection. Its idle age does not change. */
  validate(slot: Slot<T>, isExpected = true): Promise<void> {
    return this.#check(slot, 'validating', isExpected, () =>
      this.#proved(slot, () => validate(this.#context, slot)),
    )
  }

  /** Asks the server over an idle connection what an adapter wants to know. Its idle age does not change. */
  ask(slot: Slot<T>, questions: readonly Question<T>[]): Promise<void> {
    return this.#check(slot, 'validating', true, () =>
      this.#proved(slot, () => ask(this.#context, slot, questions)),
    )
  }

  async #proved(slot: Slot<T>, check: () => Promise<Fault | undefined>): Promise<Fault | undefined> {
    const { clock, stalls, liveness } = this.#context
    const since = clock.now()
    const fault = await check()
    if (fault !== undefined) return fault
    slot.provenAt = clock.now()
    // What came behind the answer during a stall, such as a FIN, is still unread.
    if (slot.watch !== undefined && stalls.since(since) > 0)
      await new Promise<void>(resolve => liveness.barrier(slot, resolve))
    return undefined
  }

  /** Asks the server for its idle limit, over an idle connection. */
  askIdleTimeout(slot: Slot<T>): Promise<void> {
    return this.#check(slot, 'validating', true, () => askIdleTimeout(this.#context, slot))
  }

  /** Resets a connection that was returned. */
  reset(slot: Slot<T>, left: Leftover | undefined): Promise<void> {
    return this.#check(slot, 'resetting', true, () => reset(this.#context, slot, left))
  }

  /** Validates idle connections in parallel, but only a few at a time, so that the others can still be lent. */
  validateSoon(slots: readonly Slot<T>[]): void {
    for (const slot of slots) this.#queued.add(slot)
    this.#validateQueued()
  }

  /**
   * Validates all of them at once. The server seems to be silent, so the pool does not count on these connections, and
   * creates new ones meanwhile.
   */
  validateSuspects(slots: readonly Slot<T>[]): void {
    for (const slot of slots) if (slot.state === 'idle') void this.validate(slot, false)
    this.#connector.connectMore()
  }

  #validateQueued(): void {
    for (const slot of this.#queued) {
      if (this.#running >= AT_A_TIME) return
      this.#queued.delete(slot)
      if (slot.state !== 'idle') continue
      this.#running += 1
      this.validate(slot).then(() => {
        this.#running -= 1
        this.#validateQueued()
      })
    }
  }

  /**
   * Lets a returned connection send the data written to it, then resets it.
   * @param end - why the connection is to be destroyed after that, if so
   * @returns rejects with `POOL_UNSENT` if the data will not arrive
   */
  async flush(slot: Slot<T>, left: Leftover | undefined, end: Fault | undefined): Promise<void> {
    const flushing = flush(this.#context, slot)
    this.#check(
      slot,
      'resetting',
      true,
      async () =>
        (await flushing) ??
        end ??
        leftBehind(this.#context, slot, left, false) ??
        reset(this.#context, slot, left),
    )
    const lost = await flushing
    if (lost !== undefined) throw lost.error
  }

  #check(
    slot: Slot<T>,
    state: 'validating' | 'resetting',
    isExpected: boolean,
    check: () => Promise<Fault | undefined>,
  ): Promise<void> {
    slot.watch?.yield()
    const idleSince = slot.state === 'idle' ? slot.idleSince : undefined
    this.#context.slots.move(slot, state)
    const timer = isExpected ? this.#expect(slot) : undefined
    const { socket } = slot
    const readBefore = socket && bytesThrough(socket)?.read
    return check().then(fault => {
      timer?.cancel()
      const hasAnswered = socket === undefined || bytesThrough(socket)?.read !== readBefore
      this.#checked(slot, state, fault, idleSince, hasAnswered)
    })
  }

  /** Counts on the connection, but only for a limited time. */
  #expect(slot: Slot<T>): Timer {
    const { clock } = this.#context
    const { checks } = this.#connector.capacity
    checks.add(slot)
    return clock.after(LONG_CHECK_MILLIS, () => {
      checks.delete(slot)
      this.host.serve(clock.now())
    })
  }

  #checked(
    slot: Slot<T>,
    from: 'validating' | 'resetting',
    fault: Fault | undefined,
    idleSince: number | undefined,
    hasAnswered: boolean,
  ): void {
    const { clock, serverIdleTimeout, options, onChange } = this.#context
    const { capacity, breaker } = this.#connector
    const { checks } = capacity
    const now = clock.now()
    // The pool may have been closed by force meanwhile, and the connection with it.
    if (slot.state === from) {
      if (fault === undefined && from === 'validating') {
        serverIdleTimeout.survived(now - slot.traffic.quietSince)
        slot.traffic.exchanged(slot.socket, now)
      }
      const end = fault ?? unfitReason(slot, now, this.#context, this.#connector)
      if (end !== undefined) this.#connector.discard(slot, end.reason, end.detail, end.left)
      // A reset in which the server has said nothing is no proof that it is still there.
      else if (from === 'resetting' && (options.testOnBorrow || !hasAnswered)) this.host.makeIdle(slot, now)
      else this.host.validated(slot, now, idleSince)
      // Only after the connection was passed on: until then it counts as expected.
      checks.delete(slot)
      if (fault === undefined && from === 'validating' && breaker.unproven) this.#connector.provedUseful(slot)
    }
    checks.delete(slot)
    this.host.serve(now)
    onChange()
  }
}
