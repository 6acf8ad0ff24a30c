import type { PoolContext } from '../connecting/pool-context.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'
import { whereTaken } from '../diagnostics/call-sites.ts'
import { log } from '../runtime/log/log.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import type { Lending } from './lending.ts'

/**
 * Finds leases that are no longer used, reports them, and ends them if `leakReclaim` is on. One timer serves all
 * leases, and nothing runs during a loan.
 *
 * The time counts from the last use, not from the start of the loan. (Vibur does the same, Tomcat with an interceptor.)
 * Signs of use are an unanswered command (`factory.busy`: a long BLPOP is in use, not forgotten), bytes through the
 * socket since the last scan, and the answer of `factory.lastUsed`. Without any of these, the time counts from the
 * start of the loan. Time in which the event loop was blocked does not count, because the lease could not be used then.
 */
export class LeakDetector<T> {
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #threshold: number
  readonly #alarm: Alarm
  #scannedAt = 0

  constructor(context: PoolContext<T>, lending: Lending<T>) {
    this.#context = context
    this.#lending = lending
    this.#threshold = context.options.leakThresholdMillis
    this.#alarm = new Alarm(context.clock, () => this.#scan(), context.stalls)
    if (this.#threshold === 0) return
    this.#scannedAt = context.clock.now()
    this.#alarm.set(this.#scannedAt + this.#threshold)
  }

  /** Called when the pool is closed and no connection is lent any more. */
  stop(): void {
    this.#alarm.clear()
  }

  /** For how many milliseconds a lease has not been seen in use, according to the last scan. */
  unusedMillis(slot: Slot<T>): number | undefined {
    const { lastUsedIn, lastUsedAt } = slot.traffic
    return lastUsedIn === slot.loan ? this.#context.clock.now() - lastUsedAt : undefined
  }

  #scan(): void {
    const { clock, slots, stalls } = this.#context
    const now = clock.now()
    const stalled = stalls.since(this.#scannedAt)
    this.#scannedAt = now
    // A loan that begins after this scan is not due before that time.
    let next = now + this.#threshold
    const suspects: [Slot<T>, number, number][] = []
    for (const slot of slots.all) {
      if (slot.state !== 'lent' || slot.isLeakSuspect) continue
      const unused = now - this.#usedAt(slot, now, stalled)
      if (unused >= this.#threshold) suspects.push([slot, slot.loan, unused])
      else next = Math.min(next, now + this.#threshold - unused)
      // A socket has to be checked regularly, to know when it was last used.
      if (slot.socket !== undefined) next = Math.min(next, now + this.#threshold / 4)
    }
    this.#alarm.set(Math.max(next, now + 1))
    for (const [slot, loan, unused] of suspects) {
      // A listener called for an earlier suspect may have ended this loan.
      if (isCurrent(slot, loan)) this.#leaked(slot, unused)
    }
  }

  /** Called when a lease looks forgotten. */
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
    // A listener may end the lease itself, in a way that suits it better.
    events.flush()
    if (!reclaimed || !isCurrent(slot, loan)) return
    this.#lending.reclaim(slot)
  }

  #usedAt(slot: Slot<T>, now: number, stalled: number): number {
    const { factory } = this.#context
    const { socket, loan, lentAt, traffic } = slot
    if (socket !== undefined) traffic.count(socket, now, lentAt)
    const before = traffic.lastUsedIn === loan ? traffic.lastUsedAt : lentAt
    let usedAt = Math.min(Math.max(before, lentAt) + stalled, now)
    if (socket !== undefined) usedAt = Math.max(usedAt, traffic.lastSeenAt)
    const resource = slot.resource as T
    try {
      if (askHook('busy', () => factory.busy?.(resource))) usedAt = now
      const answer = askHook('lastUsed', () => factory.lastUsed?.(resource))
      if (typeof answer === 'number' && answer <= now) usedAt = Math.max(usedAt, answer)
    } catch {
      // A hook that throws gives no information.
    }
    traffic.lastUsedIn = loan
    traffic.lastUsedAt = usedAt
    return usedAt
  }
}
