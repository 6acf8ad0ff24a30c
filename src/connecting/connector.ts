import { madeTwice, stillborn } from '../api/error-messages.ts'
import type { DestroyReason, Factory, PoolStats } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import { demise } from '../connections/connection-lost.ts'
import { retirement } from '../connections/lifetime.ts'
import type { Lookout } from '../connections/liveness.ts'
import type { ServerLimit } from '../connections/server-idle-timeout.ts'
import type { Slot } from '../connections/slot.ts'
import type { Roster } from '../connections/slots.ts'
import type { Totals } from '../diagnostics/stats.ts'
import type { Nesting } from '../nested/nesting.ts'
import type { Gate } from '../queue/wait-queue.ts'
import type { Waiter } from '../queue/waiter.ts'
import { outside } from '../runtime/async-context.ts'
import { Alarm, type Clock } from '../runtime/clock.ts'
import type { Bounds } from '../runtime/deadline.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import { log, refreshTracing } from '../runtime/log.ts'
import { closeSocket } from '../sockets/socket-state.ts'
import { Breaker } from './breaker.ts'
import { Engine } from './engine.ts'
import { Probation } from './half-open-trials.ts'
import { Dials } from './pending-connects.ts'

/** What the parts of one pool share. */
export interface House<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly random: () => number
  readonly bounds: Bounds
  readonly events: PoolEmitter<T>
  readonly roster: Roster<T>
  readonly gate: Gate<T>
  readonly totals: Totals
  readonly lookout: Lookout<T>
  readonly limit: ServerLimit
  /** Who holds what in which context; undefined under `nested: 'allow'`. */
  readonly nesting: Nesting<T> | undefined
  readonly stats: () => PoolStats
  /** Something has ended: a connection, a loan, a wait. */
  readonly onChange: () => void
}

/**
 * Makes connections when they are needed, and ends them.
 *
 * Callers wait in the queue, never on a dial: before each dial the demand is counted anew, and whoever is first in
 * the queue gets whatever arrives first. Invariant 4: sockets that are or may be open (connecting to closing) never
 * exceed `max`, but for one thing: a create that has passed its deadline gives its permit back.
 */
export class Supply<T> {
  readonly breaker: Breaker
  readonly probation: Probation<T>
  generation = 0
  /** Why the latest generation was begun. */
  purgedFor: string | undefined = undefined
  /** Whether `min` is kept: the pool has been started and neither drains nor is being cleared. */
  keepsMin = false
  /** Validations and resets that take so long that nobody counts on them any more. */
  overdue = 0
  /** Whether the pool is closed: what still arrives is destroyed. */
  isStopped = false
  /** No dial before this time, in milliseconds of the pool's clock. */
  #restUntil = 0
  /** Whether the idle connections wait for the event loop to tell which of them are alive. */
  settling = false
  readonly #house: House<T>
  readonly #engine: Engine<T>
  readonly #retry: Alarm
  readonly #onArrival: (slot: Slot<T>) => void
  readonly #dials = new Dials<T>()

  /** @param onArrival - owns a good connection from then on */
  constructor(house: House<T>, onArrival: (slot: Slot<T>) => void) {
    this.#house = house
    this.#onArrival = onArrival
    const pool = house.options.name
    this.breaker = new Breaker(house.random, (state, failures, error) =>
      house.events.announce('breaker', { pool, state, failures, error }),
    )
    this.#engine = new Engine(house, error => {
      house.totals.destroyErrors += 1
      house.events.announce('factoryDestroyError', error as Error)
    })
    this.#retry = new Alarm(house.clock, () => this.provision(), house.bounds.onStall)
    this.probation = new Probation(house, this.breaker, () => this.provision())
  }

  /** Permits that are free. Negative after `resize` to a smaller pool. */
  get spare(): number {
    return this.#house.options.max - this.#house.roster.held
  }

  /** Are there more connections than `max` allows, those on their way out not counted? Only after `resize`. */
  get isOversized(): boolean {
    return this.#house.roster.size > this.#house.options.max
  }

  /** Connections on their way to whoever waits. */
  get incoming(): number {
    const { validating, resetting } = this.#house.roster.census
    const settling = this.settling ? this.#house.roster.census.idle : 0
    return this.#dials.size + validating + resetting + settling - this.overdue
  }

  /** Is a dial put off on purpose? */
  get isPausing(): boolean {
    return this.#retry.isSet
  }

  /** Is nobody served, and nobody going to be soon? Connections in use may still come back. */
  get isDown(): boolean {
    const { roster, clock } = this.#house
    return (
      this.breaker.isOpen &&
      roster.alive === 0 &&
      (roster.census.connecting > 0 || clock.now() < this.breaker.retryAt)
    )
  }

  /** How many more acquires can count on a connection without waiting for a loan to end. */
  get headroom(): number {
    const { connecting } = this.#house.roster.census
    const dialable = this.breaker.failures > 0 ? Math.max(1 - connecting, 0) : Number.POSITIVE_INFINITY
    return this.incoming + Math.min(Math.max(this.spare, 0), dialable) - this.#house.gate.waiting
  }

  /** Starts as many dials as waiters and `min` call for and permits and breaker allow. */
  provision(): void {
    const { clock, options, roster, gate } = this.#house
    while (!this.isStopped && this.spare > 0) {
      const missing = this.keepsMin ? options.min - roster.size : 0
      if (Math.max(gate.waiting - this.incoming, missing) <= 0) return
      const now = clock.now()
      if (now < this.#restUntil) {
        this.#retry.set(this.#restUntil)
        return
      }
      // While dials fail, also one that nobody counts on any more is the one that is allowed.
      const underWay =
        this.breaker.failures > 0 ? roster.census.connecting + this.probation.untried : this.#dials.size
      if (this.breaker.allowance(now) <= underWay) {
        if (underWay === 0) this.#retry.set(this.breaker.retryAt)
        return
      }
      this.#dial(now)
    }
  }

  /** A waiter has left in vain. A dial that it has outwaited is not worth the next one's trust. */
  outwaited(waiter: Waiter<T>, now: number, impatient: boolean): void {
    if (this.breaker.failures === 0) this.#dials.outwaited(now - waiter.since, now, impatient)
  }

  /** Ends a connection. Its permit returns when the close has settled or timed out. */
  discard(slot: Slot<T>, reason: DestroyReason, detail?: string): void {
    const { roster, events, totals, options, clock, onChange, lookout } = this.#house
    const from = slot.state
    roster.move(slot, 'closing')
    lookout.forget(slot)
    const now = clock.now()
    demise(this.#house, slot, { reason, detail }, from, now)
    // Still lent when the pool is closed by force.
    slot.scope?.end()
    slot.scope = undefined
    if (this.probation.isStillborn(slot, reason, now))
      this.#failed(stillborn(this.#house.stats(), detail ?? reason), slot.startedAt, now, true)
    if (log.destroy.enabled) log.destroy('%s #%d: %s %s', options.name, slot.id, reason, detail ?? '')
    events.announce('destroy', {
      pool: options.name,
      resource: slot.resource as T,
      reason,
      ...(detail === undefined ? {} : { detail }),
    })
    const closed = (): void => {
      // Whatever factory.destroy did, or could not do in its time.
      if (slot.watch !== undefined) closeSocket(slot.watch.socket)
      roster.move(slot, 'closed')
      totals.destroyed += 1
      // One that was never of use is replaced a moment later: whatever keeps making such connections, also a hook that
      // calls purge(), must not keep the loop from turning.
      if (slot.loan === 0) this.#restUntil = clock.now() + 1
      this.provision()
      onChange()
    }
    outside(() => this.#engine.close(slot).then(closed))
  }

  /** Connections made before this moment are not lent again; those on their way are destroyed when they arrive. */
  newGeneration(reason: string): void {
    this.generation += 1
    this.purgedFor = reason
    this.#dials.clear()
  }

  /** The pool is closed: no more dials, and those in flight are given up. */
  stop(reason: unknown): void {
    this.isStopped = true
    this.keepsMin = false
    this.#retry.clear()
    this.probation.stop()
    outside(() => {
      for (const slot of this.#house.roster.slots) if (slot.state === 'connecting') slot.dial?.abort(reason)
    })
  }

  #dial(now: number): void {
    const { roster, options } = this.#house
    const slot = roster.add(this.generation, now)
    this.#dials.add(slot)
    refreshTracing()
    if (log.create.enabled) log.create('%s #%d: connecting', options.name, slot.id)
    outside(() => this.#engine.open(slot).then(opened => this.#ended(opened)))
  }

  /** A create has ended, well or badly. */
  #ended(slot: Slot<T>): void {
    const { roster, options, clock, totals, events, bounds, lookout, onChange } = this.#house
    const now = clock.now()
    this.#dials.delete(slot)
    const resource = slot.resource as T
    if (slot.failure === undefined && !roster.name(slot, resource))
      slot.failure = { error: madeTwice(this.#house.stats(), resource) }
    if (slot.failure !== undefined) {
      roster.move(slot, 'closed')
      this.#engine.close(slot)
      // A dial that the closing pool called off has not failed.
      if (!this.isStopped) {
        totals.createErrors += 1
        this.#failed(slot.failure.error, slot.startedAt, now, false)
        events.announce('factoryCreateError', slot.failure.error as Error)
        this.provision()
      }
      onChange()
      return
    }
    totals.created += 1
    slot.createdAt = now
    slot.idleSince = now
    slot.activeAt = now
    slot.spread = this.#house.random()
    slot.retireAt = retirement(now, options, this.#house.random)
    this.#dials.overtaken(slot, now)
    this.probation.begin(slot, now)
    if (log.create.enabled) log.create('%s #%d: connected', options.name, slot.id)
    events.announce('connect', { pool: options.name, resource, millis: now - slot.startedAt })
    this.#watch(slot)
    if (slot.watch === undefined || bounds.stalls.since(slot.startedAt) === 0) this.#arrive(slot)
    else {
      // What the server did while the loop stood still lies in the kernel.
      this.#dials.add(slot)
      lookout.barrier(() => {
        this.#dials.delete(slot)
        this.#arrive(slot)
      })
    }
  }

  #arrive(slot: Slot<T>): void {
    this.#onArrival(slot)
    this.#house.onChange()
  }

  #failed(error: unknown, startedAt: number, now: number, untried: boolean): void {
    const { options, roster, gate, limit } = this.#house
    const { breaker } = this
    const wasProbe = breaker.failed(error, startedAt, now, untried, options.max)
    if (!untried) limit.refused(now)
    if (log.create.enabled) log.create('%s: failed, %d in a row: %O', options.name, breaker.failures, error)
    // Who came meanwhile had hoped for this probe; who had been waiting as it opened waits on.
    if (wasProbe && roster.alive === 0) gate.disappoint(breaker.openings)
  }

  #watch(slot: Slot<T>): void {
    const wrong = this.#house.lookout.watch(slot, fault => {
      // Lent or under way: the boundary that it comes to next will see the mark.
      if (slot.state === 'idle') this.discard(slot, fault.reason, fault.detail)
    })
    slot.fault ??= wrong
  }
}
