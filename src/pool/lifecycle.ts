import { forCaller, messageOf } from '../api/errors.ts'
import * as refusals from '../api/messages/error-messages.ts'
import { checkedBounds } from '../api/options/resolve-options.ts'
import type { PoolStats, SlotState } from '../api/stats.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Evictor } from '../health/evictor.ts'
import type { SocketReaper } from '../health/socket-reaper.ts'
import { onAbort } from '../runtime/abort.ts'
import { log } from '../runtime/log/log.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import { type CallOptions, checkOptions, type Limits, readLimits, UNLIMITED } from './call-limits.ts'
import type { Lending } from './lending.ts'
import type { Returns } from './returns.ts'

/** The limits of a close, which a later call of `close` may shorten. */
interface CloseLimits extends Limits {
  readonly since: number
  /** The alarm of the wait in progress. */
  alarm: Alarm | undefined
}

/** How a wait has ended. */
type WaitOutcome = 'met' | 'late' | 'aborted'

const STAYS_DRAINING = 'It stays draining.'

/** A connection in one of these states is about to become idle. */
const COMING: ReadonlySet<SlotState> = new Set<SlotState>(['connecting', 'validating', 'resetting'])
const isComing = ({ state }: { readonly state: SlotState }): boolean => COMING.has(state)

/** The states of a pool, and the one that follows: none opens again. */
const NEXT = { open: 'draining', draining: 'closed', closed: undefined } as const

/** The methods that the user calls: an error about their options starts at their callers. */
type Entries = Readonly<Record<'ready' | 'drain' | 'close', Parameters<typeof forCaller>[0]>>

/** The life of a pool: open → draining → closed. Starts it, and ends it in limited time. */
export class Lifecycle<T> {
  state: PoolStats['state'] = 'open'
  readonly evictor: Evictor<T>
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #returns: Returns<T>
  /** Describes who holds connections, longest first. Set when all parts exist, see `assemble`. */
  holders: () => string[] = () => []
  /** Is called when the pool is closed. Set when all parts exist, see `assemble`. */
  onClosed: () => void = () => {}
  readonly #connector: Connector<T>
  readonly #reaper: SocketReaper<T>
  readonly #entries: Entries
  readonly #checks = new Set<() => void>()
  #started = false
  #clearing = 0
  #closing: Promise<void> | undefined
  #closeLimits: CloseLimits | undefined
  /** Ends the wait of `close` for all its callers, when the signal of one of them is aborted. */
  readonly #force = new AbortController()

  constructor(
    context: PoolContext<T>,
    connector: Connector<T>,
    lending: Lending<T>,
    returns: Returns<T>,
    evictor: Evictor<T>,
    reaper: SocketReaper<T>,
    entries: Entries,
  ) {
    this.#context = context
    this.#connector = connector
    this.#lending = lending
    this.#returns = returns
    this.evictor = evictor
    this.#reaper = reaper
    this.#entries = entries
  }

  start(): void {
    if (this.#started || this.state !== 'open') return
    this.#started = true
    this.evictor.start()
    this.#keepMin()
  }

  async ready(callOptions: CallOptions): Promise<void> {
    const { options, slots, clock, stats } = this.#context
    const limits = forCaller(this.#entries.ready, () =>
      readLimits(callOptions, options.acquireTimeoutMillis, this.#context),
    )
    const since = clock.now()
    this.start()
    const isReady = (): boolean => slots.open >= options.min
    const isOver = (): boolean => this.state !== 'open' || this.#isRetryUseless()
    const outcome = await this.#until(() => isReady() || isOver(), limits)
    if (outcome === 'aborted')
      throw refusals.callAborted(stats(), 'ready', clock.now() - since, 'It keeps trying.', limits.signal)
    if (isReady()) return
    throw this.state !== 'open'
      ? refusals.closed(stats())
      : refusals.notReady(stats(), clock.now() - since, this.#connector.breaker)
  }

  /** Is it certain that trying again will not help? Not while the next try is due or in progress. */
  #isRetryUseless(): boolean {
    return this.#connector.breaker.permanentAdvice !== undefined && this.#connector.isDown
  }

  async drain(callOptions: CallOptions): Promise<void> {
    const limits = forCaller(this.#entries.drain, () =>
      readLimits(callOptions, this.#context.options.drainTimeoutMillis, this.#context),
    )
    const { clock, stats } = this.#context
    const since = clock.now()
    const outcome = await this.#drain(limits)
    if (outcome === 'met') return
    if (outcome === 'aborted')
      throw refusals.callAborted(
        stats(),
        'drain',
        clock.now() - since,
        STAYS_DRAINING,
        limits.signal,
        this.holders(),
      )
    throw refusals.drainTimeout(stats(), limits.millis, 'drain', STAYS_DRAINING, this.holders())
  }

  #drain(limits: Limits): Promise<WaitOutcome> {
    const { slots, queue } = this.#context
    const { counts } = slots
    this.#move('draining')
    this.#keepMin()
    this.evictor.stop()
    this.checkWaits()
    const isDrained = (): boolean => queue.waiting === 0 && counts.lent === 0 && counts.resetting === 0
    return this.#until(isDrained, limits)
  }

  async clear(): Promise<void> {
    const { all } = this.#context.slots
    this.#clearing += 1
    this.#keepMin()
    this.#discardIdle()
    const coming = new Set([...all].filter(isComing))
    const haveCome = (): boolean => {
      for (const slot of coming) if (!isComing(slot)) coming.delete(slot)
      return coming.size === 0
    }
    // This wait is limited: every connect, every check and every close ends by its own deadline.
    await this.#until(haveCome, UNLIMITED)
    this.#discardIdle()
    const closing = [...all].filter(slot => slot.state === 'closing')
    await this.#until(() => closing.every(slot => slot.state === 'closed'), UNLIMITED)
    this.#clearing -= 1
    this.#keepMin()
  }

  close(callOptions: CallOptions): Promise<void> {
    let limits: Limits
    try {
      const { drainTimeoutMillis } = this.#context.options
      // A later call waits as long as the first one takes, unless it has a time limit of its own.
      const fallback = this.#closing === undefined ? drainTimeoutMillis : Number.POSITIVE_INFINITY
      limits = forCaller(this.#entries.close, () => {
        checkOptions(callOptions, this.#context)
        return readLimits(callOptions, fallback, this.#context)
      })
    } catch (error) {
      return Promise.reject(error)
    }
    const { signal } = limits
    const stop = onAbort(signal, () => this.#force.abort(signal?.reason))
    if (this.#closing === undefined) {
      const since = this.#context.clock.now()
      this.#closeLimits = { millis: limits.millis, signal: this.#force.signal, since, alarm: undefined }
      this.#closing = this.#close(this.#closeLimits)
    } else this.#shortenClose(limits.millis)
    return signal === undefined ? this.#closing : this.#closing.finally(stop)
  }

  /** Starts a new generation: idle connections are destroyed now, lent ones when they are returned. */
  purge(why: string | Error): void {
    const { slots, options, clock } = this.#context
    const reason = messageOf(why)
    this.#connector.newGeneration(reason)
    if (log.pool.enabled) log.pool('%s: generation %d: %s', options.name, this.#connector.generation, reason)
    for (const slot of slots.idleSlots()) {
      if (slot.state === 'idle') this.#connector.discard(slot, 'generation', reason)
    }
    this.#lending.serve(clock.now())
  }

  /** Changes the bounds. Surplus connections are destroyed: idle ones now, lent ones when they are returned. */
  resize(bounds: { min?: number | undefined; max?: number | undefined }): void {
    const { slots, options, clock, stats } = this.#context
    Object.assign(options, checkedBounds(bounds, options, stats, this.#connector.capacity.share))
    for (const slot of slots.idleSlots()) {
      if (!this.#connector.capacity.isOversized) break
      if (slot.state === 'idle') this.#connector.discard(slot, 'surplus')
    }
    this.#lending.serve(clock.now())
    this.#context.onChange()
  }

  /** Called when a connection, a loan or a wait has ended: checks the conditions of all calls that wait for that. */
  checkWaits(): void {
    if (this.#checks.size > 0) this.#runChecks()
  }

  #runChecks(): void {
    for (const check of this.#checks) check()
  }

  /** The one place where the state of a pool moves. */
  #move(to: PoolStats['state']): void {
    if (NEXT[this.state] === to) this.state = to
  }

  /** Called when a later caller of `close` will not wait as long as the first one. */
  #shortenClose(millis: number): void {
    const limits = this.#closeLimits
    if (limits === undefined) return
    const at = this.#context.clock.now() + millis
    if (at >= limits.since + limits.millis) return
    limits.millis = at - limits.since
    limits.alarm?.set(at)
  }

  async #close(limits: CloseLimits): Promise<void> {
    const { since, signal } = limits
    const { clock, slots, queue } = this.#context
    let outcome = await this.#drain(limits)
    const drained = outcome === 'met'
    const before = this.#context.stats()
    const holders = drained ? [] : this.holders()
    this.#move('closed')
    this.#connector.stop(refusals.closed(this.#context.stats()))
    queue.close()
    for (const slot of [...slots.all]) {
      if (slot.state === 'lent') this.#returns.destroy(slot, 'drain')
      else if (slot.state !== 'connecting' && slot.state !== 'closing') this.#connector.discard(slot, 'drain')
    }
    this.#reaper.stop()
    this.onClosed()
    this.checkWaits()
    if (drained) outcome = await this.#until(() => slots.all.size === 0, limits, since)
    this.#context.stalls.stop()
    if (outcome === 'met') return
    const then = drained
      ? 'The pool no longer waits for the connections that have not closed.'
      : 'Connections still lent have been destroyed, and waiting acquires have been rejected.'
    if (outcome === 'aborted')
      throw refusals.callAborted(before, 'close', clock.now() - since, then, signal, holders)
    throw refusals.drainTimeout(before, Math.round(limits.millis), 'close', then, holders)
  }

  /** `min` is maintained while the pool is open, started, and not being cleared. A control connection makes room for it. */
  #keepMin(): void {
    this.#connector.keepsMin = this.#started && this.state === 'open' && this.#clearing === 0
    this.#connector.connectMore()
    this.#connector.capacity.changed()
  }

  #discardIdle(): void {
    for (const slot of this.#context.slots.idleSlots()) {
      if (slot.state === 'idle') this.#connector.discard(slot, 'drain')
    }
  }

  /** Waits until the condition holds, until the time limit counted from `since`, or until the signal is aborted. */
  #until(
    condition: () => boolean,
    limits: Limits | CloseLimits,
    since = this.#context.clock.now(),
  ): Promise<WaitOutcome> {
    const { signal } = limits
    if (signal?.aborted) return Promise.resolve('aborted')
    if (condition()) return Promise.resolve('met')
    return new Promise(resolve => {
      const settle = (outcome: WaitOutcome): void => {
        this.#checks.delete(check)
        stop()
        alarm.hold(false)
        alarm.clear()
        resolve(outcome)
      }
      const check = (): void => {
        if (condition()) settle('met')
      }
      const stop = onAbort(signal, () => settle('aborted'))
      const ring = (): void => settle(condition() ? 'met' : 'late')
      const alarm = new Alarm(this.#context.clock, ring, this.#context.stalls)
      // A caller awaits this, so it may keep the process alive as long as it takes.
      alarm.hold(true)
      alarm.set(since + limits.millis)
      if ('alarm' in limits) limits.alarm = alarm
      this.#checks.add(check)
    })
  }
}
