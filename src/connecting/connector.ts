import { madeTwice, stillborn } from '../api/error-messages.ts'
import type { DestroyReason } from '../api/stats.ts'
import { connectionLost } from '../connections/connection-lost.ts'
import { retireTime } from '../connections/lifetime.ts'
import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import { Alarm } from '../runtime/alarm.ts'
import { outsideContext } from '../runtime/async-context.ts'
import { log, refreshTracing } from '../runtime/log.ts'
import { closeSocket } from '../sockets/socket-state.ts'
import { Breaker } from './breaker.ts'
import { Engine } from './engine.ts'
import { HalfOpenTrials } from './half-open-trials.ts'
import { PendingConnects } from './pending-connects.ts'
import type { PoolContext } from './pool-context.ts'

/**
 * Makes connections when they are needed, and ends them.
 *
 * Callers wait in the queue, never on a dial: before each dial the demand is counted anew, and whoever is first in
 * the queue gets whatever arrives first. Invariant 4: sockets that are or may be open (connecting to closing) never
 * exceed `max`, but for one thing: a create that has passed its deadline gives its permit back.
 */
export class Connector<T> {
  /** Told of each good connection, which it owns from then on. */
  onConnected: (slot: Slot<T>) => void = () => {}
  readonly breaker: Breaker
  readonly trials: HalfOpenTrials<T>
  generation = 0
  /** Why the latest generation was begun. */
  purgeReason: string | undefined = undefined
  /** Whether `min` is kept: the pool has been started and neither drains nor is being cleared. */
  keepsMin = false
  /** Validations and resets that take so long that nobody counts on them any more. */
  overdue = 0
  /** Whether the pool is closed: what still arrives is destroyed. */
  isStopped = false
  /** No dial before this time, in milliseconds of the pool's clock. */
  #pauseUntil = 0
  /** Whether the idle connections wait for the event loop to tell which of them are alive. */
  awaitsEventLoop = false
  readonly #context: PoolContext<T>
  readonly #engine: Engine<T>
  readonly #retryAlarm: Alarm
  readonly #pending = new PendingConnects<T>()

  constructor(context: PoolContext<T>) {
    this.#context = context
    const pool = context.options.name
    this.breaker = new Breaker(context.random, (state, failures, error) =>
      context.events.announce('breaker', { pool, state, failures, error }),
    )
    this.#engine = new Engine(context, error => {
      context.totals.destroyErrors += 1
      context.events.announce('factoryDestroyError', error as Error)
    })
    this.#retryAlarm = new Alarm(context.clock, () => this.connectMore(), context.stalls)
    this.trials = new HalfOpenTrials(context, this.breaker, () => this.connectMore())
  }

  /** Permits that are free. Negative after `resize` to a smaller pool. */
  get freePermits(): number {
    return this.#context.options.max - this.#context.slots.permitsInUse
  }

  /** Are there more connections than `max` allows, those on their way out not counted? Only after `resize`. */
  get isOversized(): boolean {
    return this.#context.slots.size > this.#context.options.max
  }

  /** Connections on their way to whoever waits. */
  get incoming(): number {
    const { validating, resetting } = this.#context.slots.counts
    const settling = this.awaitsEventLoop ? this.#context.slots.counts.idle : 0
    return this.#pending.size + validating + resetting + settling - this.overdue
  }

  /** Is a dial put off on purpose? */
  get isPausing(): boolean {
    return this.#retryAlarm.isSet
  }

  /** Is nobody served, and nobody going to be soon? Connections in use may still come back. */
  get isDown(): boolean {
    const { slots, clock } = this.#context
    return (
      this.breaker.isOpen &&
      slots.open === 0 &&
      (slots.counts.connecting > 0 || clock.now() < this.breaker.retryAt)
    )
  }

  /** How many more acquires can count on a connection without waiting for a loan to end. */
  get expected(): number {
    const { connecting } = this.#context.slots.counts
    const dialable = this.breaker.failures > 0 ? Math.max(1 - connecting, 0) : Number.POSITIVE_INFINITY
    return this.incoming + Math.min(Math.max(this.freePermits, 0), dialable) - this.#context.queue.waiting
  }

  /** Starts as many dials as waiters and `min` call for and permits and breaker allow. */
  connectMore(): void {
    const { clock, options, slots, queue } = this.#context
    while (!this.isStopped && this.freePermits > 0) {
      const missing = this.keepsMin ? options.min - slots.size : 0
      if (Math.max(queue.waiting - this.incoming, missing) <= 0) return
      const now = clock.now()
      if (now < this.#pauseUntil) {
        this.#retryAlarm.set(this.#pauseUntil)
        return
      }
      // While dials fail, also one that nobody counts on any more is the one that is allowed.
      const underWay =
        this.breaker.failures > 0 ? slots.counts.connecting + this.trials.unused : this.#pending.size
      if (this.breaker.allowedConnects(now) <= underWay) {
        if (underWay === 0) this.#retryAlarm.set(this.breaker.retryAt)
        return
      }
      this.#connect(now)
    }
  }

  /** A waiter has left in vain. A dial that it has outwaited is not worth the next one's trust. */
  waiterLeft(waiter: Waiter<T>, now: number, impatient: boolean): void {
    if (this.breaker.failures === 0) this.#pending.waiterLeft(now - waiter.since, now, impatient)
  }

  /** Ends a connection. Its permit returns when the close has settled or timed out. */
  discard(slot: Slot<T>, reason: DestroyReason, detail?: string): void {
    const { slots, events, totals, options, clock, onChange, liveness } = this.#context
    const from = slot.state
    slots.move(slot, 'closing')
    liveness.unwatch(slot)
    const now = clock.now()
    connectionLost(this.#context, slot, { reason, detail }, from, now)
    if (this.trials.diedEarly(slot, reason, now))
      this.#failed(stillborn(this.#context.stats(), detail ?? reason), slot.startedAt, now, true)
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
      slots.move(slot, 'closed')
      totals.destroyed += 1
      // One that was never of use is replaced a moment later: whatever keeps making such connections, also a hook that
      // calls purge(), must not keep the loop from turning.
      if (slot.loan === 0) this.#pauseUntil = clock.now() + 1
      this.connectMore()
      onChange()
    }
    outsideContext(() => this.#engine.close(slot).then(closed))
  }

  /** Connections made before this moment are not lent again; those on their way are destroyed when they arrive. */
  newGeneration(reason: string): void {
    this.generation += 1
    this.purgeReason = reason
    this.#pending.clear()
  }

  /** The pool is closed: no more dials, and those in flight are given up. */
  stop(reason: unknown): void {
    this.isStopped = true
    this.keepsMin = false
    this.#retryAlarm.clear()
    this.trials.stop()
    outsideContext(() => {
      for (const slot of this.#context.slots.all)
        if (slot.state === 'connecting') slot.createAbort?.abort(reason)
    })
  }

  #connect(now: number): void {
    const { slots, options } = this.#context
    const slot = slots.add(this.generation, now)
    this.#pending.add(slot)
    refreshTracing()
    if (log.create.enabled) log.create('%s #%d: connecting', options.name, slot.id)
    outsideContext(() => this.#engine.open(slot).then(opened => this.#connectEnded(opened)))
  }

  /** A create has ended, well or badly. */
  #connectEnded(slot: Slot<T>): void {
    const { slots, options, clock, totals, times, events, stalls, liveness, onChange } = this.#context
    const now = clock.now()
    this.#pending.delete(slot)
    const resource = slot.resource as T
    if (slot.failure === undefined && !slots.register(slot, resource))
      slot.failure = { error: madeTwice(this.#context.stats(), resource) }
    if (slot.failure !== undefined) {
      slots.move(slot, 'closed')
      this.#engine.close(slot)
      // A dial that the closing pool called off has not failed.
      if (!this.isStopped) {
        totals.createErrors += 1
        this.#failed(slot.failure.error, slot.startedAt, now, false)
        events.announce('factoryCreateError', slot.failure.error as Error)
        this.connectMore()
      }
      onChange()
      return
    }
    totals.created += 1
    times.create.add(now - slot.startedAt)
    slot.createdAt = now
    slot.idleSince = now
    slot.activeAt = now
    slot.spread = this.#context.random()
    slot.retireAt = retireTime(now, options, this.#context.random)
    this.#pending.dropOvertaken(slot, now)
    this.trials.connected(slot, now)
    if (log.create.enabled) log.create('%s #%d: connected', options.name, slot.id)
    events.announce('connect', { pool: options.name, resource, millis: now - slot.startedAt })
    this.#watch(slot)
    if (slot.watch === undefined || stalls.since(slot.startedAt) === 0) this.#deliver(slot)
    else {
      // What the server did while the loop stood still lies in the kernel.
      this.#pending.add(slot)
      liveness.barrier(() => {
        this.#pending.delete(slot)
        this.#deliver(slot)
      })
    }
  }

  #deliver(slot: Slot<T>): void {
    this.onConnected(slot)
    this.#context.onChange()
  }

  #failed(error: unknown, startedAt: number, now: number, untried: boolean): void {
    const { options, slots, queue, serverLimit } = this.#context
    const { breaker } = this
    const wasProbe = breaker.failed(error, startedAt, now, untried, options.max)
    if (!untried) serverLimit.refused(now)
    if (log.create.enabled) log.create('%s: failed, %d in a row: %O', options.name, breaker.failures, error)
    // Who came meanwhile had hoped for this probe; who had been waiting as it opened waits on.
    if (wasProbe && slots.open === 0) queue.rejectSince(breaker.openings)
  }

  #watch(slot: Slot<T>): void {
    const wrong = this.#context.liveness.watch(slot, fault => {
      // Lent or under way: the boundary that it comes to next will see the mark.
      if (slot.state === 'idle') this.discard(slot, fault.reason, fault.detail)
    })
    slot.fault ??= wrong
  }
}
