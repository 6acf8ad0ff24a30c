import type { TimesOf } from '../../api/stats.ts'
import type { PoolReport } from '../../diagnostics/pool-report.ts'

/** Percentiles and rates are those of this time. Milliseconds. */
const WINDOW_MILLIS = 60_000

/** A pool at the moment, and what the last reports add to it. */
export interface PoolLook {
  readonly report: PoolReport
  /** How long half and 99 % of the acquires waited at most, in the last minute; undefined if there were none. */
  readonly wait: { readonly p50: number; readonly p99: number } | undefined
  /** Acquires a second; undefined if there is only one report. */
  readonly rate: number | undefined
}

interface Sample {
  readonly at: number
  readonly acquired: number
  readonly waits: TimesOf
}

/** Compares the reports of the last minute. */
export class History {
  #pools = new Map<string, Sample[]>()

  /** @param now - milliseconds of any clock that only goes forward */
  add(reports: readonly PoolReport[], now: number): PoolLook[] {
    const seen = new Map<string, Sample[]>()
    const looks = reports.map(report => {
      const { name, totals, times } = report.stats
      // Several pools may have one name.
      let key = name
      while (seen.has(key)) key += ' '
      const samples = this.#pools.get(key) ?? []
      const sample = { at: now, acquired: totals.acquired, waits: times.wait }
      const last = samples.at(-1)
      // A new pool has taken the name.
      if (last !== undefined && last.acquired > sample.acquired) samples.length = 0
      while (samples.length > 1 && now - (samples[1] as Sample).at >= WINDOW_MILLIS) samples.shift()
      samples.push(sample)
      seen.set(key, samples)
      return lookAt(report, samples[0] as Sample, sample)
    })
    this.#pools = seen
    return looks
  }
}

function lookAt(report: PoolReport, first: Sample, last: Sample): PoolLook {
  const isOnly = first === last
  const counts = last.waits.counts.map(
    (count, index) => count - (isOnly ? 0 : (first.waits.counts[index] ?? 0)),
  )
  const total = counts.reduce((sum, count) => sum + count, 0)
  const within = (share: number): number => {
    let sum = 0
    const bucket = counts.findIndex(count => {
      sum += count
      return sum >= total * share
    })
    return Math.min(last.waits.bounds[bucket] ?? Number.POSITIVE_INFINITY, last.waits.maxMillis)
  }
  const seconds = (last.at - first.at) / 1000
  return {
    report,
    wait: total > 0 ? { p50: within(0.5), p99: within(0.99) } : undefined,
    rate: isOnly || seconds <= 0 ? undefined : (last.acquired - first.acquired) / seconds,
  }
}
