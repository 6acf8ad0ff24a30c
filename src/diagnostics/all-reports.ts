import { messageOf } from '../api/errors.ts'
import { timestamp } from '../runtime/time/clock.ts'
import type { PoolReport } from './pool-report.ts'
import { livePools, type Reporting } from './registry.ts'

/** Where `installReportSignal` writes the reports. */
export interface ReportSignalOptions {
  /** A file to append to; created if it does not exist. Default: stderr, through a sink that never blocks. */
  file?: string
}

/** The reports of all pools of this process as text for people: a heading, then one text per pool. */
export function reportAll(name?: string): string[] {
  const pools = chosen(name)
  const open = pools.length === 1 ? '1 pool' : `${pools.length} pools`
  const heading = `${timestamp()} lifeguard-pool report of process ${process.pid}: ${open}, up ${Math.round(process.uptime())} s`
  return [heading, ...pools.map(pool => guarded(pool, () => pool.report()))]
}

/** The same reports as plain data. A pool whose report fails is left out. */
export function allReports(name?: string): PoolReport[] {
  return chosen(name).flatMap(pool => {
    try {
      return [pool.reportJson()]
    } catch {
      return []
    }
  })
}

/** In an address, half a character comes as U+FFFD. */
const chosen = (name: string | undefined): Reporting[] =>
  livePools().filter(
    pool => name === undefined || pool.name === name || pool.name.replaceAll(/\p{Cs}/gu, '\ufffd') === name,
  )

function guarded(pool: Reporting, report: () => string): string {
  try {
    return report()
  } catch (error) {
    return `pool '${pool.name}': the report failed: ${messageOf(error)}`
  }
}
