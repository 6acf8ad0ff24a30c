import type { Factory } from '../api/factory.ts'
import type { Slot } from '../connections/slot.ts'
import type { Slots } from '../connections/slots.ts'
import { Alarm, type StallListener } from '../runtime/alarm.ts'
import type { Clock } from '../runtime/clock.ts'
import { runHook } from '../runtime/emitter.ts'

/** What is known of the use of one connection. */
interface LastUse {
  loan: number
  /** Bytes through its socket at the last look. */
  bytes: number
  /** When its borrower last used it, not later than that; milliseconds of the pool's clock. */
  usedAt: number
}

/** What the watch needs to know of the pool, and whom it tells. */
export interface LeakHost<T> {
  readonly clock: Clock
  readonly slots: Slots<T>
  readonly factory: Factory<T>
  readonly onStall: StallListener
  /** For how many milliseconds since then the event loop stood still. */
  readonly stalledSince: (start: number) => number
  readonly isClosed: () => boolean
  readonly onLeak: (slot: Slot<T>, unusedMillis: number) => void
}

/**
 * Finds leases that nobody uses any more: one timer for all, and nothing at all on the way of a loan.
 *
 * What counts is the time since the last use, not since the loan: Vibur does it so, and Tomcat with an interceptor. Use
 * is an unanswered command (`factory.busy`: a long BLPOP is at work, not forgotten), bytes that went through the
 * socket since the last look, or what `factory.lastUsed` says. Where nothing tells, it is the loan itself. A lease
 * that could not be used because the event loop stood still is not blamed for that.
 */
export class LeakScanner<T> {
  readonly #context: LeakHost<T>
  readonly #threshold: number
  readonly #alarm: Alarm
  #scannedAt = 0
  readonly #usage = new Map<Slot<T>, LastUse>()

  constructor(thresholdMillis: number, context: LeakHost<T>) {
    this.#threshold = thresholdMillis
    this.#context = context
    this.#alarm = new Alarm(context.clock, () => this.#scan(), context.onStall)
  }

  start(): void {
    this.#scannedAt = this.#context.clock.now()
    this.#alarm.set(this.#scannedAt + this.#threshold)
  }

  /** For how long the lease has not been seen in use, as far as the last look knows. */
  unusedMillis(slot: Slot<T>, now: number): number | undefined {
    const usage = this.#usage.get(slot)
    return usage?.loan === slot.loan ? now - usage.usedAt : undefined
  }

  #scan(): void {
    if (this.#context.isClosed()) return
    const { clock, slots, stalledSince, onLeak } = this.#context
    const now = clock.now()
    const forgiven = stalledSince(this.#scannedAt)
    this.#scannedAt = now
    // A loan that begins after this look is not due before that.
    let next = now + this.#threshold
    const suspects: [Slot<T>, number, number][] = []
    for (const slot of slots.all) {
      if (slot.state !== 'lent' || slot.isLeakSuspect) continue
      const unused = now - this.#usedAt(slot, now, forgiven)
      if (unused >= this.#threshold) suspects.push([slot, slot.loan, unused])
      else next = Math.min(next, now + this.#threshold - unused)
      // To know when it was used last, a socket has to be looked at from time to time.
      if (slot.socket !== undefined) next = Math.min(next, now + this.#threshold / 4)
    }
    for (const slot of this.#usage.keys()) if (!slots.all.has(slot)) this.#usage.delete(slot)
    this.#alarm.set(Math.max(next, now + 1))
    for (const [slot, loan, unused] of suspects) {
      // A listener that was told of one may have ended the others.
      if (slot.state === 'lent' && slot.loan === loan) onLeak(slot, unused)
    }
  }

  #usedAt(slot: Slot<T>, now: number, forgiven: number): number {
    const { factory } = this.#context
    const { socket, loan, lentAt } = slot
    const bytes = socket === undefined ? 0 : (socket.bytesRead ?? 0) + (socket.bytesWritten ?? 0)
    const usage = this.#usage.get(slot) ?? { loan, bytes, usedAt: socket === undefined ? lentAt : now }
    this.#usage.set(slot, usage)
    // What went through the socket since the last look may have done so just now.
    if (usage.bytes !== bytes) usage.usedAt = now
    else if (usage.loan !== loan) usage.usedAt = lentAt
    usage.loan = loan
    usage.bytes = bytes
    usage.usedAt = Math.min(Math.max(usage.usedAt, lentAt) + forgiven, now)
    const resource = slot.resource as T
    try {
      runHook(() => {
        if (factory.busy?.(resource)) usage.usedAt = now
        const told = factory.lastUsed?.(resource)
        if (typeof told === 'number' && told <= now) usage.usedAt = Math.max(usage.usedAt, told)
      })
    } catch {
      // A hook that throws tells nothing.
    }
    return usage.usedAt
  }
}
