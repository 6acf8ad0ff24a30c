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

/** Broken deadlocks with the same call sites. */
export interface BrokenDeadlock {
  readonly pools: readonly string[]
  readonly askedAt: string | undefined
  readonly heldAt: readonly string[]
  times: number
  at: number
}

/** How many deadlocks with different call sites are kept. */
const MOST_DEADLOCKS = 8
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
  /** Never forgotten, unless many others follow. The latest is last. */
  readonly deadlocks: BrokenDeadlock[] = []

  recordEvent<T>(event: keyof PoolEvents<T>, details: readonly unknown[], now: number): void {
    if (event === 'deadlock') this.#broken(details[0] as PoolEvents<unknown>['deadlock'][0], now)
    const what = inWords(event as string, details[0])
    if (what !== undefined) this.record(event as string, what, now)
  }

  #broken({ pools, waitStack, heldStacks }: PoolEvents<unknown>['deadlock'][0], now: number): void {
    const askedAt = callSite(waitStack)
    const heldAt = heldStacks.flatMap(stack => callSite(stack) ?? [])
    const key = JSON.stringify([pools, askedAt, heldAt])
    const index = this.deadlocks.findIndex(
      one => key === JSON.stringify([one.pools, one.askedAt, one.heldAt]),
    )
    const [known] = index === -1 ? [] : this.deadlocks.splice(index, 1)
    this.deadlocks.push({ pools, askedAt, heldAt, times: (known?.times ?? 0) + 1, at: now })
    if (this.deadlocks.length > MOST_DEADLOCKS) this.deadlocks.shift()
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
      return deadlockInWords(detail as PoolEvents<unknown>['deadlock'][0])
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

function deadlockInWords({ pools, waitStack, heldStacks }: PoolEvents<unknown>['deadlock'][0]): string {
  const held = heldStacks.flatMap(stack => callSite(stack) ?? [])
  return `a deadlock was broken: ${sitesInWords(pools, callSite(waitStack), held)}`
}

/** Who asked for what while holding what, as far as it is known. */
export function sitesInWords(
  pools: readonly string[],
  askedAt: string | undefined,
  heldAt: readonly string[],
): string {
  const names = pools.map(pool => `'${pool}'`).join(' and ')
  const asked = `an acquire${askedAt === undefined ? '' : ` ${askedAt}`} waited for pool ${names}`
  return `${asked} while its caller held ${heldAt.length === 0 ? 'a connection' : `what was taken ${heldAt.join(' and ')}`}`
}

function leakInWords({ stack, reclaimed }: PoolEvents<unknown>['leak'][0]): string {
  const site = callSite(stack)
  return `a lease looked forgotten${site === undefined ? '' : `, taken ${site}`}${reclaimed ? ', and was ended' : ''}`
}

function destroyInWords({ reason, detail }: PoolEvents<unknown>['destroy'][0]): string | undefined {
  if (!UNEXPECTED.has(reason)) return undefined
  return `a connection was destroyed as ${reason}${detail === undefined ? '' : `: ${detail}`}`
}
