import type { PoolContext } from '../connecting/pool-context.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'
import { bytesOf } from '../connections/traffic.ts'
import { whereTaken } from '../diagnostics/call-sites.ts'
import { Alarm } from '../runtime/alarm.ts'
import { runHook } from '../runtime/emitter.ts'
import { log } from '../runtime/log.ts'
import type { Lending } from './lending.ts'

/** What is known of the use of one connection. */
interface LastUse {
  loan: number
  /** Bytes through its socket at the last scan. */
  bytes: number
  /** When its borrower last used it, not later than that; milliseconds of the pool's clock. */
  usedAt: number
}

/**
 * Finds leases that nobody uses any more, tells of them, and ends them where `leakReclaim` asks for it: one timer for
 * all, and nothing on the way of a loan.
 *
 * What counts is the time since the last use, not since the loan: Vibur does it so, and Tomcat with an interceptor. Use
 * is an unanswered command (`factory.busy`: a long BLPOP is at work, not forgotten), bytes that went through the
 * socket since the last scan, or what `factory.lastUsed` says. Where nothing tells, it is the loan itself. A lease
 * that could not be used because the event loop stood still is not blamed for that.
 */
export class LeakDetector<T> {
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #threshold: number
  readonly #alarm: Alarm
  readonly #lastUses = new Map<Slot<T>, LastUse>()
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

  /** The pool is closed, and nothing is lent any more. */
  stop(): void {
    this.#alarm.clear()
  }

  /** For how many milliseconds a lease has not been seen in use, as far as the last scan knows. */
  unusedMillis(slot: Slot<T>): number | undefined {
    const lastUse = this.#lastUses.get(slot)
    return lastUse?.loan === slot.loan ? this.#context.clock.now() - lastUse.usedAt : undefined
  }

  #scan(): void {
    const { clock, slots, stalls } = this.#context
    const now = clock.now()
    const stalled = stalls.since(this.#scannedAt)
    this.#scannedAt = now
    // A loan that begins after this scan is not due before that.
    let next = now + this.#threshold
    const suspects: [Slot<T>, number, number][] = []
    for (const slot of slots.all) {
      if (slot.state !== 'lent' || slot.isLeakSuspect) continue
      const unused = now - this.#usedAt(slot, now, stalled)
      if (unused >= this.#threshold) suspects.push([slot, slot.loan, unused])
      else next = Math.min(next, now + this.#threshold - unused)
      // To know when it was used last, a socket has to be looked at from time to time.
      if (slot.socket !== undefined) next = Math.min(next, now + this.#threshold / 4)
    }
    for (const slot of this.#lastUses.keys()) if (!slots.all.has(slot)) this.#lastUses.delete(slot)
    this.#alarm.set(Math.max(next, now + 1))
    for (const [slot, loan, unused] of suspects) {
      // A listener that was told of one may have ended the others.
      if (isCurrent(slot, loan)) this.#leaked(slot, unused)
    }
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

  #usedAt(slot: Slot<T>, now: number, stalled: number): number {
    const { factory } = this.#context
    const { socket, loan, lentAt } = slot
    const bytes = bytesOf(slot)
    const lastUse = this.#lastUses.get(slot) ?? { loan, bytes, usedAt: socket === undefined ? lentAt : now }
    this.#lastUses.set(slot, lastUse)
    // What went through the socket since the last scan may have done so just now.
    if (lastUse.bytes !== bytes) lastUse.usedAt = now
    else if (lastUse.loan !== loan) lastUse.usedAt = lentAt
    lastUse.loan = loan
    lastUse.bytes = bytes
    lastUse.usedAt = Math.min(Math.max(lastUse.usedAt, lentAt) + stalled, now)
    const resource = slot.resource as T
    try {
      runHook(() => {
        if (factory.busy?.(resource)) lastUse.usedAt = now
        const told = factory.lastUsed?.(resource)
        if (typeof told === 'number' && told <= now) lastUse.usedAt = Math.max(lastUse.usedAt, told)
      })
    } catch {
      // A hook that throws tells nothing.
    }
    return lastUse.usedAt
  }
}
