import type { PoolContext } from '../connecting/pool-context.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'
import { whereTaken } from '../diagnostics/call-sites.ts'
import { log } from '../runtime/log.ts'
import { LeakScanner } from './leak-detector.ts'
import type { Lending } from './lending.ts'

/** Watches for leases that look forgotten, tells of them, and takes them back where the options say so. */
export class LeakDetector<T> {
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #scanner: LeakScanner<T> | undefined

  constructor(context: PoolContext<T>, lending: Lending<T>, isClosed: () => boolean) {
    this.#context = context
    this.#lending = lending
    const { options, clock, slots, factory, hookLimits } = context
    if (options.leakThresholdMillis === 0) return
    this.#scanner = new LeakScanner(options.leakThresholdMillis, {
      ...{ clock, slots, factory, isClosed, onStall: hookLimits.onStall },
      stalledSince: start => hookLimits.stalls.since(start),
      onLeak: (slot, unusedMillis) => this.#leaked(slot, unusedMillis),
    })
    this.#scanner.start()
  }

  /** For how long a lent connection has not been used, as far as that is watched. Milliseconds. */
  unusedMillis(slot: Slot<T>): number | undefined {
    return this.#scanner?.unusedMillis(slot, this.#context.clock.now())
  }

  /** A lease looks forgotten. */
  #leaked(slot: Slot<T>, unusedMillis: number): void {
    const { options, totals, clock, events, stats } = this.#context
    const { leakReclaim: reclaimed, name } = options
    const resource = slot.lent as T
    slot.isLeakSuspect = true
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
    events.flush()
    if (!reclaimed || !isCurrent(slot, loan)) return
    this.#lending.reclaim(slot)
  }
}
