import type { PoolEvents } from '../api/events.ts'
import type { DestroyReason } from '../api/stats.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Leftover } from '../connections/handles.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { leftBehind, leftUnsent, unfitReason } from '../health/checks.ts'
import type { Validator } from '../health/validator.ts'
import { log, tracing } from '../runtime/log/log.ts'
import { isOpen } from '../sockets/socket-state.ts'
import type { Lending } from './lending.ts'

/** How a loan ended, as the event `leak-end` says it. */
type LoanEnd = PoolEvents<unknown>['leak-end'][0]['how']
/** Reasons that mean that the connection was of no use. */
const DEAD_REASONS: ReadonlySet<DestroyReason | undefined> = new Set<DestroyReason>([
  'half-closed',
  'broken',
  'invalid',
  'invalidated',
])

/** Takes lent connections back: lent → (resetting) → idle, lent again, or closing. All loans end here. */
export class Returns<T> {
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  readonly #validator: Validator<T>
  readonly #lending: Lending<T>
  readonly #resets: boolean
  /** Whether returned connections are reset or validated before they are lent again. */
  readonly #settles: boolean
  /** The resources that were lent when the pool itself ended their loans. Few are no objects. */
  readonly #endedByPool = new WeakSet<object>()
  readonly #valuesEndedByPool = new Set<unknown>()

  constructor(
    context: PoolContext<T>,
    connector: Connector<T>,
    validator: Validator<T>,
    lending: Lending<T>,
  ) {
    const { factory, options } = context
    this.#context = context
    this.#connector = connector
    this.#validator = validator
    this.#lending = lending
    this.#resets = factory.reset !== undefined || options.testOnReturn
    this.#settles = this.#resets || options.testOnBorrow
  }

  /**
   * Takes a lent connection back. It goes to the next waiter, to the idle ones, or is destroyed.
   * @returns undefined; or, with data still unsent, a promise that rejects with `POOL_UNSENT` if that is lost
   */
  giveBack(slot: Slot<T>): Promise<void> | undefined {
    const now = this.#context.loanNow()
    const { loan } = slot
    if (slot.watch === undefined) slot.traffic.quietSince = now
    else slot.traffic.countAtReturn(slot.watch.socket, now, slot.lentAt)
    const left = this.#context.slots.endLoan(slot)
    const isUnsent = leftUnsent(this.#context, slot)
    const end =
      unfitReason(slot, now, this.#context, this.#connector) ??
      leftBehind(this.#context, slot, left, isUnsent) ??
      slot.fault
    // `factory.busy` may have ended the loan itself, or have called `invalidate`.
    if (slot.state !== 'lent' || slot.loan !== loan) return undefined
    this.#recordEnd(slot, now, 'released')
    let sent: Promise<void> | undefined
    if (end === undefined && left === undefined && !isUnsent && !this.#settles)
      this.#lending.returned(slot, now)
    else sent = this.#settleReturned(slot, now, left, isUnsent, end)
    // Only after the slot has its new state, because a hook called from here must see that state.
    if (this.#connector.breaker.unproven && !slot.isDoubtful && !DEAD_REASONS.has(end?.reason))
      this.#connector.provedUseful(slot)
    this.#context.onChange()
    return sent
  }

  /** What becomes of a returned connection that cannot be lent again as it is. */
  #settleReturned(
    slot: Slot<T>,
    now: number,
    left: Leftover | undefined,
    isUnsent: boolean,
    end: Fault | undefined,
  ): Promise<void> | undefined {
    if (isUnsent) {
      const sent = this.#validator.flush(slot, left, end)
      // A caller that awaits the promise gets the error. Otherwise it is ignored.
      sent.catch(() => {})
      return sent
    }
    if (end !== undefined) this.#connector.discard(slot, end.reason, end.detail, end.left)
    else if (this.#resets || left !== undefined) this.#validator.reset(slot, left)
    else {
      // `testOnBorrow`: it is validated before it is lent again.
      this.#lending.makeIdle(slot, now)
      this.#lending.serve(now)
    }
    return undefined
  }

  /** Destroys a lent connection, at its borrower's request or because the pool closes. */
  destroy(slot: Slot<T>, reason: DestroyReason = 'user'): void {
    const isAlive = slot.fault === undefined && (slot.socket === undefined || isOpen(slot.socket))
    if (reason !== 'user') this.#expectRelease(slot)
    this.#recordEnd(slot, this.#context.clock.now(), 'destroyed')
    this.#connector.discard(slot, reason)
    if (this.#connector.breaker.unproven && isAlive) this.#connector.provedUseful(slot)
    this.#context.onChange()
  }

  /** Destroys a lent connection that its borrower seems to have forgotten. */
  reclaim(slot: Slot<T>): void {
    this.#endByPool(slot, 'reclaimed', 'leaked', 'its lease was forgotten')
  }

  /** Destroys a lent connection on which the server has not responded for too long. */
  endStuck(slot: Slot<T>, detail: string): void {
    this.#endByPool(slot, 'destroyed', 'stuck', detail)
  }

  #endByPool(slot: Slot<T>, how: LoanEnd, reason: DestroyReason, detail: string): void {
    this.#expectRelease(slot)
    this.#recordEnd(slot, this.#context.clock.now(), how)
    this.#connector.discard(slot, reason, detail)
    this.#context.onChange()
  }

  /**
   * Called when the pool itself ends a loan: a lease looks forgotten, a server does not respond, or a close is forced.
   * The borrower cannot know this, so its first release or destroy after that is no mistake.
   */
  #expectRelease(slot: Slot<T>): void {
    const { lent: resource } = slot
    slot.wasEndedByPool = true
    if ((typeof resource === 'object' && resource !== null) || typeof resource === 'function')
      this.#endedByPool.add(resource)
    else this.#valuesEndedByPool.add(resource)
  }

  /** Is this the first release of a resource after the pool has ended its loan? Then its caller has made no mistake. */
  acceptLate(resource: unknown): boolean {
    return this.#valuesEndedByPool.delete(resource) || this.#endedByPool.delete(resource as object)
  }

  #recordEnd(slot: Slot<T>, now: number, how: LoanEnd): void {
    const { events, totals, nesting, times } = this.#context
    // Both times may be slightly old, so `now` can be before `lentAt`: see `Clock.recent`.
    const heldMillis = Math.max(now - slot.lentAt, 0)
    totals.released += 1
    if (nesting !== undefined) nesting.loanEnded(slot.trace, now)
    slot.trace = undefined
    times.released(heldMillis)
    if (tracing.loans || slot.isLeakSuspect || events.announcesReleases)
      this.#announceEnd(slot, heldMillis, how)
  }

  #announceEnd(slot: Slot<T>, heldMillis: number, how: LoanEnd): void {
    const { events, options } = this.#context
    const { id: connection, loan, lent } = slot
    if (tracing.loans) log.lend('%s #%d: back, loan %d', options.name, connection, loan)
    if (slot.isLeakSuspect) {
      slot.isLeakSuspect = false
      if (log.leak.enabled) log.leak('%s #%d: loan %d was %s after all', options.name, connection, loan, how)
      events.announce('leak-end', { pool: options.name, resource: lent as T, heldMillis, how })
    }
    if (events.announcesReleases)
      events.announce('release', { pool: options.name, resource: lent as T, connection, loan, heldMillis })
  }
}
