import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { mustValidate } from '../connections/lifetime.ts'
import { type Fault, Grant, type Slot } from '../connections/slot.ts'
import { unfitReason } from '../health/checks.ts'
import type { Validator, ValidatorHost } from '../health/validator.ts'
import type { Waiter } from '../queue/waiter.ts'
import { log, tracing } from '../runtime/log/log.ts'

const CLOSED_POOL: Fault = { reason: 'drain', detail: undefined }

/**
 * Lends connections: idle → (validating) → lent. One that comes back goes to the next waiter or to the idle ones. (What
 * happens to it at the end of a loan: see `Returns`.)
 *
 * Invariant 5: whenever a step has ended and an acquire waits, no idle connection may be lent, and no permit is free
 * that demand and breaker would allow to be used.
 */
export class Lending<T> implements ValidatorHost<T> {
  readonly #connector: Connector<T>
  readonly #validator: Validator<T>
  readonly #context: PoolContext<T>
  readonly #fifo: boolean
  /** Since when a waiter waits for the event loop to deliver what the kernel holds; undefined if none does. */
  #waitingSince: number | undefined
  /** As long as this many marks were set, the wait also covers data that reaches the kernel. */
  #coversUntil: number | undefined

  constructor(context: PoolContext<T>, connector: Connector<T>, validator: Validator<T>) {
    this.#context = context
    this.#fifo = context.options.fifo
    this.#connector = connector
    this.#validator = validator
  }

  /**
   * Finds the next idle connection that may be lent right now. On the way, it destroys connections or sends them to be
   * validated. Check and hand-over are one step: the caller lends the connection before anything else can happen.
   * @param validations - how many connections may be sent to be validated
   * @param settledAt - all data that was in the kernel at this time has been delivered
   */
  findFit(now: number, validations: number, settledAt: number): Slot<T> | undefined {
    const { slots, options, liveness, stalls } = this.#context
    for (let slot = slots.nextIdle(this.#fifo); slot !== undefined; slot = slots.nextIdle(this.#fifo)) {
      let end = unfitReason(slot, now, this.#context, this.#connector)
      // With `keepWarm`, a connection close to the server's limit is validated, as the idle check would do, not ended.
      const isDue = options.keepWarm && end?.reason === 'server-timeout'
      if (end === undefined || isDue) {
        if (isDue || mustValidate(slot, now, options, stalls) || liveness.suspicion.wantsAnswer(slot)) {
          if (validations <= 0) return undefined
          validations -= 1
          this.#validator.validate(slot)
          continue
        }
        const found = slot.watch === undefined ? undefined : liveness.check(slot, now, settledAt)
        if (found === undefined) return slot
        if (found === 'barrier') {
          this.#awaitEventLoop(slot, now)
          return undefined
        }
        end = found
      }
      this.#connector.discard(slot, end.reason, end.detail, end.left)
    }
    return undefined
  }

  /** May an acquire with a timeout of 0 still get an idle connection after the next turn of the event loop? */
  get awaitsEventLoop(): boolean {
    return this.#waitingSince !== undefined && this.#context.slots.counts.idle > 0
  }

  lend(slot: Slot<T>, now: number, waitedMillis: number): void {
    const { slots, events, totals, times } = this.#context
    if (slot.state !== 'lent') {
      slot.watch?.yield()
      slots.move(slot, 'lent')
    }
    slots.beginLoan(slot)
    slot.loan += 1
    slot.lentAt = now
    slot.trace = undefined
    slot.isDoubtful = false
    totals.acquired += 1
    times.lent(slots.counts.lent, waitedMillis)
    if (tracing.loans || events.hasListeners.acquire) this.#announceLoan(slot, waitedMillis)
  }

  #announceLoan(slot: Slot<T>, waitedMillis: number): void {
    const { options, events } = this.#context
    if (tracing.loans) log.lend('%s #%d: lent, loan %d', options.name, slot.id, slot.loan)
    events.announce('acquire', { pool: options.name, resource: slot.lent as T, waitedMillis })
  }

  /** Serves waiters with idle connections, and starts connects for the rest. */
  serve(now: number, settledAt = Number.NEGATIVE_INFINITY): void {
    const { queue, slots } = this.#context
    while (queue.waiting > 0 && slots.counts.idle > 0) {
      // A connection is available: rejects the waiters that have waited too long.
      queue.loadShedder?.dequeue(now)
      // A waiter that came after the wait for the event loop began has to wait for the next poll phase.
      const first = queue.peek()
      const isSettled = (first?.since ?? now) <= settledAt
      const settled = isSettled ? settledAt : Number.NEGATIVE_INFINITY
      const proving = Math.min(slots.counts.validating, this.#connector.capacity.checks.size)
      const slot = this.findFit(now, queue.waiting - proving, settled)
      // A hook that ran in between may have rejected the last waiter.
      if (slot === undefined || queue.waiting === 0) break
      // This waiter, even if the youngest go first: a younger one may have come after the wait began.
      this.#grant(slot, now, isSettled ? first : undefined)
    }
    this.#connector.connectMore()
    this.#connector.capacity.control?.changed()
  }

  /** Called when a new connection has been created. */
  connected(slot: Slot<T>): void {
    const now = this.#context.clock.now()
    const end = this.#connector.isStopped
      ? CLOSED_POOL
      : unfitReason(slot, now, this.#context, this.#connector)
    if (end !== undefined) this.#connector.discard(slot, end.reason, end.detail, end.left)
    else if (this.#context.options.testOnBorrow) this.makeIdle(slot, now)
    else this.#lendOrRest(slot, now, 'proved')
    this.serve(now)
  }

  /** Called when a returned connection, still in the state lent, is fit for the next borrower: lends it, or makes it idle. */
  returned(slot: Slot<T>, now: number): void {
    this.#lendOrRest(slot, now, 'returned')
  }

  /** Called when a connection has passed its check: lends it, or makes it idle. */
  validated(slot: Slot<T>, now: number, idleSince: number | undefined): void {
    this.#lendOrRest(slot, now, 'proved', idleSince)
  }

  /** Gives a connection that is new, checked or returned to the next waiter; makes it idle if there is none. */
  #lendOrRest(slot: Slot<T>, now: number, how: 'proved' | 'returned', idleSince = now): void {
    const { queue } = this.#context
    const { control } = this.#connector.capacity
    if (control?.wants(slot) === true) {
      this.makeIdle(slot, now, idleSince)
      control.use(slot)
      return
    }
    if (queue.waiting > 0) queue.loadShedder?.dequeue(now)
    if (queue.waiting === 0) this.makeIdle(slot, now, idleSince)
    else if (slot.watch === undefined && how === 'returned' && this.#connector.capacity.share === undefined)
      // It stays in the state lent, and there is nothing to check.
      this.#grant(slot, now)
    else this.#lendIfFit(slot, now, how, idleSince)
  }

  #lendIfFit(slot: Slot<T>, now: number, how: 'proved' | 'returned', idleSince: number): void {
    const { liveness } = this.#context
    // The server may have closed it right after its last answer. Data on a new one may be a greeting.
    const isSilent = slot.watch?.awaitsGreeting === false
    const lost = isSilent ? liveness.check(slot, now, Number.NEGATIVE_INFINITY) : undefined
    const found = this.#connector.capacity.share?.surplus(slot) ?? lost
    const isFit = found === undefined || (found === 'barrier' && how === 'proved')
    // Otherwise it stays in the state lent and goes to the next waiter.
    if (!isFit || how === 'proved') this.makeIdle(slot, now, idleSince)
    if (isFit) this.#grant(slot, now)
    else if (found === 'barrier') this.#awaitEventLoop(slot, now)
    else this.#connector.discard(slot, found.reason, found.detail, found.left)
    if (found !== undefined && how === 'returned') this.#connector.connectMore()
  }

  /** Adds a connection to the idle ones. */
  makeIdle(slot: Slot<T>, now: number, idleSince = now): void {
    slot.idleSince = idleSince
    this.#context.slots.move(slot, 'idle')
    this.#context.liveness.becameIdle(slot, now)
  }

  #grant(slot: Slot<T>, now: number, first?: Waiter<T>): void {
    const { queue, nesting } = this.#context
    const stoodInKnot = nesting?.detector.prioritised() as Waiter<T> | undefined
    const urgent = stoodInKnot ?? (first?.hasEnded === false ? first : undefined)
    const waiter = urgent === undefined ? (queue.shift() as Waiter<T>) : queue.remove(urgent)
    queue.serviceRate?.served(now, queue.waiting)
    const waitedMillis = Math.max(now - waiter.since, 0)
    this.lend(slot, now, waitedMillis)
    slot.trace = waiter.trace
    if (nesting !== undefined) nesting.detector.lastSign = now
    waiter.scope?.start(slot)
    waiter.traced?.served(slot.id, slot.loan, waitedMillis)
    waiter.grant(waiter.call === 'acquire' ? slot.lent : new Grant(slot))
  }

  /** Serves again once the event loop has delivered the data that is now in the kernel. */
  #awaitEventLoop(slot: Slot<T>, now: number): void {
    this.#connector.capacity.awaitsEventLoop = true
    const { liveness } = this.#context
    if (this.#waitingSince !== undefined) {
      // The poll phase of this wait is still to come, so it also covers data that has reached the kernel by now.
      if (liveness.marks === this.#coversUntil) this.#waitingSince = now
      return
    }
    this.#waitingSince = now
    this.#coversUntil = liveness.barrier(slot, () => {
      const settledAt = this.#waitingSince
      this.#waitingSince = undefined
      this.#connector.capacity.awaitsEventLoop = false
      this.serve(this.#context.clock.now(), settledAt)
      this.#context.onChange()
    })
  }
}
