import type { Request } from '../api/acquire-request.ts'
import type { AcquirePhase, PoolError } from '../api/errors.ts'
import * as refusals from '../api/messages/error-messages.ts'
import type { PoolStats } from '../api/stats.ts'
import { phaseOf } from '../connecting/capacity.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { RecentProblems } from '../diagnostics/recent-problems.ts'
import type { QueueListener, RejectReason, Snapshot } from '../queue/wait-queue.ts'
import type { Waiter } from '../queue/waiter.ts'
import { withoutStack } from '../runtime/stack-limit.ts'
import { type StackTrace, showOrigin } from '../runtime/stack-trace.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'

/** An acquire timeout of a full pool lists the holders, unless another one did so within this time. Milliseconds. */
const HOLDERS_MILLIS = 10_000
/**
 * Of waiters whose stack was not taken when they came, so many in a row are asked who awaits them, and so many a
 * second. It takes 10 µs each.
 */
const LOOKED_UP_IN_A_ROW = 100
const LOOKED_UP_A_SECOND = 50

/**
 * Refuses acquires and rejects waiters, with an error that gives the reason, the numbers, the cause and who holds the
 * connections.
 */
export class Rejections<T> implements QueueListener<T> {
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  readonly #problems: RecentProblems
  /** Describes who holds connections, longest first. Set when all parts exist, see `assemble`. */
  holders: () => string[] = () => []
  /** A sentence about a server that does not answer the holders of connections, if that is so. */
  silence: () => string | undefined = () => undefined
  /** When an acquire timeout last listed the holders. */
  #holdersListedAt = Number.NEGATIVE_INFINITY
  #latest: Snapshot | undefined
  #connectError: PoolError | undefined
  readonly #lookups: TokenBucket
  #silence: { readonly stats: PoolStats; readonly words: string | undefined } | undefined

  constructor(context: PoolContext<T>, connector: Connector<T>, problems: RecentProblems) {
    this.#context = context
    this.#connector = connector
    this.#problems = problems
    const now = context.clock.now()
    this.#lookups = new TokenBucket(LOOKED_UP_IN_A_ROW, LOOKED_UP_A_SECOND / 1000, LOOKED_UP_IN_A_ROW, now)
  }

  /** What an acquire would have to wait for if it waited. */
  #blockingPhase(): AcquirePhase {
    const { queue, slots } = this.#context
    if (slots.counts.idle > 0 && queue.waiting === 0) return 'validate'
    const phase = phaseOf(this.#context, this.#connector.breaker)
    return phase === 'queue' && this.#connector.capacity.obtainable > 0 ? 'connect' : phase
  }

  /**
   * Why an acquire may not enter the queue.
   * @param awaitsEventLoop - may an acquire with a timeout of 0 still get an idle connection after the next turn?
   */
  refusal(request: Request, awaitsEventLoop: boolean): PoolError | undefined {
    const connector = this.#connector
    const { options, clock, queue, slots, totals, events, stats } = this.#context
    if (connector.isDown) return refusals.cannotConnect(stats(), connector.breaker)
    if (request.timeout === 0 && !awaitsEventLoop)
      return refusals.noneAtHand(stats(), this.#blockingPhase(), connector.breaker.lastError)
    const { serviceRate } = queue
    if (serviceRate !== undefined && connector.capacity.expected <= 0) {
      const estimate = serviceRate.estimate(queue.ahead(request.priority))
      if (
        estimate !== undefined &&
        estimate > request.timeout &&
        !serviceRate.probes(clock.now(), estimate)
      ) {
        totals.shed += 1
        events.announce('shed', { pool: options.name, waitedMillis: 0, estimatedMillis: estimate })
        return refusals.hopeless(stats(), estimate, request.timeout)
      }
    }
    const most = options.maxWaitingClients
    if (most === Number.POSITIVE_INFINITY) return undefined
    const served = connector.capacity.expected > -most || slots.counts.idle > 0
    return served ? undefined : refusals.queueFull(stats(), most)
  }

  snapshot(now: number): Snapshot {
    const { lastError: cause } = this.#connector.breaker
    if (this.#latest?.now !== now || this.#latest.cause !== cause)
      this.#latest = { now, stats: this.#context.stats(), cause }
    return this.#latest
  }

  onRejected(waiter: Waiter<T>, how: RejectReason, snapshot: Snapshot): void {
    const { events, options } = this.#context
    const { now } = snapshot
    const error = waiter.ownError ?? withoutStack(() => this.#errorFor(waiter, how, snapshot))
    waiter.traced?.failed(error, now - waiter.since)
    waiter.fail(
      error,
      waiter.ownError === undefined ? this.#locate(waiter, error as PoolError, now) : undefined,
    )
    if (how === 'expired') this.#problems.record('timeout', 'an acquire timed out', now)
    if (how === 'shed') events.announce('shed', { pool: options.name, waitedMillis: now - waiter.since })
    this.#connector.waiterLeft(waiter, now, how === 'aborted')
  }

  /**
   * Lets the stack of the error begin at the line that called, if that was recorded. Otherwise it can still be found
   * out who awaits the acquire.
   */
  #locate(waiter: Waiter<T>, error: PoolError, now: number): ((awaiters: StackTrace) => void) | undefined {
    if (!this.#context.sampler.shows) return undefined
    if (waiter.trace !== undefined) {
      showOrigin(error, waiter.trace)
      return undefined
    }
    return this.#lookups.take(now) ? awaiters => showOrigin(error, awaiters) : undefined
  }

  onAnyRejected(): void {
    this.#connector.connectMore()
    this.#context.onChange()
  }

  #errorFor(waiter: Waiter<T>, how: RejectReason, { now, stats, cause }: Snapshot): PoolError {
    const { totals, options, stalls } = this.#context
    const waited = now - waiter.since
    if (how === 'refused') return refusals.closed(stats)
    if (how === 'unhealthy') return refusals.cannotConnect(stats, this.#connector.breaker)
    if (how === 'aborted') {
      totals.aborted += 1
      return refusals.aborted(stats, waited, waiter.signal?.reason)
    }
    if (how === 'shed') {
      totals.shed += 1
      return refusals.shed(stats, waited, options.shedding?.targetMillis ?? 0)
    }
    totals.timeouts += 1
    const stalled = stalls.since(waiter.since)
    const phase = phaseOf(this.#context, this.#connector.breaker)
    const why = cause ?? (phase === 'connect' ? this.#stillConnecting(stats) : undefined)
    // Also while connecting: if that fails, the connections that are lent may show why.
    const silence = this.#silenceAt(stats)
    return refusals.acquireTimeout(stats, phase, waited, stalled, why, this.#holders(), silence)
  }

  /** The result of `silence()`, kept for each snapshot. */
  #silenceAt(stats: PoolStats): string | undefined {
    if (this.#silence?.stats !== stats) this.#silence = { stats, words: this.silence() }
    return this.#silence.words
  }

  /** The error that says how long a connect has been in progress. All waiters that leave together share it. */
  #stillConnecting(stats: PoolStats): PoolError | undefined {
    if (this.#connectError?.stats === stats) return this.#connectError
    const { slots, clock } = this.#context
    for (const { state, startedAt } of slots.all) {
      if (state !== 'connecting') continue
      this.#connectError = refusals.stillDialing(stats, clock.now() - startedAt)
      return this.#connectError
    }
    return undefined
  }

  /** The holders of a full pool's connections, oldest first; only once for waiters that leave together. */
  #holders(): string[] | undefined {
    const { clock, slots, options } = this.#context
    const now = clock.now()
    const isFull = slots.counts.lent >= options.max
    if (!isFull || now - this.#holdersListedAt < HOLDERS_MILLIS) return undefined
    this.#holdersListedAt = now
    return this.holders()
  }
}
