import { ownText } from '../api/messages/causes.ts'
import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { describeSocket } from '../sockets/socket-state.ts'
import { type TcpSocket, tcpSockets } from '../sockets/tcp-table.ts'
import { nestedUnder, whereTaken } from './call-sites.ts'
import { findingsIn } from './findings.ts'
import type { ConnectionReport, LeaseReport, PoolReport, WaiterReport } from './pool-report.ts'
import { type PoolView, statsOf } from './stats.ts'

/** What the report needs beyond the stats. */
export interface ReportView<T> extends PoolView<T> {
  readonly busy: ((resource: T) => boolean | string) | undefined
  readonly unused: (slot: Slot<T>) => number | undefined
  readonly isForgotten: (slot: Slot<T>) => boolean
}

/**
 * Reads the state of a pool. Takes milliseconds: it asks the kernel about every socket, and formats every stack once.
 *
 * @param mostWaiters - no more than this many of the first waiters are read
 */
export function reportOf<T>(view: ReportView<T>, now: number, mostWaiters?: number): PoolReport {
  const { slots, queue, breaker, options } = view
  const all = [...slots.all]
  const kernel = tcpSockets(all.flatMap(slot => slot.socket ?? []))
  const report: PoolReport = {
    stats: statsOf(view, now),
    findings: [],
    leases: leasesOf(view, now),
    waiters: queue.waiters(mostWaiters).map(waiter => waiterReport(waiter, options, now)),
    connections: all.map(slot => connectionReport(slot, kernel, now)),
    connecting: {
      failures: breaker.failures,
      breaker: breaker.isOpen ? 'open' : 'closed',
      ...(breaker.failures === 0
        ? {}
        : {
            lastError: ownText(breaker.lastError, options.name),
            retryInMillis: Math.max(breaker.retryAt - now, 0),
          }),
    },
    troubles: view.problems.recent
      .toSorted((a, b) => b.at - a.at)
      .map(({ what, times, at }) => ({ what, times, agoMillis: now - at })),
    deadlocks: view.problems.deadlocks
      .map(({ times, at, pools, askedAt, heldAt }) => ({
        ...{ times, agoMillis: now - at, pools: [...pools], heldAt: [...heldAt] },
        ...optional('askedAt', askedAt),
      }))
      .reverse(),
    stalls: view.stalls.recent.map(({ until, millis }) => ({ agoMillis: now - until, millis })),
  }
  report.findings = findingsIn(report)
  return report
}

/** Every lease, oldest first. */
export function leasesOf<T>(
  { slots, busy, unused, isForgotten, options }: ReportView<T>,
  now: number,
): LeaseReport[] {
  return [...slots.all]
    .filter(slot => slot.state === 'lent')
    .sort((a, b) => a.lentAt - b.lentAt)
    .map(slot => ({
      connection: slot.id,
      loan: slot.loan,
      heldMillis: now - slot.lentAt,
      ...optional('unusedMillis', unused(slot)),
      ...work(busy, slot.resource as T),
      ...optional('quietMillis', slot.quietMillis(now)),
      suspect: isForgotten(slot),
      ...optional('nestedUnder', nestedUnder(slot.trace)),
      ...optional('stack', whereTaken(slot, options)),
    }))
}

function waiterReport<T>(waiter: Waiter<T>, options: ResolvedOptions, now: number): WaiterReport {
  const deadline = waiter.deadline
  return {
    waitedMillis: now - waiter.since,
    leftMillis: Number.isFinite(deadline) ? deadline - now : null,
    priority: waiter.priority,
    ...optional('nestedUnder', nestedUnder(waiter.awaiters?.chain ?? waiter.trace)),
    ...optional('stack', whereTaken(waiter, options)),
  }
}

function connectionReport<T>(
  slot: Slot<T>,
  kernel: ReadonlyMap<object, TcpSocket>,
  now: number,
): ConnectionReport {
  const { id, state, loan, fault, socket } = slot
  const described = socket && describeSocket(socket)
  return {
    id,
    state,
    ageMillis: now - (state === 'connecting' ? slot.startedAt : slot.createdAt),
    ...optional('idleMillis', state === 'idle' ? now - slot.idleSince : undefined),
    loans: loan,
    ...optional('fault', fault && `${fault.reason}${fault.detail === undefined ? '' : `: ${fault.detail}`}`),
    ...optional('socket', described && { ...described, ...kernel.get(socket) }),
  }
}

function work<T>(
  busy: ((resource: T) => boolean | string) | undefined,
  resource: T,
): { busy?: boolean; command?: string } {
  if (busy === undefined) return {}
  try {
    const answer = askHook('busy', () => busy(resource))
    return typeof answer === 'string' && answer !== ''
      ? { busy: true, command: answer }
      : { busy: Boolean(answer) }
  } catch {
    return {}
  }
}

/** An object with this property, or an empty one if there is no value. */
function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]: V })
}
