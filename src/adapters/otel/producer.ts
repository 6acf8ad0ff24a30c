import { type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import { readPools } from '../../diagnostics/metrics/reading.ts'
import type { Pool } from '../../pool/pool.ts'
import { epochMillis } from '../../runtime/time/clock.ts'
import { hrTime, type ProducedMetric, produced } from './produced-metrics.ts'
import { SCHEMA, SCOPE, VERSION } from './scope.ts'

/** The shape that a metric reader of the SDK accepts in `metricProducers`. */
export interface PoolMetricProducer {
  collect(): Promise<{
    resourceMetrics: {
      resource: never
      scopeMetrics: {
        scope: { name: string; version: string; schemaUrl: string }
        metrics: ProducedMetric[]
      }[]
    }
    errors: unknown[]
  }>
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
      const interval = { startTime, endTime: hrTime(epochMillis()) }
      const readings = readPools((pools as readonly Observable[] | undefined) ?? observablePools(), error =>
        errors.push(error),
      )
      const metrics = readings.map(reading => produced(reading, interval))
      // Metric readers use the resource of their own provider.
      const resource = { attributes: {} } as never
      const scope = { name: SCOPE, version: VERSION, ...SCHEMA }
      return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics }] }, errors }
    },
  }
}
