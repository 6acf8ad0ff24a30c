import { type AcquirePhase, type PoolError, withoutStack } from './errors.ts'
import { holderInWords } from './findings.ts'
import type { Departure, Doorman } from './gate.ts'
import type { Lending } from './lending.ts'
import type { Breaker } from './policy/breaker.ts'
import * as refusals from './refusals.ts'
import { leasesOf, type ReportInsight } from './report.ts'
import type { House } from './supply.ts'
import type { Troubles } from './troubles.ts'
import type { PoolStats } from './types.ts'
import type { Waiter } from './waiter.ts'

/** An acquire timeout of a full pool lists the holders, unless one has done so this short a time ago. */
const HOLDERS_MILLIS = 10_000

/** What {@link Departures} needs beside the house. */
export interface DepartureContext<T> {
  readonly lending: Lending<T>
  readonly troubles: Troubles
  readonly insight: () => ReportInsight<T>
}

/** Tells those who leave the queue without a connection why, with everything that helps whoever reads it. */
export class Departures<T> implements Doorman<T> {
  readonly #house: House<T>
  readonly #context: DepartureContext<T>
  /** When an acquire timeout last listed the holders. */
  #holdersTold = Number.NEGATIVE_INFINITY
  /** The snapshot that the errors of one crowd of departures share. */
  #crowd: { readonly now: number; readonly stats: PoolStats } | undefined

  constructor(house: House<T>, context: DepartureContext<T>) {
    this.#house = house
    this.#context = context
  }

  onDeparture(waiter: Waiter<T>, how: Departure, now: number): void {
    const { nesting, events, options, stats: snapshot } = this.#house
    const { lending, troubles } = this.#context
    if (this.#crowd?.now !== now) this.#crowd = { now, stats: snapshot() }
    const { stats } = this.#crowd
    nesting?.left(waiter)
    waiter.fail(
      waiter.particulars.sentence ??
        withoutStack(() => this.#farewell(waiter, how, now - waiter.since, stats)),
    )
    if (how === 'expired') troubles.add('timeout', 'an acquire timed out', now)
    if (how === 'shed') events.announce('shed', { pool: options.name, waitedMillis: now - waiter.since })
    lending.supply.outwaited(waiter, now, how === 'aborted')
  }

  onDepartures(): void {
    this.#context.lending.supply.provision()
    this.#house.onChange()
  }

  #farewell(waiter: Waiter<T>, how: Departure, waited: number, stats: PoolStats): PoolError {
    const { totals, options, bounds } = this.#house
    const { breaker } = this.#context.lending.supply
    if (how === 'refused') return refusals.closed(stats)
    if (how === 'unhealthy') return refusals.unhealthy(stats, breaker.lastError)
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
    return refusals.acquireTimeout(
      stats,
      phaseOf(this.#house, breaker),
      waited,
      stalled,
      breaker.lastError,
      this.#holders(),
    )
  }

  /** Who holds the connections of a full pool, oldest first; not again and again for each of a crowd. */
  #holders(): string[] | undefined {
    const { clock, roster, options } = this.#house
    const now = clock.now()
    const isFull = roster.census.lent >= options.max
    if (!isFull || now - this.#holdersTold < HOLDERS_MILLIS) return undefined
    this.#holdersTold = now
    return leasesOf(this.#context.insight(), now).map(holderInWords)
  }
}

/** What keeps the first in the queue waiting. */
export function phaseOf<T>({ roster }: House<T>, breaker: Breaker): AcquirePhase {
  const { validating, connecting } = roster.census
  if (validating > 0) return 'validate'
  return connecting > 0 || breaker.failures > 0 ? 'connect' : 'queue'
}
