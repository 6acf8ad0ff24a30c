import { systemClock } from '../../runtime/time/clock.ts'
import { callSite } from '../call-sites.ts'
import { uniqueName } from '../metrics/observed-pools.ts'
import type { LeaseReport, PoolReport, WaiterReport } from '../pool-report.ts'
import { livePools, type Reporting } from '../registry.ts'
import {
  LIVE_FLAGS,
  LIVE_STATES,
  type LiveConnection,
  type LiveData,
  type LiveGroup,
  type LiveGroups,
  type LivePool,
} from './live-data.ts'

/** How many of the first waiters are read. A hundred thousand would take half a second. */
const MOST_WAITERS = 1000
const MOST_NEXT = 5
const MOST_GROUPS = 30
const MOST_CONNECTIONS = 20_000
const MOST_PROBLEMS = 12

/** Reads all pools that are not closed, for the live page. */
export function liveData(): LiveData {
  const since = systemClock.now()
  const pools = livePools().flatMap(pool => {
    try {
      return livePool(pool)
    } catch {
      return []
    }
  })
  return {
    process: { pid: process.pid, upSeconds: Math.round(process.uptime()), node: process.version },
    tookMillis: systemClock.now() - since,
    pools,
  }
}

function livePool(pool: Reporting): LivePool[] {
  if (pool.stats?.().state === 'closed') return []
  const report = pool.reportWith?.(MOST_WAITERS) ?? pool.reportJson()
  const { stats, findings, waiters, connecting } = report
  if (stats.state === 'closed') return []
  const sites = new Map(report.leases.map(lease => [lease.connection, callSite(lease.stack)]))
  const holders = groupsOf(report.leases, ({ connection }) => sites.get(connection), leaseFacts)
  return [
    {
      name: uniqueName(pool),
      reportName: pool.name,
      stats,
      findings,
      waitersRead: waiters.length < stats.pending ? waiters.length : undefined,
      connections: connectionsOf(report, holders, sites),
      holders,
      waiters: groupsOf(waiters, ({ stack }) => callSite(stack), waiterFacts),
      next: waiters.slice(0, MOST_NEXT).map(({ waitedMillis, leftMillis, priority, stack, nestedUnder }) => ({
        ...{ waitedMillis, leftMillis, priority, nestedUnder },
        site: callSite(stack),
      })),
      connecting,
      lately: report.troubles.slice(0, MOST_PROBLEMS),
    },
  ]
}

/** What one member adds to its group. */
interface Facts {
  readonly millis: number
  readonly atWork: boolean
  readonly forgotten: boolean
  readonly nested: boolean
  readonly command: string | undefined
}

const leaseFacts = ({ heldMillis, busy, suspect, nestedUnder, command }: LeaseReport): Facts => ({
  ...{ millis: heldMillis, atWork: busy === true, forgotten: suspect, command },
  nested: nestedUnder !== undefined,
})

const waiterFacts = ({ waitedMillis, nestedUnder }: WaiterReport): Facts => ({
  ...{ millis: waitedMillis, atWork: false, forgotten: false, command: undefined },
  nested: nestedUnder !== undefined,
})

function groupsOf<E>(
  all: readonly E[],
  siteOf: (each: E) => string | undefined,
  factsOf: (each: E) => Facts,
): LiveGroups {
  const bySite = new Map<string | undefined, LiveGroup>()
  for (const each of all) {
    const site = siteOf(each)
    const { millis, atWork, forgotten, nested, command } = factsOf(each)
    const before = bySite.get(site)
    bySite.set(site, {
      site,
      count: (before?.count ?? 0) + 1,
      longestMillis: Math.max(before?.longestMillis ?? 0, millis),
      atWork: (before?.atWork ?? 0) + Number(atWork),
      forgotten: (before?.forgotten ?? 0) + Number(forgotten),
      nested: (before?.nested ?? 0) + Number(nested),
      command: before?.command ?? command,
    })
  }
  const sorted = [...bySite.values()].sort((a, b) => b.count - a.count || b.longestMillis - a.longestMillis)
  const groups = sorted.slice(0, MOST_GROUPS)
  return { groups, more: all.length - groups.reduce((sum, { count }) => sum + count, 0) }
}

function connectionsOf(
  { connections, leases }: PoolReport,
  { groups }: LiveGroups,
  sites: ReadonlyMap<number, string | undefined>,
): LiveConnection[] {
  const lent = new Map(leases.map(lease => [lease.connection, lease]))
  const groupOf = new Map(groups.map(({ site }, index) => [site, index]))
  return connections.slice(0, MOST_CONNECTIONS).map(({ id, state, ageMillis, idleMillis, fault, socket }) => {
    const lease = lent.get(id)
    const isGone = fault !== undefined || socket?.state === 'CLOSE_WAIT'
    const flags =
      (lease?.suspect === true ? LIVE_FLAGS.forgotten : 0) +
      (isGone ? LIVE_FLAGS.gone : 0) +
      (lease?.busy === true ? LIVE_FLAGS.atWork : 0)
    const millis = Math.round(lease?.heldMillis ?? idleMillis ?? ageMillis)
    const group = lease === undefined ? -1 : (groupOf.get(sites.get(id)) ?? -1)
    return [id, LIVE_STATES.indexOf(state as (typeof LIVE_STATES)[number]), millis, flags, group]
  })
}
