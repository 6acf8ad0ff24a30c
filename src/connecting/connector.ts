import { endedEarly, madeTwice, stillDialing } from '../api/messages/error-messages.ts'
import { warnOfNothing } from '../api/messages/warnings.ts'
import type { DestroyReason } from '../api/stats.ts'
import { retireTime } from '../connections/lifetime.ts'
import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import { outsideContext } from '../runtime/async-context.ts'
import { errorTypeOf } from '../runtime/kinds.ts'
import { log, refreshTracing } from '../runtime/log/log.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import { closeSocket } from '../sockets/socket-state.ts'
import { Breaker } from './breaker.ts'
import { Capacity } from './capacity.ts'
import { type ConnectFailure, connectFailure } from './connect-failure.ts'
import { isEarlyDeath } from './early-death.ts'
import { Engine } from './engine.ts'
import type { PoolContext } from './pool-context.ts'

/** New acquires wait for the probe of an open breaker unless it is older than this. Milliseconds. */
const PROBE_MILLIS = 500

/**
 * Creates connections when they are needed, and ends them.
 *
 * Callers wait in the queue, never on a create. Demand is counted again before each create, and the first waiter in the
 * queue gets the connection that arrives first. Invariant 4: the sockets that are or may be open (states connecting to
 * closing) never exceed `max`, with one exception: a create that has passed its deadline returns its permit.
 */
export class Connector<T> {
  /** Is called with each good connection, and owns it from then on. */
  onConnected: (slot: Slot<T>) => void = () => {}
  readonly breaker: Breaker<T>
  readonly capacity: Capacity<T>
  generation = 0
  /** Why the latest generation was started. */
  purgeReason: string | undefined = undefined
  /** Whether `min` is maintained: the pool has been started, and is neither draining nor being cleared. */
  keepsMin = false
  /** Whether the pool is closed: connections that still arrive are destroyed. */
  isStopped = false
  /** When the latest connect started, in milliseconds of the pool's clock. */
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

  /** Is a connect being delayed on purpose? */
  get isPausing(): boolean {
    return this.#retryAlarm.isSet
  }

  /** Can no acquire be served soon? While a probe is due or in progress, new acquires wait for its result. */
  get isDown(): boolean {
    const { slots, clock } = this.#context
    const now = clock.now()
    const isProbing = slots.counts.connecting > 0
    this.breaker.openIfOverdue(now, isProbing)
    if (!this.breaker.isOpen || this.capacity.mayServe(now, this.generation)) return false
    return isProbing ? now - this.#startedAt >= PROBE_MILLIS : now < this.breaker.retryAt
  }

  /** Starts as many connects as waiters and `min` require and as permits and breaker allow. */
  connectMore(): void {
    const { capacity } = this
    while (!this.isStopped && capacity.demand(this.keepsMin) > 0) {
      const now = this.#context.clock.now()
      const at = capacity.nextConnectAt(now)
      if (at > now) {
        if (at < Number.POSITIVE_INFINITY) this.#retryAlarm.set(at)
        return
      }
      if (capacity.share?.request() === false) return
      this.#connect(now)
    }
  }

  /** How many connects would start now if the budget allows it. */
  get wanted(): number {
    const { clock, options } = this.#context
    const now = clock.now()
    if (this.isStopped || this.capacity.nextConnectAt(now) > now) return 0
    return Math.min(this.capacity.demand(this.keepsMin), options.maxConnecting)
  }

  #retry(): void {
    this.breaker.checkSurvivors()
    this.#awaitTrials()
    this.connectMore()
  }

  /** Looks again when the first of the new connections on trial will have lived long enough. */
  #awaitTrials(): void {
    if (this.isStopped || !this.breaker.unproven) return
    const { until } = this.breaker.trials
    if (until < Number.POSITIVE_INFINITY) this.#retryAlarm.set(until)
  }

  /** Called when a connection has answered, or a loan of it has ended well. */
  provedUseful(slot: Slot<T>): void {
    this.breaker.provedUseful(slot)
    this.connectMore()
  }

  /** Called when a waiter has left without a connection. */
  waiterLeft(waiter: Waiter<T>, now: number, isImpatient: boolean): void {
    if (this.breaker.failures === 0) this.capacity.waiterLeft(now - waiter.since, now, isImpatient)
  }

  /** Ends a connection. Its permit returns when the close has settled or timed out. */
  discard(slot: Slot<T>, reason: DestroyReason, detail?: string, left = 'unknown'): void {
    const { slots, events, totals, kinds, options, clock, onChange, liveness } = this.#context
    const from = slot.state
    kinds.destroyed.count(reason)
    if (reason === 'dirty') kinds.dirty.count(left)
    slots.move(slot, 'closing')
    liveness.unwatch(slot)
    const now = clock.now()
    if (isEarlyDeath(slot, { reason, detail }, from, now, options)) {
      const early = { detail: detail ?? reason, ageMillis: now - slot.createdAt, wasLent: slot.loan > 0 }
      const failure = { error: endedEarly(this.#context.stats(), early), kind: 'turned-away' } as const
      this.#recordFailure(failure, this.breaker.diedEarly(failure, slot, now))
    }
    // Only after the breaker has been informed: connections that `lost` makes suspect may lead to new connects.
    liveness.lost(slot, { reason, detail }, from, now)
    if (log.destroy.enabled) log.destroy('%s #%d: %s %s', options.name, slot.id, reason, detail ?? '')
    events.announce('destroy', {
      pool: options.name,
      resource: slot.resource as T,
      connection: slot.id,
      reason,
      ...(detail === undefined ? {} : { detail }),
    })
    const closed = (): void => {
      // Closes the socket in any case, whatever `factory.destroy` did or failed to do in time.
      if (slot.watch !== undefined) closeSocket(slot.watch.socket)
      slots.move(slot, 'closed')
      totals.destroyed += 1
      // A moment's pause: a hook that ends every new connection by `purge()` would keep the event loop from turning.
      if (slot.loan === 0) this.capacity.pauseUntil = clock.now() + 1
      this.capacity.returned(slot)
      this.connectMore()
      onChange()
    }
    outsideContext(() => this.#engine.close(slot).then(closed))
    // Waiters may have counted on it, while the event loop was to show whether it is alive.
    if (this.capacity.awaitsEventLoop) this.connectMore()
  }

  /** Starts a new generation: older connections are not lent again, connects in progress are destroyed on arrival. */
  newGeneration(reason: string): void {
    this.generation += 1
    this.purgeReason = reason
    this.capacity.connects.clear()
  }

  /** Called when the pool is closed: starts no more connects and aborts those in progress. */
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

  /** Rejects the acquires that wait for this probe. The probe continues, and no second one starts. */
  #probeIsLate(): void {
    const { queue, clock, stats } = this.#context
    if (!this.breaker.isOpen) return
    const now = clock.now()
    if (this.capacity.mayServe(now, this.generation)) return
    this.breaker.lastError = stillDialing(stats(), now - this.#startedAt)
    queue.rejectSince(this.breaker.openings)
  }

  /** Called when a create has ended, well or badly. */
  #connectEnded(slot: Slot<T>): void {
    const { slots, options, clock, totals, kinds, times, events, onChange } = this.#context
    const now = clock.now()
    this.capacity.connects.delete(slot)
    if (slots.counts.connecting <= 1) this.#probeAlarm.clear()
    const resource = slot.resource as T
    if (slot.failure === undefined && !slots.register(slot, resource))
      slot.failure = { error: madeTwice(this.#context.stats(), resource) }
    if (slot.failure !== undefined) {
      slots.move(slot, 'closed')
      this.capacity.returned(slot)
      this.#engine.close(slot)
      // A connect that the closing pool aborted has not failed.
      if (!this.isStopped) {
        totals.createErrors += 1
        kinds.createErrors.count(errorTypeOf(slot.failure.error))
        const { factory, serverIdleTimeout } = this.#context
        const failure = connectFailure(slot.failure, factory.isPermanent?.bind(factory))
        serverIdleTimeout.refused(now)
        this.#recordFailure(failure, this.breaker.failed(failure, slot.startedAt, now))
        events.announce('factoryCreateError', slot.failure.error as Error)
        this.connectMore()
      }
      onChange()
      return
    }
    if (resource === undefined || resource === null) warnOfNothing(options.name, resource)
    totals.created += 1
    times.created(now - slot.startedAt)
    slot.createdAt = now
    this.capacity.connectedAt = now
    slot.idleSince = now
    slot.traffic.exchanged(undefined, now)
    slot.spread = this.#context.random()
    slot.retireAt = Math.min(slot.retireAt, retireTime(now, options, this.#context.random))
    this.capacity.dropOvertaken(slot, now)
    this.breaker.connected()
    if (log.create.enabled) log.create('%s #%d: connected', options.name, slot.id)
    events.announce('connect', { pool: options.name, resource, millis: now - slot.startedAt })
    this.#watch(slot)
    this.#deliverWhenCertain(slot)
  }

  /** Delivers a new connection, after a wait if it is not yet certain that the server has not closed it. */
  #deliverWhenCertain(slot: Slot<T>): void {
    const { clock, liveness, slots, stalls } = this.#context
    const { capacity, breaker } = this
    this.#awaitTrials()
    const deliver = (): void => {
      capacity.connects.delete(slot)
      this.#deliver(slot)
    }
    const millis = breaker.watchMillis(slot, slots.open > 0)
    const isStale = slot.watch !== undefined && stalls.since(slot.startedAt) > 0
    // One from before a purge is not lent, so nobody should wait for it.
    if ((millis === 0 && !isStale) || slot.generation !== this.generation) {
      this.#deliver(slot)
      return
    }
    capacity.connects.add(slot)
    // Data that arrived during the stall is still unread in the kernel, and timers run before it is read.
    if (millis === 0) liveness.barrier(slot, deliver)
    else outsideContext(() => clock.after(millis, () => liveness.barrier(slot, deliver)))
    // It may have ended an outage: those who wait for others need not wait for its delivery.
    this.connectMore()
  }

  #deliver(slot: Slot<T>): void {
    this.onConnected(slot)
    this.#context.onChange()
  }

  #recordFailure({ error, kind }: ConnectFailure, wasProbe: boolean): void {
    const { options, queue, clock } = this.#context
    const { breaker } = this
    if (log.create.enabled) log.create('%s: failed, %d in a row: %O', options.name, breaker.failures, error)
    if (this.capacity.mayServe(clock.now(), this.generation)) return
    // If no retry will help, rejects all waiters; otherwise only those that came after the breaker opened.
    if (kind === 'permanent') queue.rejectUnhealthy()
    else if (wasProbe) queue.rejectSince(breaker.openings)
  }

  #watch(slot: Slot<T>): void {
    const wrong = this.#context.liveness.watch(slot, fault => {
      // If the connection is lent or being checked, its next step reads `slot.fault`.
      if (slot.state === 'idle') this.discard(slot, fault.reason, fault.detail, fault.left)
    })
    slot.fault ??= wrong
  }
}
