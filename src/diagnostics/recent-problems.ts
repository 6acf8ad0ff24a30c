import { messageOf } from '../api/errors.ts'
import type { PoolEvents } from '../api/events.ts'
import type { DestroyReason } from '../api/stats.ts'
import { callSite } from './call-sites.ts'

/** Something that went wrong, and how often lately. */
interface Problem {
  readonly kind: string
  readonly what: string
  times: number
  /** When it last happened, in milliseconds of the pool's clock. */
  at: number
}

/** How many problems of each kind are kept, so that many of one kind do not displace the others. */
const MOST_PER_KIND = 4
/** A problem that has not happened for this long is counted from 1 again. Milliseconds. */
const FORGET_MILLIS = 600_000
/** Reasons for which a connection was destroyed although nobody wanted that. */
const UNEXPECTED: ReadonlySet<DestroyReason> = new Set([
  'half-closed',
  'broken',
  'invalid',
  'invalidated',
  'dirty',
  'leaked',
  'stuck',
  'server-timeout',
])

/** The latest problems, for the report. Most of them are also emitted as events, from which this class records them. */
export class RecentProblems {
  readonly recent: Problem[] = []

  recordEvent<T>(event: keyof PoolEvents<T>, details: readonly unknown[], now: number): void {
    const what = inWords(event as string, details[0])
    if (what !== undefined) this.record(event as string, what, now)
  }

  record(kind: string, what: string, now: number): void {
    const last = this.recent.find(problem => problem.what === what)
    if (last !== undefined) {
      last.times = now - last.at > FORGET_MILLIS ? 1 : last.times + 1
      last.at = now
      return
    }
    this.recent.push({ kind, what, times: 1, at: now })
    const same = this.recent.filter(problem => problem.kind === kind)
    if (same.length <= MOST_PER_KIND) return
    const oldest = same.reduce((first, problem) => (problem.at < first.at ? problem : first))
    this.recent.splice(this.recent.indexOf(oldest), 1)
  }
}

function inWords(event: string, detail: unknown): string | undefined {
  switch (event) {
    case 'factoryCreateError':
      return `connecting failed: ${messageOf(detail)}`
    case 'factoryDestroyError':
      return `closing failed: ${messageOf(detail)}`
    case 'deadlock':
      return `a deadlock was broken: ${messageOf((detail as { error?: unknown }).error)}`
    case 'leak':
      return leakInWords(detail as PoolEvents<unknown>['leak'][0])
    case 'shed':
      return (detail as PoolEvents<unknown>['shed'][0]).estimatedMillis === undefined
        ? 'a waiter was rejected to shed load'
        : 'an acquire was refused early: its deadline would have come first'
    case 'breaker':
      return `the breaker went ${(detail as PoolEvents<unknown>['breaker'][0]).state}`
    case 'destroy':
      return destroyInWords(detail as PoolEvents<unknown>['destroy'][0])
    default:
      return undefined
  }
}

function leakInWords({ stack, reclaimed }: PoolEvents<unknown>['leak'][0]): string {
  const site = callSite(stack)
  return `a lease looked forgotten${site === undefined ? '' : `, taken ${site}`}${reclaimed ? ', and was ended' : ''}`
}

function destroyInWords({ reason, detail }: PoolEvents<unknown>['destroy'][0]): string | undefined {
  if (!UNEXPECTED.has(reason)) return undefined
  return `a connection was destroyed as ${reason}${detail === undefined ? '' : `: ${detail}`}`
}
