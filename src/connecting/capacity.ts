import type { AcquirePhase } from '../api/errors.ts'
import type { Slot } from '../connections/slot.ts'
import type { Breaker } from './breaker.ts'
import type { ControlPlace } from './control-place.ts'
import type { PoolContext } from './pool-context.ts'
import type { PoolShare } from './pool-share.ts'

/**
 * If a connect takes this many times longer than one that just succeeded, and is at least this many milliseconds old,
 * the pool no longer counts on it.
 */
const OVERTAKEN_TIMES = 4
const OVERTAKEN_MILLIS = 100
/** A waiter that gave up within this time says nothing about the connect that it waited for. Milliseconds. */
const IMPATIENT_MILLIS = 50
/** How many connects may run at a time before the server has answered for the first time. */
const FIRST_CONNECTS = 2

/**
 * How many connections a pool has, how many are on their way, and how many may be made. All of it is derived from the
 * slots, the queue and the breaker.
 */
export class Capacity<T> {
  /**
   * Connects that are expected to succeed, oldest first. A connect that hangs is removed here, but keeps its permit.
   */
  readonly connects = new Set<Slot<T>>()
  /** Connections that are validated or reset and are expected back soon. */
  readonly checks = new Set<Slot<T>>()
  /** Whether the idle connections wait for the next poll phase, which shows which of them are alive. */
  awaitsEventLoop = false
  /** Its share of a budget, if it has one. */
  share: PoolShare<T> | undefined
  /** The place of a control connection, if the pool has one. */
  control: ControlPlace<T> | undefined
  /** No connect starts before this time, in milliseconds of the pool's clock. */
  pauseUntil = 0
  /** When a connection was last made, in milliseconds of the pool's clock. */
  connectedAt = 0
  readonly #context: PoolContext<T>
  readonly #breaker: Breaker<T>

  constructor(context: PoolContext<T>, breaker: Breaker<T>) {
    this.#context = context
    this.#breaker = breaker
  }

  /** The free permits. A control connection gives way. Negative after `resize` to a smaller pool. */
  get freePermits(): number {
    return this.#context.options.max - this.#context.slots.permitsInUse
  }

  /** How many more connections are needed and allowed: for waiting acquires, and for `min` if that is maintained. */
  demand(keepsMin: boolean): number {
    const taken = this.control?.isTaken === true ? 1 : 0
    return Math.min(this.missing(keepsMin), this.freePermits - taken)
  }

  /** How many more connections are needed, whether allowed or not. */
  missing(keepsMin: boolean): number {
    const { options, slots, queue } = this.#context
    return Math.max(queue.waiting - this.incoming, keepsMin ? options.min - slots.size : 0)
  }

  /** Called when a connection is closed, or could not be made. `connectMore` and `changed` follow. */
  returned(slot: Slot<T>): void {
    this.share?.returned(slot)
    this.control?.returned(slot)
  }

  /** Called when anything has changed in the pool. */
  changed(): void {
    this.share?.changed()
    this.control?.changed()
  }

  /** How many connections could be created now, in the pool and in its budget. */
  get obtainable(): number {
    return this.share === undefined ? this.freePermits : Math.min(this.freePermits, this.share.free)
  }

  /** Does only the budget keep the pool from creating a connection, while it has others? */
  get isOutOfBudget(): boolean {
    return this.share !== undefined && this.share.free <= 0 && this.#context.slots.size > 0
  }

  /** Are there more connections than `max` allows, not counting those being closed? Happens only after `resize`. */
  get isOversized(): boolean {
    return this.#context.slots.size > this.#context.options.max
  }

  /** How many connections are on their way to waiting acquires. */
  get incoming(): number {
    const settling = this.awaitsEventLoop ? this.#context.slots.counts.idle : 0
    return this.connects.size + this.checks.size + settling
  }

  /** How many further acquires can count on a connection without waiting for a loan to end. */
  get expected(): number {
    const { slots, queue } = this.#context
    const { obtainable } = this
    const startable = this.#breaker.failures > 0 ? Math.max(1 - slots.counts.connecting, 0) : obtainable
    return this.incoming + Math.max(Math.min(obtainable, startable), 0) - queue.waiting
  }

  /**
   * May one more connect start, while none fails? If connections were lost since the last one was made, the server may
   * be away, and one connect is enough to find out. A connect that hangs counts half.
   */
  get hasRoomToConnect(): boolean {
    const { options, slots, totals, liveness } = this.#context
    const first = liveness.suspicion.closedAt >= this.connectedAt ? 1 : FIRST_CONNECTS
    const isKnown = totals.created > 0 && first > 1
    const most = isKnown ? options.maxConnecting : Math.min(first, options.maxConnecting)
    return this.connects.size < most && slots.counts.connecting < 2 * options.maxConnecting
  }

  /** When the next connect may start; `Infinity` if one of the running connects has to end first. */
  nextConnectAt(now: number): number {
    const breaker = this.#breaker
    if (now < this.pauseUntil) return this.pauseUntil
    if (breaker.failures === 0) return this.hasRoomToConnect ? now : Number.POSITIVE_INFINITY
    // Only one connect may run now, and a hanging one counts as that one.
    if (this.#context.slots.counts.connecting > 0) return Number.POSITIVE_INFINITY
    if (now < breaker.retryAt) return breaker.retryAt
    return breaker.unproven && breaker.trials.count > 0 ? breaker.trials.until : now
  }

  /**
   * May an existing connection still serve a waiter soon? Not one that is known to end with its loan. Not one that has
   * been lent for longer than a caller waits either: its borrower may keep it for hours, and it may be as dead as the
   * server.
   */
  mayServe(now: number, currentGeneration: number): boolean {
    const { slots, options } = this.#context
    if (slots.open === 0) return false
    const lentSince = now - options.acquireTimeoutMillis
    for (const { state, fault, generation, lentAt } of slots.all) {
      if (state === 'connecting' || state === 'closing' || fault !== undefined) continue
      if (generation === currentGeneration && (state !== 'lent' || lentAt > lentSince)) return true
    }
    return false
  }

  /** Called when a waiter gave up. A connect that is about as old as its wait is no longer counted on. */
  waiterLeft(waited: number, now: number, isImpatient: boolean): void {
    const [oldest] = this.connects
    if (oldest === undefined || (isImpatient && waited < IMPATIENT_MILLIS)) return
    // The loop may have been blocked just before the connect could start.
    const ran = waited - this.#context.stalls.knownSince(now - waited)
    if (now - oldest.startedAt >= ran * 0.9) this.connects.delete(oldest)
  }

  /** Stops counting on old connects that a newer one has overtaken by far. Their waiters get a new connect. */
  dropOvertaken(winner: Slot<T>, now: number): void {
    const patience = Math.max(OVERTAKEN_TIMES * (now - winner.startedAt), OVERTAKEN_MILLIS)
    for (const connect of this.connects) {
      if (now - connect.startedAt <= patience) return
      this.connects.delete(connect)
    }
  }
}

/** What the first waiter in the queue is waiting for. */
export function phaseOf<T>({ slots }: PoolContext<T>, breaker: Breaker<T>): AcquirePhase {
  const { validating, connecting } = slots.counts
  if (validating > 0) return 'validate'
  return connecting > 0 || breaker.failures > 0 ? 'connect' : 'queue'
}
