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
 * The API of OpenTelemetry takes times one by one, and its SDK hashes the attributes with each: 0.6 to 1.6 µs a time,
 * whenever and wherever that is done. The pools have counted them by the same buckets already. So where the provider is
 * the SDK, our counts are added to what its meter collects, as a storage beside those of its own instruments. That is a
 * part of the SDK which is not public, and has been the same from 1.8 to 2.12: each thing that is used of it is looked
 * for first, and if one is not there, times are told one by one.
 */

/** A reader of the SDK, as its storages know it. */
interface Collector {
  selectAggregationTemporality(instrument: string): Temporality
  selectAggregation(instrument: string): unknown
}

/** What the SDK collects from. */
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

/** Points of these times, as read for the collection that goes on. */
export type LatestPoints = (metric: TimesMetric) => readonly PointOf<Spread>[]

/**
 * Has the meter collect these times as they are counted.
 * @returns whether it will. If not, nothing has been done: it is no meter of the SDK, or its user has asked for other
 * buckets, other attributes or another aggregation of one of them, which takes the times themselves
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

/** Does a reader take histograms with the buckets that their instruments advise? That is the default of the SDK. */
function takesBuckets(collector: Collector): boolean {
  if (typeof collector.selectAggregationTemporality !== 'function') return false
  const aggregation = collector.selectAggregation(HISTOGRAM) as { type?: unknown }
  // In version 2 options with a number for each kind; before, instances of a class for each.
  return aggregation.type === 0 || aggregation.constructor?.name === 'DefaultAggregation'
}

interface Told {
  at: HrTime
  /** Up to then, of each pool. One that is not read for a while has its entry when it comes back. */
  readonly spreads: WeakMap<object, Spread>
}

/** Times of the pools, as one metric of the SDK. Counted since the start, or for each reader since it last asked. */
class CountedTimes implements Storage {
  readonly #metric: TimesMetric
  readonly #latest: LatestPoints
  readonly #descriptor: object
  readonly #told = new WeakMap<object, Told>()
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

  /** Called if somebody makes an instrument of the same name with a longer description: ours stays. */
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

  /** What is new to this reader. The highest of all so far may have been told before, so none is told. */
  #sinceLast(collector: object, points: readonly PointOf<Spread>[], endTime: HrTime): HistogramPoint[] {
    const told = this.#told.get(collector) ?? { at: this.#startTime, spreads: new WeakMap() }
    const interval = { startTime: told.at, endTime }
    this.#told.set(collector, told)
    told.at = endTime
    return points.flatMap(point => {
      const fresh = minus(point.value, told.spreads.get(point.key))
      told.spreads.set(point.key, point.value)
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
