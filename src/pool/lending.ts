import type { DestroyReason, PoolEvents } from '../api/factory.ts'
import { type House, Supply } from '../connecting/connector.ts'
import { expired, mustProve } from '../connections/lifetime.ts'
import { deathOf } from '../connections/liveness.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { noteTraffic } from '../connections/traffic.ts'
import { leftDirty } from '../health/checks.ts'
import { Proving } from '../health/validator.ts'
import type { Waiter } from '../queue/waiter.ts'
import { log, tracing } from '../runtime/log.ts'
import { isHealthy, isOpen } from '../sockets/socket-state.ts'

const SURPLUS: Fault = { reason: 'surplus', detail: undefined }
/** What says that a connection was of no use. */
const DEAD: ReadonlySet<DestroyReason | undefined> = new Set<DestroyReason>([
  'half-closed',
  'broken',
  'invalid',
])
const CLOSED_POOL: Fault = { reason: 'drain', detail: undefined }

/**
 * Lends connections and takes them back: idle → (validating) → lent → (resetting) → idle; where somebody waits, straight
 * to the next.
 *
 * Invariant 5: when a step has ended and somebody waits, no idle connection is fit to be lent, and no permit is free
 * that demand and breaker would let be used.
 */
export class Lending<T> {
  readonly supply: Supply<T>
  readonly proving: Proving<T>
  readonly #house: House<T>
  readonly #fifo: boolean
  readonly #cleans: boolean
  /** Since when a waiter waits for the event loop to have delivered what the kernel holds; undefined: none does. */
  #settlingSince: number | undefined
  #settlingIn: number | undefined

  constructor(house: House<T>) {
    this.#house = house
    this.#fifo = house.options.fifo
    this.#cleans = house.factory.reset !== undefined || house.options.testOnReturn
    this.supply = new Supply(house, slot => this.#arrived(slot))
    this.proving = new Proving(house, this.supply, {
      unfit: (slot, now) => this.#unfit(slot, now),
      rest: (slot, now) => this.#rest(slot, now),
      ready: (slot, now, idleSince) => this.#ready(slot, now, 'proved', idleSince),
      serve: now => this.serve(now),
    })
  }

  /**
   * The next idle connection that is fit to be lent at this moment; those that are not are destroyed, or sent to be
   * validated, on the way. Check and hand-over are one step: the caller lends it before anything else can happen.
   * @param validations - how many may be sent
   * @param settledAt - what the kernel held by then has been delivered
   */
  take(now: number, validations: number, settledAt: number): Slot<T> | undefined {
    const { roster, options, lookout } = this.#house
    for (let slot = roster.idle(this.#fifo); slot !== undefined; slot = roster.idle(this.#fifo)) {
      let end = this.#unfit(slot, now)
      if (end === undefined) {
        if (mustProve(slot, now, options, this.#house.bounds.stalls) || lookout.suspicion.wantsAnswer(slot)) {
          if (validations <= 0) return undefined
          validations -= 1
          this.proving.refresh(slot)
          continue
        }
        const found = slot.watch === undefined ? undefined : lookout.check(slot, now, settledAt)
        if (found === undefined) return slot
        if (found === 'barrier') {
          this.#settle(now)
          return undefined
        }
        end = found
      }
      this.supply.discard(slot, end.reason, end.detail)
    }
    return undefined
  }

  /** Can somebody who will not wait be served all the same, once the event loop has turned? */
  get isSettling(): boolean {
    return this.#settlingSince !== undefined && this.#house.roster.census.idle > 0
  }

  lend(slot: Slot<T>, now: number, waitedMillis: number): void {
    const { roster, options, events, totals } = this.#house
    if (slot.state !== 'lent') {
      slot.watch?.yield()
      roster.move(slot, 'lent')
    }
    roster.handOut(slot)
    slot.loan += 1
    slot.lentAt = now
    slot.trace = undefined
    totals.acquired += 1
    if (tracing.loans) log.lend('%s #%d: lent, loan %d', options.name, slot.id, slot.loan)
    if (events.hears.acquire) {
      events.announce('acquire', { pool: options.name, resource: slot.lent as T, waitedMillis })
    }
  }

  /** Serves whoever waits with what is idle, and sees to it that more is on its way. */
  serve(now: number, settledAt = Number.NEGATIVE_INFINITY): void {
    const { gate, roster } = this.#house
    while (gate.waiting > 0 && roster.census.idle > 0) {
      this.#sendAway(now)
      // Whoever came after the wait for the event loop began has to wait for the next.
      const first = gate.peek()
      const isSettled = (first?.since ?? now) <= settledAt
      const settled = isSettled ? settledAt : Number.NEGATIVE_INFINITY
      const proving = Math.max(roster.census.validating - this.supply.overdue, 0)
      const slot = this.take(now, gate.waiting - proving, settled)
      // A hook that ran on the way may have sent the last waiter away.
      if (slot === undefined || gate.waiting === 0) break
      // Not to the youngest, where that goes first: it may have come after.
      this.#grant(slot, now, isSettled ? first : undefined)
    }
    this.supply.provision()
  }

  /** Takes a lent connection back: to the next in the queue, to the idle ones, or to its end. */
  giveBack(slot: Slot<T>): void {
    const now = this.#house.clock.now()
    const { loan } = slot
    if (slot.watch === undefined) slot.activeAt = now
    else noteTraffic(slot, now)
    const left = this.#house.roster.takeBack(slot)
    const end = this.#unfit(slot, now) ?? leftDirty(this.#house, slot, left)
    // factory.busy may have ended the loan itself.
    if (slot.state !== 'lent' || slot.loan !== loan) return
    this.#tellRelease(slot, now, 'released')
    if (end !== undefined) this.supply.discard(slot, end.reason, end.detail)
    else if (this.#cleans || left !== undefined) {
      this.proving.clean(slot, left)
    } else if (this.#house.options.testOnBorrow) {
      this.#rest(slot, now)
      this.serve(now)
    } else this.#ready(slot, now, 'returned')
    // Not before it has gone on: a hook that this sets off finds it where it belongs.
    if (this.supply.breaker.unproven && !DEAD.has(end?.reason)) this.supply.probation.ofUse(slot)
    this.#house.onChange()
  }

  /** Ends a lent connection: at its borrower's wish, or because the pool closes. */
  destroy(slot: Slot<T>, reason: DestroyReason = 'user'): void {
    const isAlive = slot.fault === undefined && (slot.socket === undefined || isOpen(slot.socket))
    this.#tellRelease(slot, this.#house.clock.now(), 'destroyed')
    this.supply.discard(slot, reason)
    if (this.supply.breaker.unproven && isAlive) this.supply.probation.ofUse(slot)
    this.#house.onChange()
  }

  /** Ends a lent connection that its borrower seems to have forgotten. */
  reclaim(slot: Slot<T>): void {
    slot.isReclaimed = true
    this.#tellRelease(slot, this.#house.clock.now(), 'reclaimed')
    this.supply.discard(slot, 'leaked', 'its lease was forgotten')
    this.#house.onChange()
  }

  #tellRelease(slot: Slot<T>, now: number, how: PoolEvents<T>['leak-end'][0]['how']): void {
    const { events, options, totals, nesting } = this.#house
    totals.released += 1
    if (nesting !== undefined) {
      nesting.ended(now, how === 'reclaimed' ? undefined : slot.scope)
      slot.scope?.end()
      slot.scope = undefined
    }
    if (tracing.loans) log.lend('%s #%d: back, loan %d', options.name, slot.id, slot.loan)
    if (slot.isSuspect) {
      slot.isSuspect = false
      if (log.leak.enabled)
        log.leak('%s #%d: loan %d was %s after all', options.name, slot.id, slot.loan, how)
      const heldMillis = now - slot.lentAt
      events.announce('leak-end', { pool: options.name, resource: slot.lent as T, heldMillis, how })
    }
    if (events.hears.release) {
      const heldMillis = now - slot.lentAt
      events.announce('release', { pool: options.name, resource: slot.lent as T, heldMillis })
    }
  }

  /** Why a connection must not be lent, or lent again, whatever state it is in. */
  #unfit(slot: Slot<T>, now: number): Fault | undefined {
    const over = expired(slot, now, this.supply.generation, this.#house.limit.retireAfter)
    if (over !== undefined) {
      const detail = over === 'generation' ? this.supply.purgedFor : undefined
      return slot.fault ?? { reason: over, detail }
    }
    if (slot.socket !== undefined && !isHealthy(slot.socket)) {
      // What a server says first is for the first borrower.
      if (slot.loan > 0 || !isOpen(slot.socket)) return deathOf(slot.socket)
    }
    return this.supply.isOversized ? SURPLUS : undefined
  }

  #arrived(slot: Slot<T>): void {
    const now = this.#house.clock.now()
    const end = this.supply.isStopped ? CLOSED_POOL : this.#unfit(slot, now)
    if (end !== undefined) this.supply.discard(slot, end.reason, end.detail)
    else if (this.#house.options.testOnBorrow) this.#rest(slot, now)
    else this.#ready(slot, now, 'proved')
    this.serve(now)
  }

  /** A connection is at hand: those who have waited too long for it go, where there is a shedder. */
  #sendAway(now: number): void {
    this.#house.gate.shedder?.dequeue(now)
  }

  /** A connection that is new, has proved itself or came back: to whoever is first in the queue, else it is idle. */
  #ready(slot: Slot<T>, now: number, how: 'proved' | 'returned', idleSince = now): void {
    const { gate, lookout } = this.#house
    if (gate.waiting > 0) this.#sendAway(now)
    if (gate.waiting === 0) {
      this.#rest(slot, now, idleSince)
      return
    }
    // Not before its first loan: a greeting that has come by now is for the borrower. Later, the answer that proved it
    // may have been its last, with the FIN right behind.
    const found = slot.loan === 0 ? undefined : lookout.check(slot, now, Number.NEGATIVE_INFINITY)
    const isFit = found === undefined || (found === 'barrier' && how === 'proved')
    // Otherwise it goes from hand to hand.
    if (!isFit || how === 'proved') this.#rest(slot, now, idleSince)
    if (isFit) this.#grant(slot, now)
    else if (found === 'barrier') this.#settle(now)
    else this.supply.discard(slot, found.reason, found.detail)
    if (found !== undefined && how === 'returned') this.supply.provision()
  }

  #rest(slot: Slot<T>, now: number, idleSince = now): void {
    slot.idleSince = idleSince
    this.#house.roster.move(slot, 'idle')
    this.#house.lookout.rest(slot, now)
  }

  #grant(slot: Slot<T>, now: number, first?: Waiter<T>): void {
    const { gate, nesting } = this.#house
    const urgent = nesting?.judge.urgent() ?? (first?.gone === false ? first : undefined)
    const waiter = urgent === undefined ? (gate.take() as Waiter<T>) : gate.takeThis(urgent)
    gate.rate?.served(now, gate.waiting)
    this.lend(slot, now, now - waiter.since)
    slot.trace = waiter.particulars.trace
    nesting?.granted(waiter, slot, now)
    waiter.grant(slot)
  }

  /** Serves again once the event loop has delivered what the kernel holds now. */
  #settle(now: number): void {
    this.supply.settling = true
    const turn = this.#house.lookout.turn()
    if (this.#settlingSince !== undefined) {
      // The poll phase that is waited for is still to come: what lies in the kernel by now counts as well.
      if (turn !== undefined && turn === this.#settlingIn) this.#settlingSince = now
      return
    }
    this.#settlingSince = now
    this.#settlingIn = turn
    this.#house.lookout.barrier(() => {
      const settledAt = this.#settlingSince
      this.#settlingSince = undefined
      this.supply.settling = false
      this.serve(this.#house.clock.now(), settledAt)
      this.#house.onChange()
    })
  }
}
