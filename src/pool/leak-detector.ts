import { isNews, warn } from '../api/messages/warnings.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { handlesOf, type Use } from '../connections/handles.ts'
import { isCurrent, type Slot } from '../connections/slot.ts'
import { callSite, whereTaken } from '../diagnostics/call-sites.ts'
import { log } from '../runtime/log/log.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import type { Returns } from './returns.ts'

/**
 * Finds leases that are no longer used, reports them, and ends them if `leakReclaim` is on. One timer serves all
 * leases, and nothing runs during a loan.
 *
 * The time counts from the last use, not from the start of the loan. (Vibur does the same, Tomcat with an interceptor.)
 * Signs of use are an unanswered command (`factory.busy`: a long BLPOP is in use, not forgotten), a subscription, bytes
 * through the socket since the last scan, and the answer of `factory.lastUsed`. Without any of these, the time counts
 * from the start of the loan. Time in which the event loop was blocked does not count, because the lease could not be
 * used then.
 *
 * An adapter whose handles tell use from idling has it on by default. Then it also emits a process warning, once for
 * each call site, unless somebody listens to the event; it rests in fake time, because its timer would never end.
 */
export class LeakDetector<T> {
  readonly #context: PoolContext<T>
  readonly #returns: Returns<T>
  readonly #threshold: number
  readonly #isDefault: boolean
  readonly #useOf: ((resource: T) => Use) | undefined
  readonly #alarm: Alarm
  #scannedAt = 0
  #isStopped = false

  constructor(context: PoolContext<T>, returns: Returns<T>) {
    this.#context = context
    this.#returns = returns
    const handles = handlesOf<T>(context.factory)
    this.#useOf = handles?.use?.bind(handles)
    const { leakThresholdMillis } = context.options
    this.#threshold = leakThresholdMillis || (handles?.leakThresholdMillis ?? 0)
    this.#isDefault = leakThresholdMillis === 0
    this.#alarm = new Alarm(context.clock, () => this.#scan(), context.stalls)
  }

  /** Called when there is a connection that may be lent. */
  start(): void {
    const { clock } = this.#context
    if (this.#threshold === 0 || this.#isStopped || this.#alarm.isSet) return
    if (this.#isDefault && clock.isFake?.()) return
    this.#scannedAt = clock.now()
    this.#alarm.set(this.#scannedAt + this.#threshold)
  }

  /** Called when the pool is closed and no connection is lent any more. */
  stop(): void {
    this.#isStopped = true
    this.#alarm.clear()
  }

  /** For how many milliseconds a lease has not been seen in use, according to the last scan. */
  unusedMillis(slot: Slot<T>): number | undefined {
    const { lastUsedIn, lastUsedAt } = slot.traffic
    return lastUsedIn === slot.loan ? this.#context.clock.now() - lastUsedAt : undefined
  }

  /** Has it been reported, and not been used again since? */
  isForgotten(slot: Slot<T>): boolean {
    return slot.isLeakSuspect && (this.unusedMillis(slot) ?? this.#threshold) >= this.#threshold
  }

  #scan(): void {
    const { clock, slots, stalls } = this.#context
    // The next connection starts it again.
    if (slots.size === 0 || (this.#isDefault && clock.isFake?.())) return
    const now = clock.now()
    const stalled = stalls.since(this.#scannedAt)
    this.#scannedAt = now
    // A loan that begins after this scan is not due before that time.
    let next = now + this.#threshold
    const suspects: [Slot<T>, number, number][] = []
    for (const slot of slots.all) {
      if (slot.state !== 'lent') continue
      const unused = now - this.#usedAt(slot, now, stalled)
      if (slot.isLeakSuspect) continue
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
    const saw = this.#evidence(slot)
    if (log.leak.enabled) {
      const where = stack === undefined ? '' : `\n${stack}`
      log.leak('%s #%d: loan %d not used for %d ms: %s%s', name, slot.id, slot.loan, unusedMillis, saw, where)
    }
    const { id: connection, loan } = slot
    events.announce('leak', {
      ...{ pool: name, resource, connection, loan, heldMillis, unusedMillis, saw, reclaimed, stats: stats() },
      ...(stack === undefined ? {} : { stack }),
    })
    if (this.#isDefault && events.listenerCount('leak') === 0) this.#warn(slot, unusedMillis, saw, stack)
    // A listener may end the lease itself, in a way that suits it better.
    events.flush()
    if (!reclaimed || !isCurrent(slot, loan)) return
    this.#returns.reclaim(slot)
  }

  #warn(slot: Slot<T>, unusedMillis: number, saw: string, stack: string | undefined): void {
    const { options, clock } = this.#context
    const site = callSite(stack)
    if (!isNews(`leak ${options.name} ${site}`)) return
    const seconds = (millis: number): string => `${Math.round(millis / 1000)} s`
    const taken =
      site === undefined ? 'Where it was taken is not known (see captureStacks)' : `It was taken ${site}`
    warn(
      'LEAK',
      `pool '${options.name}': connection #${slot.id} has been lent for ${seconds(clock.now() - slot.lentAt)}, and not used for ` +
        `${seconds(unusedMillis)}: ${saw}. ${taken}. If it was forgotten, end the loan on every path, as use() does; if it is ` +
        'held on purpose, listen to the event leak, or set leakThresholdMillis (0: off). Told once for each place',
    )
  }

  /** What shows that a lease is not used. */
  #evidence(slot: Slot<T>): string {
    const { factory } = this.#context
    const { open } = this.#useOf?.(slot.resource as T) ?? {}
    const facts = [
      ...(slot.socket === undefined ? [] : ['nothing was sent or received on it']),
      ...(factory.busy === undefined ? [] : ['no command on it waits for an answer']),
      ...(factory.lastUsed === undefined ? [] : ['factory.lastUsed says so']),
      ...(open === undefined ? [] : [`its ${open} has not been ended`]),
    ]
    return facts.length === 0
      ? 'whether it is used cannot be seen, and it has been lent for so long'
      : facts.join(', ')
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
      if (this.#useOf?.(resource).awaits !== undefined) usedAt = now
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
