import type { Attributes, HrTime, ValueType } from '@opentelemetry/api'
import { BOUNDS_IN_SECONDS, type Spread } from '../../diagnostics/metrics/metric-table.ts'
import { attributesOfPoint, type PointOf, type Reading } from '../../diagnostics/metrics/reading.ts'

/*
 * The shapes of `@opentelemetry/sdk-metrics`, so that this compiles without it. Its enums are numbers.
 */

const INT = 0 as ValueType
const DOUBLE = 1 as ValueType
const HISTOGRAM = 0
const GAUGE = 2
const SUM = 3

/** The SDK counts since the last collection, or since the start. */
const DELTA = 0
export const CUMULATIVE = 1
export type Temporality = typeof DELTA | typeof CUMULATIVE

/** The interval that a number is for. */
interface Interval {
  readonly startTime: HrTime
  readonly endTime: HrTime
}

interface DataPoint<V> extends Interval {
  readonly attributes: Attributes
  readonly value: V
}

interface Descriptor {
  readonly name: string
  readonly description: string
  readonly unit: string
  readonly valueType: ValueType
}

interface Histogram {
  readonly buckets: { readonly boundaries: number[]; readonly counts: number[] }
  readonly sum: number
  readonly count: number
  readonly max?: number
}

export type HistogramPoint = DataPoint<Histogram>

export interface ProducedHistogram {
  readonly descriptor: Descriptor
  readonly aggregationTemporality: Temporality
  readonly dataPointType: typeof HISTOGRAM
  readonly dataPoints: HistogramPoint[]
}

type ProducedNumbers = {
  readonly descriptor: Descriptor
  readonly aggregationTemporality: typeof CUMULATIVE
  readonly dataPoints: DataPoint<number>[]
} & (
  | { readonly dataPointType: typeof SUM; readonly isMonotonic: boolean }
  | { readonly dataPointType: typeof GAUGE }
)

/** A metric in the shape that the SDK gives to its exporters. */
export type ProducedMetric = ProducedNumbers | ProducedHistogram

/** Converts what was read, as counts since the start. */
export function produced(reading: Reading, interval: Interval): ProducedMetric {
  const { name, description, unit } = reading.metric
  const descriptor = { name, description, unit, valueType: unit === 's' ? DOUBLE : INT }
  if (reading.kind === 'times')
    return histogram(
      descriptor,
      CUMULATIVE,
      reading.points.map(point => histogramPoint(point, point.value, interval)),
    )
  const { kind } = reading.metric
  const dataPoints = reading.points.map(point => ({
    ...interval,
    attributes: attributesOfPoint(point),
    value: point.value,
  }))
  const common = { descriptor, aggregationTemporality: CUMULATIVE, dataPoints } as const
  if (kind === 'gauge') return { ...common, dataPointType: GAUGE }
  return { ...common, dataPointType: SUM, isMonotonic: kind === 'counter' }
}

export const histogram = (
  descriptor: Descriptor,
  aggregationTemporality: Temporality,
  dataPoints: HistogramPoint[],
): ProducedHistogram => ({ descriptor, aggregationTemporality, dataPointType: HISTOGRAM, dataPoints })

/** @param value - all that the pool has counted, or the part of it that is in the interval */
export function histogramPoint(
  { attributes }: PointOf<unknown>,
  { counts, ...rest }: Omit<Spread, 'max'> & { readonly max?: number },
  interval: Interval,
): HistogramPoint {
  return {
    ...interval,
    attributes,
    value: { ...rest, buckets: { boundaries: [...BOUNDS_IN_SECONDS], counts } },
  }
}

export function hrTime(millis: number): HrTime {
  const seconds = Math.trunc(millis / 1000)
  return [seconds, Math.round((millis - seconds * 1000) * 1e6)]
}
