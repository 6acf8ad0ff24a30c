import { messageOf, numbersOf } from './errors.ts'
import type { Gate } from './gate.ts'
import type { ResolvedOptions } from './options.ts'
import type { Breaker } from './policy/breaker.ts'
import { heldFrom, type Scope } from './policy/scope.ts'
import type { Trace } from './policy/stacks.ts'
import type { Roster } from './roster.ts'
import type { PoolStats } from './types.ts'

/** The counters of a pool that nothing else can tell; each has one place that counts it. */
export type Totals = PoolStats['totals']

export const newTotals = (): Totals => ({
  created: 0,
  createErrors: 0,
  destroyed: 0,
  destroyErrors: 0,
  acquired: 0,
  released: 0,
  timeouts: 0,
  aborted: 0,
  nested: 0,
  deadlocks: 0,
})

/** The stalls of the event loop that the pool's timers ran into. */
export class Stalls {
  count = 0
  totalMillis = 0
  longestMillis = 0
  /** The last ones, oldest first: until when, and how long. */
  readonly #recent: { until: number; millis: number }[] = []

  /** @returns false when another timer has already told of this stall */
  add(until: number, millis: number): boolean {
    const last = this.#recent.at(-1)
    if (last !== undefined && until - millis < last.until) return false
    this.count += 1
    this.totalMillis += millis
    this.longestMillis = Math.max(this.longestMillis, millis)
    this.#recent.push({ until, millis })
    if (this.#recent.length > 16) this.#recent.shift()
    return true
  }

  /** How many milliseconds since then the loop stood still. */
  since(start: number): number {
    return this.#recent.reduce(
      (sum, { until, millis }) => sum + Math.max(0, until - Math.max(start, until - millis)),
      0,
    )
  }
}

/** What a snapshot or a report is made from. */
export interface Insight<T> {
  readonly options: ResolvedOptions
  readonly state: PoolStats['state']
  readonly roster: Roster<T>
  readonly gate: Gate<T>
  readonly breaker: Breaker
  readonly generation: number
  readonly totals: Totals
  readonly stalls: Stalls
  readonly halfClose: PoolStats['halfClose']
  readonly serverTimeout: PoolStats['serverTimeout']
}

export function statsOf<T>(insight: Insight<T>): PoolStats {
  const { options, roster, gate, breaker, stalls } = insight
  const { connecting, idle, validating, lent, resetting, closing } = roster.census
  return {
    name: options.name,
    state: insight.state,
    max: options.max,
    min: options.min,
    size: roster.size,
    idle,
    available: idle,
    borrowed: lent,
    pending: gate.waiting,
    connecting,
    validating,
    resetting,
    closing,
    generation: insight.generation,
    breaker: breaker.isOpen(options.max) ? 'open' : 'closed',
    createFailures: breaker.failures,
    totals: { ...insight.totals },
    halfClose: { ...insight.halfClose, found: { ...insight.halfClose.found } },
    serverTimeout: insight.serverTimeout,
    stalls: { count: stalls.count, totalMillis: stalls.totalMillis, longestMillis: stalls.longestMillis },
  }
}

const MOST_LINES = 50
const age = (now: number, then: number): string => `${Math.round(now - then)} ms`

/** The state of a pool for a person: who holds what, since when; who waits; every connection; what went wrong. */
export function reportOf<T>(insight: Insight<T>, now: number): string {
  const { options, roster, gate, breaker, totals, stalls } = insight
  const stats = statsOf(insight)
  const lines = [
    `pool '${options.name}' is ${insight.state} ${numbersOf(stats)}`,
    `  so far: ${totals.acquired} acquires, ${totals.timeouts} timed out, ${totals.created} connections made, ` +
      `${totals.createErrors} failed, ${totals.destroyed} closed; generation ${insight.generation}`,
  ]
  if (stalls.count > 0) {
    lines.push(
      `  the event loop stood still ${stalls.count} times, ${Math.round(stalls.totalMillis)} ms in all, ` +
        `${Math.round(stalls.longestMillis)} ms at the longest`,
    )
  }
  if (breaker.failures > 0) {
    const breakerState = breaker.isOpen(options.max) ? 'open' : 'closed'
    lines.push(
      `  connecting fails: ${breaker.failures} times in a row, breaker ${breakerState}, last: ${messageOf(breaker.lastError)}`,
    )
  }
  const slots = [...roster.slots]
  const lent = slots.filter(slot => slot.state === 'lent').sort((a, b) => a.lentAt - b.lentAt)
  section(
    lines,
    'leases, oldest first',
    lent,
    slot =>
      `#${slot.id} held for ${age(now, slot.lentAt)}, loan ${slot.loan}${around(slot.scope?.parent)}${where(slot.trace)}`,
  )
  section(lines, 'waiters, in order', gate.waiters(), waiter => {
    const left = Number.isFinite(waiter.deadline) ? `${age(waiter.deadline, now)} left` : 'no deadline'
    return `waits for ${age(now, waiter.since)}, priority ${waiter.priority}, ${left}${around(waiter.wait?.scope)}${where(waiter.trace)}`
  })
  section(lines, 'connections', slots, slot => {
    const since = slot.state === 'connecting' ? slot.startedAt : slot.createdAt
    const idle = slot.state === 'idle' ? `, idle for ${age(now, slot.idleSince)}` : ''
    const fault = slot.fault === undefined ? '' : `, ${slot.fault.reason}: ${slot.fault.detail ?? ''}`
    return `#${slot.id} ${slot.state}, ${age(now, since)} old, lent ${slot.loan} times${idle}${fault}`
  })
  return lines.join('\n')
}

/** The leases that this context held already, from the innermost outwards. */
function around(outer: Scope | undefined): string {
  const held: string[] = []
  for (let scope = heldFrom(outer); scope !== undefined; scope = heldFrom(scope.parent)) {
    held.push(scope.exact ? `'${scope.member?.name}'` : `'${scope.member?.name}' (as its context says)`)
  }
  if (held.length > 4) held.splice(3, held.length - 3, `${held.length - 3} more`)
  return held.length === 0 ? '' : `, nested under a lease of ${held.join(', ')}`
}

const where = (trace: Trace | undefined): string =>
  trace === undefined || trace.text === '' ? '' : `\n${trace.text.replaceAll(/^ {4}/gm, '        ')}`

function section<E>(lines: string[], title: string, entries: readonly E[], line: (entry: E) => string): void {
  if (entries.length === 0) return
  lines.push(`  ${title} (${entries.length}):`)
  for (const entry of entries.slice(0, MOST_LINES)) lines.push(`    ${line(entry)}`)
  if (entries.length > MOST_LINES) lines.push(`    … and ${entries.length - MOST_LINES} more`)
}
