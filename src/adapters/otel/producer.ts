import { type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import { readPools } from '../../diagnostics/metrics/reading.ts'
import type { Pool } from '../../pool/pool.ts'
import { epochMillis } from '../../runtime/time/clock.ts'
import { SCOPE } from './meters.ts'
import { hrTime, type ProducedMetric, produced } from './produced-metrics.ts'

/** What a reader of the SDK takes as one of its `metricProducers`. */
export interface PoolMetricProducer {
  collect(): Promise<{
    resourceMetrics: {
      resource: never
      scopeMetrics: { scope: { name: string }; metrics: ProducedMetric[] }[]
    }
    errors: unknown[]
  }>
}

/**
 * All metrics of the pools, histograms included, straight from what the pools count anyway: a loan costs nothing more. For
 * the `metricProducers` of a reader of the SDK; `instrumentPool` and `instrumentAll` then need `metrics: false`.
 * Sums and histograms are cumulative.
 *
 * @param pools - default: all of the process, also those still to be made
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
      // Readers take the resource of their own provider.
      const resource = { attributes: {} } as never
      return { resourceMetrics: { resource, scopeMetrics: [{ scope: { name: SCOPE }, metrics }] }, errors }
    },
  }
}
