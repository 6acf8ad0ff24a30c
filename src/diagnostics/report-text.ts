import { type BudgetStats, usersOf } from '../api/budget.ts'
import { numbersOf } from '../api/errors.ts'
import type { TimesOf } from '../api/stats.ts'
import type { ConnectionReport, PoolReport } from './pool-report.ts'

/** The most lines of each section. JSON reports have all of them. */
const MOST_LINES = 1000
/** How many of the latest stalls are listed one by one. */
const MOST_STALLS = 8
/** Sentences are wrapped at this column. */
const WIDTH = 112
/** Control characters, but for those that lay the report out; those that turn text around; halves of characters. */
const CONTROL = /[^\P{Cc}\n\t]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu
const escaped = (character: string): string => {
  const code = character.charCodeAt(0)
  if (character === '\r') return '\\r'
  return code > 0xff ? `\\u${code.toString(16).padStart(4, '0')}` : `\\x${code.toString(16).padStart(2, '0')}`
}
const ms = (millis: number): string => `${Math.round(millis)} ms`
/** Short times get two significant digits. */
const fine = (millis: number): string => (millis >= 10 ? ms(millis) : `${Number(millis.toPrecision(2))} ms`)

/**
 * Formats a report for people: who holds what, since when, taken where; who waits; every connection; what went wrong.
 */
export function inText(report: PoolReport): string {
  const { stats, connecting } = report
  const { totals, stalls } = stats
  const lines = [
    `pool '${stats.name}' is ${stats.state} ${numbersOf(stats)}`,
    `  so far: ${totals.acquired} acquires, ${totals.timeouts} timed out, ${totals.shed} shed, ${totals.created} ` +
      `connections created, ${totals.createErrors} failed, ${totals.destroyed} closed; generation ${stats.generation}`,
  ]
  if (stats.budget !== undefined) lines.push(`  ${budgetInWords(stats.budget)}`)
  lines.push(...timesInWords(stats))
  section(lines, 'findings', report.findings, inParagraph)
  if (stalls.count > 0) {
    lines.push(
      `  the event loop was blocked ${stalls.count} times, ${ms(stalls.totalMillis)} in all, ` +
        `${ms(stalls.longestMillis)} at the longest`,
    )
  }
  if (connecting.failures > 0) {
    lines.push(
      `  connecting fails: ${connecting.failures} times in a row, breaker ${connecting.breaker}, next try in ` +
        `${ms(connecting.retryInMillis ?? 0)}, last: ${connecting.lastError}`,
    )
  }
  let origin = origins()
  section(lines, 'leases, oldest first', report.leases, lease => {
    const used = lease.unusedMillis === undefined ? '' : `, last used ${ms(lease.unusedMillis)} ago`
    const work =
      lease.busy === undefined
        ? ''
        : lease.busy
          ? `, at work${lease.command === undefined ? '' : ` (${lease.command})`}`
          : ', nothing in progress'
    const suspect = lease.suspect ? ', looks FORGOTTEN' : ''
    return `#${lease.connection} held for ${ms(lease.heldMillis)}, loan ${lease.loan}${used}${work}${suspect}${origin(lease)}`
  })
  origin = origins()
  section(lines, 'waiters, in order', report.waiters, waiter => {
    const { leftMillis } = waiter
    const left =
      leftMillis === null
        ? 'no deadline'
        : leftMillis >= 0
          ? `${ms(leftMillis)} left`
          : `its deadline was ${ms(-leftMillis)} ago: the event loop has not come to it`
    return `waits for ${ms(waiter.waitedMillis)}, priority ${waiter.priority}, ${left}${origin(waiter)}`
  })
  section(lines, 'connections', report.connections, connectionLine)
  section(lines, 'lately, newest first', lately(report), ({ what, agoMillis }) => `${ago(agoMillis)}${what}`)
  // What a server says in its errors must not reach an operator's terminal as a command.
  return lines.join('\n').replaceAll(CONTROL, escaped)
}

function budgetInWords(budget: BudgetStats): string {
  const { name, max, used, reserved, isMaxTotal } = budget
  const kept = reserved === 0 ? '' : `, ${reserved} kept for pools below their min`
  return `${isMaxTotal ? `maxTotal of '${name}'` : `budget '${name}'`}: ${used} of ${max} connections in use${usersOf(budget)}${kept}`
}

/** How long acquires, loans and creates took, if there were any, and the highest numbers of loans and waiters. */
function timesInWords({ times, peaks, oldestWaitMillis }: PoolReport['stats']): string[] {
  const lines = [
    ['acquires waited', times.wait],
    ['loans lasted', times.use],
    ['creates took', times.create],
  ] as const
  const facts = lines.filter(([, { count }]) => count > 0).map(([what, each]) => `  ${what} ${spread(each)}`)
  if (peaks.borrowed > 0)
    facts.push(`  at a time, at most ${peaks.borrowed} lent and ${peaks.pending} waiting`)
  if (oldestWaitMillis > 0) facts.push(`  the longest wait at the moment is ${ms(oldestWaitMillis)}`)
  return facts
}

/** Percentiles such as "99 % up to 5 ms" say more than an average alone. */
function spread({ count, sumMillis, maxMillis, bounds, counts }: TimesOf): string {
  const within = (share: number): string => {
    let seen = 0
    const bucket = counts.findIndex(each => {
      seen += each
      return seen >= count * share
    })
    const bound = bounds[bucket]
    return bound === undefined || bound > maxMillis ? fine(maxMillis) : fine(bound)
  }
  return `${fine(sumMillis / count)} on average, half up to ${within(0.5)}, 99 % up to ${within(0.99)}, at most ${fine(maxMillis)}`
}

/** The latest problems, so that a pool that has recovered still shows what happened. */
function lately({ troubles, stalls }: PoolReport): { what: string; agoMillis: number }[] {
  return [
    ...troubles.map(({ what, times, agoMillis }) => ({
      agoMillis,
      what: `${times > 1 ? `, ${times} times` : ''}: ${what}`,
    })),
    ...stalls.slice(-MOST_STALLS).map(({ agoMillis, millis }) => ({
      agoMillis,
      what: `: the event loop was blocked for ${ms(millis)}`,
    })),
  ].sort((a, b) => a.agoMillis - b.agoMillis)
}

function ago(millis: number): string {
  if (millis < 10_000) return `${ms(millis)} ago`
  return millis < 600_000 ? `${Math.round(millis / 1000)} s ago` : `${Math.round(millis / 60_000)} min ago`
}

/** Wraps sentences at spaces and indents the continuation lines. Errors of servers may be megabytes long. */
function inParagraph(text: string): string {
  const lines: string[] = []
  let from = 0
  while (text.length - from > WIDTH) {
    let end = text.lastIndexOf(' ', from + WIDTH)
    // A word that is longer than a line stays whole.
    if (end <= from) end = text.indexOf(' ', from + WIDTH)
    if (end === -1) break
    lines.push(text.slice(from, end))
    from = end + 1
  }
  lines.push(text.slice(from))
  return lines.join('\n      ')
}

function connectionLine(connection: ConnectionReport): string {
  const { id, state, ageMillis, idleMillis, loans, fault, socket } = connection
  const parts = [
    state === 'connecting'
      ? `connecting for ${ms(ageMillis)}`
      : `${state}, ${ms(ageMillis)} old, lent ${loans === 1 ? 'once' : `${loans} times`}`,
  ]
  if (idleMillis !== undefined) parts.push(`idle for ${ms(idleMillis)}`)
  if (fault !== undefined) parts.push(fault)
  if (socket !== undefined) {
    if (socket.local !== undefined) parts.push(`${socket.local} → ${socket.remote ?? '?'}`)
    if (socket.state !== undefined) parts.push(socket.state)
    if (socket.unreadBytes) parts.push(`${socket.unreadBytes} B unread`)
    if (socket.unsentBytes) parts.push(`${socket.unsentBytes} B unsent`)
    parts.push(`read ${socket.bytesRead} B, wrote ${socket.bytesWritten} B`)
  }
  return `#${id} ${parts.join(', ')}`
}

/**
 * Returns a function that says where leases and waiters come from. Repeated stacks are shortened, because many entries
 * in a row come from the same place.
 */
function origins(): (from: { nestedUnder?: string[]; stack?: string }) => string {
  let last: string | undefined
  return ({ nestedUnder, stack }) => {
    const around = nestedUnder === undefined ? '' : `, nested under a lease of ${nestedUnder.join(', ')}`
    if (stack === undefined) return around
    if (stack === last) return `${around}, from the same place`
    last = stack
    return `${around}\n${stack.replaceAll(/^\s*/gm, '        ')}`
  }
}

function section<E>(lines: string[], title: string, entries: readonly E[], line: (entry: E) => string): void {
  if (entries.length === 0) return
  lines.push(`  ${title} (${entries.length}):`)
  for (const entry of entries.slice(0, MOST_LINES)) lines.push(`    ${line(entry)}`)
  const more = entries.length - MOST_LINES
  if (more > 0) lines.push(`    … and ${more} more`)
}
