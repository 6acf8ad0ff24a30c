import { messageOf } from '../api/errors.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { Slot } from '../connections/slot.ts'
import type { Waiter } from '../queue/waiter.ts'
import { runHook } from '../runtime/emitter.ts'
import { describeSocket } from '../sockets/socket-state.ts'
import { type TcpSocket, tcpSockets } from '../sockets/tcp-table.ts'
import { nestedUnder, whereTaken } from './call-sites.ts'
import { findingsIn } from './findings.ts'
import type { ConnectionReport, LeaseReport, PoolReport, WaiterReport } from './pool-report.ts'
import { type PoolView, statsOf } from './stats.ts'

/** What the report needs beside the snapshot. */
export interface ReportView<T> extends PoolView<T> {
  readonly busy: ((resource: T) => boolean | string) | undefined
  readonly unused: (slot: Slot<T>) => number | undefined
}

/** Reads the state of a pool. Costs milliseconds: the kernel is asked about every socket, and each stack is read once. */
export function reportOf<T>(insight: ReportView<T>, now: number): PoolReport {
  const { slots, queue, breaker, options } = insight
  const all = [...slots.all]
  const kernel = tcpSockets(all.flatMap(slot => slot.socket ?? []))
  const report: PoolReport = {
    stats: statsOf(insight, now),
    findings: [],
    leases: leasesOf(insight, now),
    waiters: queue.waiters().map(waiter => waiterReport(waiter, options, now)),
    connections: all.map(slot => connectionReport(slot, kernel, now)),
    connecting: {
      failures: breaker.failures,
      breaker: breaker.isOpen ? 'open' : 'closed',
      ...(breaker.failures === 0
        ? {}
        : { lastError: messageOf(breaker.lastError), retryInMillis: Math.max(breaker.retryAt - now, 0) }),
    },
    troubles: insight.problems.recent
      .toSorted((a, b) => b.at - a.at)
      .map(({ what, times, at }) => ({ what, times, agoMillis: now - at })),
    stalls: insight.stalls.recent.map(({ until, millis }) => ({ agoMillis: now - until, millis })),
  }
  report.findings = findingsIn(report)
  return report
}

/** Every lease, oldest first. */
export function leasesOf<T>({ slots, busy, unused, options }: ReportView<T>, now: number): LeaseReport[] {
  return [...slots.all]
    .filter(slot => slot.state === 'lent')
    .sort((a, b) => a.lentAt - b.lentAt)
    .map(slot => ({
      connection: slot.id,
      loan: slot.loan,
      heldMillis: now - slot.lentAt,
      ...known('unusedMillis', unused(slot)),
      ...work(busy, slot.resource as T),
      ...known('quietMillis', slot.quietMillis(now)),
      suspect: slot.isLeakSuspect,
      ...known('nestedUnder', nestedUnder(slot.trace)),
      ...known('stack', whereTaken(slot, options)),
    }))
}

function waiterReport<T>(waiter: Waiter<T>, options: ResolvedOptions, now: number): WaiterReport {
  const deadline = waiter.deadline
  return {
    waitedMillis: now - waiter.since,
    leftMillis: Number.isFinite(deadline) ? deadline - now : null,
    priority: waiter.priority,
    ...known('nestedUnder', nestedUnder(waiter.awaiters?.chain ?? waiter.trace)),
    ...known('stack', whereTaken(waiter, options)),
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
    ...known('idleMillis', state === 'idle' ? now - slot.idleSince : undefined),
    loans: loan,
    ...known('fault', fault && `${fault.reason}${fault.detail === undefined ? '' : `: ${fault.detail}`}`),
    ...known('socket', described && { ...described, ...kernel.get(socket) }),
  }
}

function work<T>(
  busy: ((resource: T) => boolean | string) | undefined,
  resource: T,
): { busy?: boolean; command?: string } {
  if (busy === undefined) return {}
  try {
    const told = runHook(() => busy(resource))
    return typeof told === 'string' && told !== '' ? { busy: true, command: told } : { busy: Boolean(told) }
  } catch {
    return {}
  }
}

/** A property only if there is a value for it. */
function known<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]: V })
}
