import type { TimesOf } from '../../src/api/stats.ts'
import type { LivePool } from '../../src/diagnostics/live/live-data.ts'

/*
 * What the page has seen of a pool in the last ten minutes. It is kept here, so that the server keeps nothing.
 */

export const WINDOW_MILLIS = 600_000
/** One a second. */
const MOST_SAMPLES = 700

export interface Sample {
  /** Milliseconds of the page's clock. */
  readonly at: number
  readonly lent: number
  readonly waiting: number
  readonly oldestMillis: number
  readonly acquired: number
  readonly failed: number
  readonly stalledMillis: number
  readonly wait: readonly number[]
  readonly use: readonly number[]
}

export function sampleOf({ stats }: LivePool, at: number): Sample {
  const { totals, times, stalls } = stats
  return {
    at,
    lent: stats.borrowed,
    waiting: stats.pending,
    oldestMillis: stats.oldestWaitMillis,
    acquired: totals.acquired,
    failed: totals.timeouts + totals.shed + totals.aborted + totals.createErrors,
    stalledMillis: stalls.totalMillis,
    wait: times.wait.counts,
    use: times.use.counts,
  }
}

export class History {
  readonly samples: Sample[] = []

  add(sample: Sample): void {
    // A pool of the same name that has been made anew starts anew.
    if ((this.samples.at(-1)?.acquired ?? 0) > sample.acquired) this.samples.length = 0
    this.samples.push(sample)
    while (this.samples.length > MOST_SAMPLES || sample.at - (this.samples[0]?.at ?? 0) > WINDOW_MILLIS)
      this.samples.shift()
  }

  /** How long it reaches back: a round number of minutes. */
  get spanMillis(): number {
    const [first] = this.samples
    const seen = (this.samples.at(-1)?.at ?? 0) - (first?.at ?? 0)
    return [60_000, 120_000, 300_000].find(span => seen <= span) ?? WINDOW_MILLIS
  }

  /** What has been counted within the window, by bucket. */
  counted(which: 'wait' | 'use'): number[] {
    const first = this.samples[0]?.[which] ?? []
    const last = this.samples.at(-1)?.[which] ?? []
    return last.map((each, bucket) => each - (first[bucket] ?? 0))
  }

  /** A value for each sample, from it and the one before; the first one has itself before it. */
  line(value: (sample: Sample, before: Sample) => number | undefined): Point[] {
    return this.samples.flatMap((sample, index) => {
      const found = value(sample, this.samples[index - 1] ?? sample)
      return found === undefined ? [] : [{ at: sample.at, value: found }]
    })
  }
}

export interface Point {
  readonly at: number
  readonly value: number
}

/** Per second, between two samples. */
export const perSecond = (now: number, before: number, millis: number): number | undefined =>
  millis <= 0 ? undefined : (Math.max(now - before, 0) * 1000) / millis

/**
 * The upper bound of the bucket that a share of the times is in or below; undefined if there were none. The longest of
 * all stands for the last bucket, which has no bound.
 */
export function quantile(counts: readonly number[], times: TimesOf, share: number): number | undefined {
  const all = counts.reduce((sum, each) => sum + each, 0)
  if (all === 0) return undefined
  let seen = 0
  const bucket = counts.findIndex(each => {
    seen += each
    return seen >= all * share
  })
  return Math.min(times.bounds[bucket] ?? times.maxMillis, times.maxMillis)
}
