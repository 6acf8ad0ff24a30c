import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Slot } from '../connections/slot.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import type { Validator } from './validator.ts'

/** The longest work of one run, and the pause before the next run if there is more. Milliseconds. */
const RUN_MILLIS = 0.5
const REST_MILLIS = 25
/** Connections that are due within this many milliseconds are ended in one run. */
const TOGETHER_MILLIS = 10
/** The pause before the server is asked for its idle limit again, if no idle connection was available. Milliseconds. */
const ASK_AGAIN_MILLIS = 100
/** The shortest time between two renewals of connections that `min` keeps, if these are late. Milliseconds. */
const RENEW_PAUSE_MILLIS = 100

/**
 * Checks idle connections from time to time, and ends those that have been idle or alive for too long. Does not keep
 * the process alive.
 */
export class Evictor<T> {
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  readonly #validator: Validator<T>
  readonly #alarm: Alarm
  #started = false
  /** Whether a run is planned, or may become due once a connection is idle. */
  #isNeeded = true
  /** When idle connections are next tested: at the user's interval, or without one when the first of them is due. */
  #evictAt = Number.POSITIVE_INFINITY
  #askedIn: number | undefined
  #askAt = 0
  #renewAt = 0

  constructor(context: PoolContext<T>, connector: Connector<T>, validator: Validator<T>) {
    this.#context = context
    this.#connector = connector
    this.#validator = validator
    this.#alarm = new Alarm(context.clock, () => this.#run(), context.stalls)
  }

  /** The timer of the next run, if one is planned. */
  get planned(): object | null {
    return this.#alarm.isSet ? this.#alarm : null
  }

  /** Does the server still have to be asked for its idle limit? This happens once per generation. */
  get #mustAskIdleTimeout(): boolean {
    const { factory, options } = this.#context
    return (
      this.#started &&
      this.#askedIn !== this.#connector.generation &&
      factory.serverIdleTimeout !== undefined &&
      options.serverIdleTimeoutMillis === 'auto' &&
      options.halfClose === 'on'
    )
  }

  start(): void {
    this.#started = true
    const { clock, options } = this.#context
    this.#evictAt = clock.now() + options.evictionRunIntervalMillis
    this.plan()
  }

  /** Called after every change: sees to it that the server is asked for its idle limit, if it still has to be. */
  askWhenIdle(): void {
    if (this.#mustAskIdleTimeout && !this.#alarm.isSet) this.plan()
  }

  /** Called when a connection has become idle. */
  wake(): void {
    if (this.#started && (this.#mustAskIdleTimeout || (this.#isNeeded && !this.#alarm.isSet))) this.plan()
  }

  /**
   * Sets the alarm for the next time that something is due. Call it whenever that may have changed. While no connection
   * is idle, only a user-defined interval continues. Otherwise a test that runs all timers would never end.
   */
  plan(): void {
    if (!this.#started) return
    const { clock, options, serverIdleTimeout, slots } = this.#context
    const isAsleep = slots.counts.idle === 0 && options.evictionRunIntervalMillis === 0
    if (isAsleep) return
    const now = clock.now()
    const retireAt = Math.min(now + retirePeriod(options, serverIdleTimeout.period), this.#nextExpiry(now))
    const askAt = this.#mustAskIdleTimeout && slots.open > 0 ? this.#askAt : Number.POSITIVE_INFINITY
    if (options.evictionRunIntervalMillis === 0) this.#evictAt = this.#nextTooIdle(now)
    const next = Math.min(this.#evictAt, retireAt, askAt, this.#nextRenewal(now))
    const isPlanned = Number.isFinite(next)
    this.#isNeeded = isPlanned
    if (isPlanned) this.#alarm.set(next)
  }

  /** When the first of the idle connections is to retire before it expires. */
  #nextExpiry(now: number): number {
    if (this.#context.factory.expiresAt === undefined) return Number.POSITIVE_INFINITY
    let first = Number.POSITIVE_INFINITY
    for (const { retireAt } of this.#context.slots.idleSlots()) first = Math.min(first, retireAt)
    return Math.max(first, now + TOGETHER_MILLIS)
  }

  /**
   * When the longest idle connection will have been idle for too long. At least a moment from now, so that connections
   * that are due together end together.
   */
  #nextTooIdle(now: number): number {
    const { options, slots } = this.#context
    const longest = slots.nextIdle(true)
    if (longest === undefined) return Number.POSITIVE_INFINITY
    const { idleTimeoutMillis, softIdleTimeoutMillis } = options
    // Connections that `min` keeps are renewed instead.
    const isKept = slots.size <= options.min
    const due = isKept
      ? Number.POSITIVE_INFINITY
      : Math.max(longest.idleSince + idleTimeoutMillis + 1, now + TOGETHER_MILLIS)
    if (softIdleTimeoutMillis < 0) return due
    // A connection that is within `min` now may exceed it later.
    const isSpare = slots.counts.idle > options.min
    const soft = (isSpare ? longest.idleSince : now) + softIdleTimeoutMillis + 1
    return Math.min(due, Math.max(soft, now + TOGETHER_MILLIS))
  }

  stop(): void {
    this.#started = false
    this.#alarm.clear()
  }

  #run(): void {
    const { clock, options } = this.#context
    const now = clock.now()
    if (now >= this.#evictAt) {
      this.#evict(now)
      this.#evictAt = now + options.evictionRunIntervalMillis
    }
    this.#renew(now)
    this.#retire(now)
    if (this.#mustAskIdleTimeout) this.#askIdleTimeout(now)
    this.plan()
  }

  /** Tests the longest idle connections first, as many as one run may test. */
  #evict(now: number): void {
    const { options, slots } = this.#context
    const all = slots.idleSlots()
    // `numTestsPerEvictionRun` applies only to a user-defined interval. Without one, all are tested.
    const tests = options.evictionRunIntervalMillis > 0 ? options.numTestsPerEvictionRun : all.length
    for (const slot of all.slice(0, tests)) {
      if (slot.state !== 'idle') continue
      const isSpare = slots.counts.idle > options.min
      const isKept = slots.size <= options.min
      if (tooIdle(slot, now, options, isSpare, isKept)) this.#connector.discard(slot, 'idle')
    }
  }

  /**
   * When the next connection that `min` keeps is to be renewed. Renewals are spread over half of the idle timeout, so
   * that none stays idle for too long because it has to wait for the others. There is no renewal while another
   * connection is being made, so that `min` is kept in an outage, too.
   */
  #nextRenewal(now: number): number {
    const { options, slots } = this.#context
    const { idleTimeoutMillis: timeout, min } = options
    if (timeout === Number.POSITIVE_INFINITY || slots.size > min || slots.counts.idle === 0)
      return Number.POSITIVE_INFINITY
    const step = timeout / 2 / min
    let ahead = 1
    let at = Number.POSITIVE_INFINITY
    for (const { idleSince } of slots.idleSlots()) {
      at = Math.min(at, idleSince + timeout - ahead * step)
      ahead += 1
    }
    // One of those that `min` keeps is being made.
    const isBusy = slots.open < min
    return Math.max(at, this.#renewAt, isBusy ? now + RENEW_PAUSE_MILLIS : now)
  }

  #renew(now: number): void {
    const longest = this.#context.slots.nextIdle(true)
    if (longest === undefined || this.#nextRenewal(now) > now) return
    this.#renewAt = now + Math.min(RENEW_PAUSE_MILLIS, this.#context.options.idleTimeoutMillis / 4)
    this.#connector.discard(longest, 'idle')
  }

  /** Ends some of the connections that are too old, or that the server is about to close. Never all at once. */
  #retire(now: number): void {
    const { clock, options, slots, serverIdleTimeout } = this.#context
    let left = Math.max(Math.ceil(slots.counts.idle / 8), 1)
    let tester = serverIdleTimeout.isDoubted(now)
    for (const slot of slots.idleSlots()) {
      if (slot.state !== 'idle') continue
      const old = now >= slot.retireAt
      if (!old && !mustRetire(slot, now, serverIdleTimeout.retireAfter)) continue
      if (!old && tester) {
        // Does not retire the longest idle connection, to see whether the server closes it.
        tester = false
        serverIdleTimeout.survived(now - slot.traffic.quietSince)
        continue
      }
      if (left === 0 || clock.now() - now > RUN_MILLIS) {
        this.#alarm.set(now + REST_MILLIS)
        return
      }
      left -= 1
      if (!old && options.keepWarm) this.#validator.validateSoon([slot])
      else this.#connector.discard(slot, old ? 'lifetime' : 'server-timeout')
    }
  }

  #askIdleTimeout(now: number): void {
    const { slots, options } = this.#context
    // Takes the connection that will not be lent next.
    const slot: Slot<T> | undefined = slots.nextIdle(!options.fifo)
    this.#askAt = now + ASK_AGAIN_MILLIS
    if (slot === undefined) return
    this.#askedIn = this.#connector.generation
    this.#validator.askIdleTimeout(slot)
  }
}

/** How far the retirements of connections that became idle together are spread: a quarter of the limit. */
const SPREAD = 0.25

/**
 * Must an idle connection retire now, before the server closes it? Each retires a little earlier than the limit
 * requires.
 */
function mustRetire<T>(slot: Slot<T>, now: number, retireAfter: number): boolean {
  return now - slot.traffic.quietSince >= retireAfter * (1 - SPREAD * slot.spread)
}

/**
 * Should the idle check destroy this connection?
 * @param isSpare - more than `min` connections are idle
 * @param isKept - there are at most `min` connections in all, which are renewed one by one
 */
function tooIdle<T>(
  slot: Slot<T>,
  now: number,
  options: ResolvedOptions,
  isSpare: boolean,
  isKept: boolean,
): boolean {
  const idle = now - slot.idleSince
  const soft = options.softIdleTimeoutMillis
  return (!isKept && idle > options.idleTimeoutMillis) || (isSpare && soft > 0 && idle > soft)
}

/** How often idle connections are checked for their lifetime and the server's limit. Milliseconds. */
function retirePeriod(options: ResolvedOptions, limitPeriod: number): number {
  const period = Math.min(options.maxLifetimeMillis / 8, limitPeriod)
  return Number.isFinite(period) ? Math.min(Math.max(period, 25), 30_000) : period
}
