import type { House } from '../connecting/connector.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'
import { whereTaken } from '../diagnostics/call-sites.ts'
import { log } from '../runtime/log.ts'
import { LeakWatch } from './leak-detector.ts'
import type { Lending } from './lending.ts'

/** Watches for leases that look forgotten, tells of them, and takes them back where the options say so. */
export class Forgotten<T> {
  readonly #house: House<T>
  readonly #lending: Lending<T>
  readonly #watch: LeakWatch<T> | undefined
  /** Resources whose forgotten lease the pool has ended, and nobody else yet. */
  readonly #reclaimed = new WeakSet<object>()

  constructor(house: House<T>, lending: Lending<T>, isClosed: () => boolean) {
    this.#house = house
    this.#lending = lending
    const { options, clock, roster, factory, bounds } = house
    if (options.leakThresholdMillis === 0) return
    this.#watch = new LeakWatch(options.leakThresholdMillis, {
      ...{ clock, roster, factory, isClosed, onStall: bounds.onStall },
      stalledSince: start => bounds.stalls.since(start),
      onLeak: (slot, unusedMillis) => this.#leaked(slot, unusedMillis),
    })
    this.#watch.start()
  }

  /** For how long a lent connection has not been used, as far as that is watched. Milliseconds. */
  unused(slot: Slot<T>): number | undefined {
    return this.#watch?.unused(slot, this.#house.clock.now())
  }

  /** Is this the first late release of a lease that was reclaimed? Then it is no mistake of whoever makes it. */
  forgives(resource: T): boolean {
    return this.#reclaimed.delete(resource as object)
  }

  /** A lease looks forgotten. */
  #leaked(slot: Slot<T>, unusedMillis: number): void {
    const { options, totals, clock, events, stats } = this.#house
    const { leakReclaim: reclaimed, name } = options
    const resource = slot.lent as T
    slot.isSuspect = true
    totals.leaks += 1
    const heldMillis = clock.now() - slot.lentAt
    const stack = whereTaken(slot, options)
    if (log.leak.enabled) {
      const where = stack === undefined ? '' : `\n${stack}`
      log.leak('%s #%d: loan %d not used for %d ms%s', name, slot.id, slot.loan, unusedMillis, where)
    }
    const { id: connection, loan } = slot
    events.announce('leak', {
      ...{ pool: name, resource, connection, loan, heldMillis, unusedMillis, reclaimed, stats: stats() },
      ...(stack === undefined ? {} : { stack }),
    })
    // Whoever listens may end it in a better way.
    events.tellNow()
    if (!reclaimed || !isCurrent(slot, loan)) return
    if (typeof resource === 'object' && resource !== null) this.#reclaimed.add(resource)
    this.#lending.reclaim(slot)
  }
}
