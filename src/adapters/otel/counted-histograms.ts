import type { HrTime, Meter } from '@opentelemetry/api'
import { BOUNDS_IN_SECONDS, type Spread, type TimesMetric } from '../../diagnostics/metrics/metric-table.ts'
import type { PointOf } from '../../diagnostics/metrics/reading.ts'
import {
  CUMULATIVE,
  type HistogramPoint,
  histogram,
  histogramPoint,
  hrTime,
  type ProducedHistogram,
  type Temporality,
} from './produced-metrics.ts'

/*
 * The API of OpenTelemetry accepts times only one by one, and its SDK hashes the attributes of each. This takes 0.6 to
 * 1.6 µs per time, wherever it is done. The pools have already counted the same times in the same buckets. So if the
 * provider is the SDK, its meter gets an additional storage that returns these counts. This part of the SDK is not
 * public. It was the same in versions 1.8 to 2.12. Everything that is used of it is checked first, and if anything is
 * missing, the times are recorded one by one.
 */

/** What the storages of the SDK know about a metric reader. */
interface Collector {
  selectAggregationTemporality(instrument: string): Temporality
  selectAggregation(instrument: string): unknown
}

/** An object that the SDK collects metrics from. */
interface Storage {
  getInstrumentDescriptor(): object
  updateDescription(description: string): void
  collect(collector: object, collectionTime: HrTime): ProducedHistogram | undefined
}

interface MeterState {
  readonly metricStorageRegistry: { register(storage: Storage): void }
  readonly _instrumentationScope: object
  readonly _meterProviderSharedState: {
    readonly viewRegistry: { findViews(instrument: object, scope: object): unknown[] }
    readonly metricCollectors: readonly Collector[]
  }
}

const HISTOGRAM = 'HISTOGRAM'
const DOUBLE = 1

/** Returns the points of a metric, as read for the current collection. */
type LatestPoints = (metric: TimesMetric) => readonly PointOf<Spread>[]

/**
 * Makes a meter collect these histograms from what the pools have counted.
 *
 * @returns whether that is possible. If not, nothing has changed: the meter is not the SDK's, or a view or a reader
 * wants other buckets, attributes or aggregations, for which the times themselves are needed
 */
export function collectsCounted(
  meter: Meter,
  metrics: readonly TimesMetric[],
  latest: LatestPoints,
): boolean {
  try {
    const state = (meter as { readonly _meterSharedState?: MeterState })._meterSharedState
    if (state === undefined || typeof state.metricStorageRegistry.register !== 'function') return false
    const { viewRegistry, metricCollectors } = state._meterProviderSharedState
    const storages = metrics.map(metric => new CountedTimes(metric, latest))
    const isPlain = storages.every(
      storage =>
        viewRegistry.findViews(storage.getInstrumentDescriptor(), state._instrumentationScope).length === 0,
    )
    if (!isPlain || !metricCollectors.every(takesBuckets)) return false
    for (const storage of storages) state.metricStorageRegistry.register(storage)
    return true
  } catch {
    return false
  }
}

/** Does a reader use histograms with the buckets that the instrument advises? This is the default of the SDK. */
function takesBuckets(collector: Collector): boolean {
  if (typeof collector.selectAggregationTemporality !== 'function') return false
  const aggregation = collector.selectAggregation(HISTOGRAM) as { type?: unknown }
  // Version 2 has options with a number for each kind. Version 1 has a class for each kind.
  return aggregation.type === 0 || aggregation.constructor?.name === 'DefaultAggregation'
}

interface LastReport {
  at: HrTime
  /** The histogram of each pool at its last report. Pools that are not read for a while keep their entry. */
  readonly spreads: WeakMap<object, Spread>
}

/** One histogram metric of the SDK: counts since the start, or for each reader since its last collection. */
class CountedTimes implements Storage {
  readonly #metric: TimesMetric
  readonly #latest: LatestPoints
  readonly #descriptor: object
  readonly #lastReports = new WeakMap<object, LastReport>()
  readonly #startTime = hrTime(performance.timeOrigin)

  constructor(metric: TimesMetric, latest: LatestPoints) {
    const { name, unit, description } = metric
    const advice = { explicitBucketBoundaries: [...BOUNDS_IN_SECONDS] }
    this.#metric = metric
    this.#latest = latest
    this.#descriptor = { name, unit, description, type: HISTOGRAM, valueType: DOUBLE, advice }
  }

  getInstrumentDescriptor(): object {
    return this.#descriptor
  }

  /** Called if an instrument of the same name is created with a longer description. Ours stays. */
  updateDescription(): void {}

  collect(collector: Collector, endTime: HrTime): ProducedHistogram | undefined {
    const temporality = collector.selectAggregationTemporality(HISTOGRAM)
    const points = this.#latest(this.#metric)
    const dataPoints =
      temporality === CUMULATIVE
        ? points.map(point => histogramPoint(point, point.value, { startTime: this.#startTime, endTime }))
        : this.#sinceLast(collector, points, endTime)
    return dataPoints.length === 0 ? undefined : histogram(this.#descriptor as never, temporality, dataPoints)
  }

  /**
   * The counts since the last collection of this reader. Only the all-time maximum is known, which may be older, so no
   * maximum is given.
   */
  #sinceLast(collector: object, points: readonly PointOf<Spread>[], endTime: HrTime): HistogramPoint[] {
    const last = this.#lastReports.get(collector) ?? { at: this.#startTime, spreads: new WeakMap() }
    const interval = { startTime: last.at, endTime }
    this.#lastReports.set(collector, last)
    last.at = endTime
    return points.flatMap(point => {
      const fresh = minus(point.value, last.spreads.get(point.key))
      last.spreads.set(point.key, point.value)
      return fresh.count === 0 ? [] : [histogramPoint(point, fresh, interval)]
    })
  }
}

function minus({ count, sum, counts }: Spread, before: Spread | undefined): Omit<Spread, 'max'> {
  if (before === undefined) return { count, sum, counts }
  return {
    count: count - before.count,
    sum: sum - before.sum,
    counts: counts.map((each, bucket) => each - (before.counts[bucket] ?? 0)),
  }
}
