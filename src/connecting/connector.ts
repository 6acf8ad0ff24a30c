import { endedEarly, madeTwice, stillDialing } from '../api/error-messages.ts'
import type { DestroyReason } from '../api/stats.ts'
import { isNews, warn } from '../api/warnings.ts'
import { retireTime } from '../connections/lifetime.ts'
import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import { outsideContext } from '../runtime/async-context.ts'
import { log, refreshTracing } from '../runtime/log/log.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import { closeSocket } from '../sockets/socket-state.ts'
import { Breaker } from './breaker.ts'
import { Capacity } from './capacity.ts'
import { type ConnectFailure, connectFailure } from './connect-failure.ts'
import { Engine } from './engine.ts'
import type { PoolContext } from './pool-context.ts'

/** While an open breaker probes, new acquires wait for the result, unless the probe is older than this. */
const PROBE_MILLIS = 500

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
  readonly breaker: Breaker<T>
  readonly capacity: Capacity<T>
  generation = 0
  /** Why the latest generation was begun. */
  purgeReason: string | undefined = undefined
  /** Whether `min` is kept: the pool has been started and neither drains nor is being cleared. */
  keepsMin = false
  /** Whether the pool is closed: what still arrives is destroyed. */
  isStopped = false
  /** No connect before this time, in milliseconds of the pool's clock. */
  #pauseUntil = 0
  /** When the latest connect was started. */
  #startedAt = 0
  readonly #context: PoolContext<T>
  readonly #engine: Engine<T>
  readonly #retryAlarm: Alarm
  readonly #probeAlarm: Alarm

  constructor(context: PoolContext<T>) {
    this.#context = context
    const { clock, random, slots, options, stalls, queue } = context
    const pool = options.name
    this.breaker = new Breaker({
      ...{ clock, random, slots, options },
      isAwaitedSince: time => (queue.oldest()?.since ?? Number.POSITIVE_INFINITY) < time,
      listener: (state, failures, error) =>
        context.events.announce('breaker', { pool, state, failures, error }),
    })
    this.capacity = new Capacity(context, this.breaker)
    this.#engine = new Engine(context, error => {
      context.totals.destroyErrors += 1
      context.events.announce('factoryDestroyError', error as Error)
    })
    this.#retryAlarm = new Alarm(clock, () => this.#retry(), stalls)
    this.#probeAlarm = new Alarm(clock, () => this.#probeIsLate(), stalls)
  }

  /** Is a connect put off on purpose? */
  get isPausing(): boolean {
    return this.#retryAlarm.isSet
  }

  /**
   * Is nobody served, and nobody going to be soon? Connections in use may still come back, and whoever comes while a
   * probe is due or under way waits for its result.
   */
  get isDown(): boolean {
    const { slots, clock } = this.#context
    const now = clock.now()
    const isProbing = slots.counts.connecting > 0
    this.breaker.openIfOverdue(now, isProbing)
    if (!this.breaker.isOpen || this.capacity.mayServe(now, this.generation)) return false
    return isProbing ? now - this.#startedAt >= PROBE_MILLIS : now < this.breaker.retryAt
  }

  /** Starts as many connects as waiters and `min` call for and permits and breaker allow. */
  connectMore(): void {
    const { clock, options, slots, queue } = this.#context
    const { capacity } = this
    while (!this.isStopped && capacity.freePermits > 0) {
      const missing = this.keepsMin ? options.min - slots.size : 0
      if (Math.max(queue.waiting - capacity.incoming, missing) <= 0) return
      const now = clock.now()
      const at = this.#nextConnectAt(now)
      if (at > now) {
        if (at < Number.POSITIVE_INFINITY) this.#retryAlarm.set(at)
        return
      }
      this.#connect(now)
    }
  }

  /** When the next connect may start; `Infinity`: once one of those under way has ended. */
  #nextConnectAt(now: number): number {
    const { breaker } = this
    if (now < this.#pauseUntil) return this.#pauseUntil
    if (breaker.failures === 0) return this.capacity.hasRoomToConnect ? now : Number.POSITIVE_INFINITY
    // Only one connect may run now, and a hanging one counts as that one.
    if (this.#context.slots.counts.connecting > 0) return Number.POSITIVE_INFINITY
    if (now < breaker.retryAt) return breaker.retryAt
    return breaker.unproven && breaker.trials.count > 0 ? breaker.trials.until : now
  }

  #retry(): void {
    this.breaker.checkSurvivors()
    if (this.breaker.unproven) this.#retryAlarm.set(this.breaker.trials.until)
    this.connectMore()
  }

  /** A connection has answered, or a loan of it has ended well. */
  provedUseful(slot: Slot<T>): void {
    this.breaker.provedUseful(slot)
    this.connectMore()
  }

  /** A waiter has left in vain. */
  waiterLeft(waiter: Waiter<T>, now: number, isImpatient: boolean): void {
    if (this.breaker.failures === 0) this.capacity.waiterLeft(now - waiter.since, now, isImpatient)
  }

  /** Ends a connection. Its permit returns when the close has settled or timed out. */
  discard(slot: Slot<T>, reason: DestroyReason, detail?: string): void {
    const { slots, events, totals, destroyedBy, options, clock, onChange, liveness } = this.#context
    const from = slot.state
    destroyedBy[reason] = (destroyedBy[reason] ?? 0) + 1
    slots.move(slot, 'closing')
    liveness.unwatch(slot)
    const now = clock.now()
    if (this.breaker.isEarlyDeath(slot, { reason, detail }, now)) {
      const early = { detail: detail ?? reason, ageMillis: now - slot.createdAt, wasLent: slot.loan > 0 }
      const failure = { error: endedEarly(this.#context.stats(), early), kind: 'turned-away' } as const
      this.#noteFailure(failure, this.breaker.diedEarly(failure, slot, now))
    }
    // Not before the breaker knows: those that are suspected because of it may have new ones made.
    liveness.lost(slot, { reason, detail }, from, now)
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
      // One that was never of use is replaced a moment later: what keeps making such connections, as a hook that calls
      // purge() would, must not keep the event loop from turning.
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
    this.capacity.connects.clear()
  }

  /** The pool is closed: no more dials, and those in flight are given up. */
  stop(reason: unknown): void {
    this.isStopped = true
    this.keepsMin = false
    this.#retryAlarm.clear()
    this.#probeAlarm.clear()
    outsideContext(() => {
      for (const slot of this.#context.slots.all)
        if (slot.state === 'connecting') slot.createAbort?.abort(reason)
    })
  }

  #connect(now: number): void {
    const { slots, options } = this.#context
    const slot = slots.add(this.generation, now)
    this.capacity.connects.add(slot)
    this.#startedAt = now
    if (this.breaker.isOpen) this.#probeAlarm.set(now + PROBE_MILLIS)
    refreshTracing()
    if (log.create.enabled) log.create('%s #%d: connecting', options.name, slot.id)
    outsideContext(() => this.#engine.open(slot).then(opened => this.#connectEnded(opened)))
  }

  /** Rejects the acquires that wait for this probe. It goes on, and no second one starts. */
  #probeIsLate(): void {
    const { slots, queue, clock, stats } = this.#context
    if (!this.breaker.isOpen || slots.counts.connecting === 0) return
    const now = clock.now()
    if (this.capacity.mayServe(now, this.generation)) return
    this.breaker.lastError = stillDialing(stats(), now - this.#startedAt)
    queue.rejectSince(this.breaker.openings)
  }

  /** A create has ended, well or badly. */
  #connectEnded(slot: Slot<T>): void {
    const { slots, options, clock, totals, times, events, onChange } = this.#context
    const now = clock.now()
    this.capacity.connects.delete(slot)
    if (slots.counts.connecting <= 1) this.#probeAlarm.clear()
    const resource = slot.resource as T
    if (slot.failure === undefined && !slots.register(slot, resource))
      slot.failure = { error: madeTwice(this.#context.stats(), resource) }
    if (slot.failure !== undefined) {
      slots.move(slot, 'closed')
      this.#engine.close(slot)
      // A dial that the closing pool called off has not failed.
      if (!this.isStopped) {
        totals.createErrors += 1
        const { factory, serverLimit } = this.#context
        const failure = connectFailure(slot.failure, factory.isPermanent?.bind(factory))
        serverLimit.refused(now)
        this.#noteFailure(failure, this.breaker.failed(failure, slot.startedAt, now))
        events.announce('factoryCreateError', slot.failure.error as Error)
        this.connectMore()
      }
      onChange()
      return
    }
    if ((resource === undefined || resource === null) && isNews(`create of ${options.name}`)) {
      warn(
        'CREATE',
        `factory.create of pool '${options.name}' gave ${resource}, and that is what the pool lends. Have it return the ` +
          'connection, or a promise of it',
      )
    }
    totals.created += 1
    times.created(now - slot.startedAt)
    slot.createdAt = now
    this.capacity.connectedAt = now
    slot.idleSince = now
    slot.traffic.said(undefined, now)
    slot.spread = this.#context.random()
    slot.retireAt = retireTime(now, options, this.#context.random)
    this.capacity.dropOvertaken(slot, now)
    this.breaker.connected(slot.startedAt)
    if (log.create.enabled) log.create('%s #%d: connected', options.name, slot.id)
    events.announce('connect', { pool: options.name, resource, millis: now - slot.startedAt })
    this.#watch(slot)
    this.#deliverOnceSure(slot)
  }

  /** What the server has done by now may not be known yet: whether it has hung up, for one. */
  #deliverOnceSure(slot: Slot<T>): void {
    const { clock, liveness, slots, stalls } = this.#context
    const { capacity, breaker } = this
    if (breaker.unproven) this.#retryAlarm.set(breaker.trials.until)
    const deliver = (): void => {
      capacity.connects.delete(slot)
      this.#deliver(slot)
    }
    const millis = breaker.watchMillis(slot, slots.open > 0)
    const isStale = slot.watch !== undefined && stalls.since(slot.startedAt) > 0
    if (millis === 0 && !isStale) {
      this.#deliver(slot)
      return
    }
    capacity.connects.add(slot)
    // What it did while the loop stood still lies in the kernel; and timers run before that is read.
    if (millis === 0) liveness.barrier(deliver)
    else outsideContext(() => clock.after(millis, () => liveness.barrier(deliver)))
  }

  #deliver(slot: Slot<T>): void {
    this.onConnected(slot)
    this.#context.onChange()
  }

  #noteFailure({ error, kind }: ConnectFailure, wasProbe: boolean): void {
    const { options, queue, clock } = this.#context
    const { breaker } = this
    if (log.create.enabled) log.create('%s: failed, %d in a row: %O', options.name, breaker.failures, error)
    if (this.capacity.mayServe(clock.now(), this.generation)) return
    // A retry helps no waiter: all are rejected. Otherwise only those that came after the breaker opened are; earlier
    // ones go on waiting.
    if (kind === 'permanent') queue.rejectUnhealthy()
    else if (wasProbe) queue.rejectSince(breaker.openings)
  }

  #watch(slot: Slot<T>): void {
    const wrong = this.#context.liveness.watch(slot, fault => {
      // If it is lent or being checked, its next step reads `slot.fault`.
      if (slot.state === 'idle') this.discard(slot, fault.reason, fault.detail)
    })
    slot.fault ??= wrong
  }
}
