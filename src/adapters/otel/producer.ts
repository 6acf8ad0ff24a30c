import type { Attributes, HrTime, ValueType } from '@opentelemetry/api'
import type { PoolStats } from '../../api/stats.ts'
import {
  BOUNDS_IN_SECONDS,
  inSeconds,
  NUMBERS,
  type NumberMetric,
  PROCESS_NUMBERS,
  TIMES,
  type TimesMetric,
} from '../../diagnostics/metrics/metric-table.ts'
import { attributesOf, type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import type { Pool } from '../../pool/pool.ts'
import { epochMillis } from '../../runtime/time/clock.ts'
import { SCOPE } from './meters.ts'

/*
 * The shapes of `@opentelemetry/sdk-metrics`, so that this compiles without it. Its enums are numbers.
 */

const INT = 0 as ValueType
const DOUBLE = 1 as ValueType
const HISTOGRAM = 0
const GAUGE = 2
const SUM = 3
const CUMULATIVE = 1

interface DataPoint<V> {
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly attributes: Attributes
  readonly value: V
}

interface Common {
  readonly descriptor: {
    readonly name: string
    readonly description: string
    readonly unit: string
    readonly valueType: ValueType
  }
  readonly aggregationTemporality: typeof CUMULATIVE
}

type Histogram = {
  buckets: { boundaries: number[]; counts: number[] }
  sum: number
  count: number
  max: number
}

type ProducedMetric = Common &
  (
    | {
        readonly dataPointType: typeof SUM
        readonly isMonotonic: boolean
        readonly dataPoints: DataPoint<number>[]
      }
    | { readonly dataPointType: typeof GAUGE; readonly dataPoints: DataPoint<number>[] }
    | { readonly dataPointType: typeof HISTOGRAM; readonly dataPoints: DataPoint<Histogram>[] }
  )

/** The shape that a metric reader of the SDK accepts in `metricProducers`. */
export interface PoolMetricProducer {
  collect(): Promise<{
    resourceMetrics: {
      resource: never
      scopeMetrics: { scope: { name: string }; metrics: ProducedMetric[] }[]
    }
    errors: unknown[]
  }>
}

interface Observed {
  readonly stats: PoolStats
  readonly attributes: Attributes
}

/**
 * Returns a producer of all metrics of the pools, including histograms. It reads what the pools count anyway, so a loan
 * costs nothing more. Pass it in the `metricProducers` of a metric reader of the SDK, and set `metrics: false` for
 * `instrumentPool` and `instrumentAll`. Sums and histograms are cumulative.
 *
 * @param pools - default: all pools of the process, including those created later
 */
export function poolMetricProducer(pools?: readonly Pool<never>[]): PoolMetricProducer {
  const startTime = hrTime(performance.timeOrigin)
  return {
    async collect() {
      const errors: unknown[] = []
      const observed: Observed[] = []
      for (const pool of (pools as readonly Observable[] | undefined) ?? observablePools()) {
        try {
          observed.push({ stats: pool.stats(), attributes: attributesOf(pool) })
        } catch (error) {
          errors.push(error)
        }
      }
      const span = { startTime, endTime: hrTime(epochMillis()) }
      const process = observed.slice(0, 1).map(({ stats }) => ({ stats, attributes: {} }))
      const metrics = [
        ...NUMBERS.map(metric => numbers(metric, observed, span)),
        ...TIMES.map(metric => histogram(metric, observed, span)),
        ...PROCESS_NUMBERS.map(metric => numbers(metric, process, span)),
      ].filter(({ dataPoints }) => dataPoints.length > 0)
      // Metric readers use the resource of their own provider.
      const resource = { attributes: {} } as never
      return { resourceMetrics: { resource, scopeMetrics: [{ scope: { name: SCOPE }, metrics }] }, errors }
    },
  }
}

type Span = Pick<DataPoint<never>, 'startTime' | 'endTime'>

function numbers(metric: NumberMetric, observed: readonly Observed[], span: Span): ProducedMetric {
  const { name, description, unit, kind } = metric
  const dataPoints = observed.flatMap(({ stats, attributes }) =>
    metric
      .read(stats)
      .map(point => ({ ...span, attributes: { ...attributes, ...point.attributes }, value: point.value })),
  )
  const descriptor = { name, description, unit, valueType: unit === 's' ? DOUBLE : INT }
  const common = { descriptor, aggregationTemporality: CUMULATIVE, dataPoints } as const
  if (kind === 'gauge') return { ...common, dataPointType: GAUGE }
  return { ...common, dataPointType: SUM, isMonotonic: kind === 'counter' }
}

function histogram(
  { name, description, unit, what }: TimesMetric,
  observed: readonly Observed[],
  span: Span,
): ProducedMetric {
  return {
    descriptor: { name, description, unit, valueType: DOUBLE },
    aggregationTemporality: CUMULATIVE,
    dataPointType: HISTOGRAM,
    dataPoints: observed.map(({ stats, attributes }) => {
      const { counts, ...rest } = inSeconds(stats.times[what])
      const value = { ...rest, buckets: { boundaries: [...BOUNDS_IN_SECONDS], counts } }
      return { ...span, attributes, value }
    }),
  }
}

function hrTime(millis: number): HrTime {
  const seconds = Math.trunc(millis / 1000)
  return [seconds, Math.round((millis - seconds * 1000) * 1e6)]
}
