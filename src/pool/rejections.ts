import * as refusals from '../api/error-messages.ts'
import { type AcquirePhase, type PoolError, withoutStack } from '../api/errors.ts'
import type { PoolStats } from '../api/factory.ts'
import type { Breaker } from '../connecting/breaker.ts'
import type { House } from '../connecting/connector.ts'
import type { Troubles } from '../diagnostics/recent-problems.ts'
import type { Crowd, Departure, Doorman } from '../queue/wait-queue.ts'
import type { Waiter } from '../queue/waiter.ts'
import type { Lending } from './lending.ts'

/** An acquire timeout of a full pool lists the holders, unless one has done so this short a time ago. */
const HOLDERS_MILLIS = 10_000

/** What {@link Departures} needs beside the house. */
export interface DepartureContext<T> {
  readonly lending: Lending<T>
  readonly troubles: Troubles
  /** Who holds connections, in words, longest first. */
  readonly holders: () => string[]
}

/** Tells those who leave the queue without a connection why, with everything that helps whoever reads it. */
export class Departures<T> implements Doorman<T> {
  readonly #house: House<T>
  readonly #context: DepartureContext<T>
  /** When an acquire timeout last listed the holders. */
  #holdersTold = Number.NEGATIVE_INFINITY
  #crowd: Crowd | undefined
  #dial: PoolError | undefined

  constructor(house: House<T>, context: DepartureContext<T>) {
    this.#house = house
    this.#context = context
  }

  crowd(now: number): Crowd {
    const { lastError: cause } = this.#context.lending.supply.breaker
    if (this.#crowd?.now !== now || this.#crowd.cause !== cause)
      this.#crowd = { now, stats: this.#house.stats(), cause }
    return this.#crowd
  }

  onDeparture(waiter: Waiter<T>, how: Departure, crowd: Crowd): void {
    const { nesting, events, options } = this.#house
    const { lending, troubles } = this.#context
    const { now } = crowd
    nesting?.left(waiter)
    waiter.fail(waiter.particulars.sentence ?? withoutStack(() => this.#farewell(waiter, how, crowd)))
    if (how === 'expired') troubles.add('timeout', 'an acquire timed out', now)
    if (how === 'shed') events.announce('shed', { pool: options.name, waitedMillis: now - waiter.since })
    lending.supply.outwaited(waiter, now, how === 'aborted')
  }

  onDepartures(): void {
    this.#context.lending.supply.provision()
    this.#house.onChange()
  }

  #farewell(waiter: Waiter<T>, how: Departure, { now, stats, cause }: Crowd): PoolError {
    const { totals, options, bounds } = this.#house
    const waited = now - waiter.since
    if (how === 'refused') return refusals.closed(stats)
    if (how === 'unhealthy') return refusals.unhealthy(stats, cause)
    if (how === 'aborted') {
      totals.aborted += 1
      return refusals.aborted(stats, waited, waiter.particulars.signal?.reason)
    }
    if (how === 'shed') {
      totals.shed += 1
      return refusals.shed(stats, waited, options.shedding?.targetMillis ?? 0)
    }
    totals.timeouts += 1
    const stalled = bounds.stalls.since(waiter.since)
    const phase = phaseOf(this.#house, this.#context.lending.supply.breaker)
    const why = cause ?? (phase === 'connect' ? this.#dialing(stats) : undefined)
    return refusals.acquireTimeout(stats, phase, waited, stalled, why, this.#holders())
  }

  /** What there is to say of a connect that has not come to an end yet; one error for a crowd. */
  #dialing(stats: PoolStats): PoolError | undefined {
    if (this.#dial?.stats === stats) return this.#dial
    const { roster, clock } = this.#house
    for (const { state, startedAt } of roster.slots) {
      if (state !== 'connecting') continue
      this.#dial = refusals.stillDialing(stats, clock.now() - startedAt)
      return this.#dial
    }
    return undefined
  }

  /** Who holds the connections of a full pool, oldest first; not again and again for each of a crowd. */
  #holders(): string[] | undefined {
    const { clock, roster, options } = this.#house
    const now = clock.now()
    const isFull = roster.census.lent >= options.max
    if (!isFull || now - this.#holdersTold < HOLDERS_MILLIS) return undefined
    this.#holdersTold = now
    return this.#context.holders()
  }
}

/** What keeps the first in the queue waiting. */
export function phaseOf<T>({ roster }: House<T>, breaker: Breaker): AcquirePhase {
  const { validating, connecting } = roster.census
  if (validating > 0) return 'validate'
  return connecting > 0 || breaker.failures > 0 ? 'connect' : 'queue'
}
