import type { MeterProvider as ApiMeterProvider } from '@opentelemetry/api'
import {
  type DataPoint,
  MeterProvider,
  type MetricData,
  MetricReader,
  type MetricReaderOptions,
} from '@opentelemetry/sdk-metrics'

/** A reader of the real SDK that is read when the test says so. */
class HandReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

export interface Collected {
  readonly metrics: ReadonlyMap<string, MetricData>
  /** The points of a metric, by the value of an attribute. */
  points<V = number>(name: string): readonly DataPoint<V>[]
}

export function realSdk(options: MetricReaderOptions = {}): {
  provider: ApiMeterProvider
  collect(): Promise<Collected>
} {
  const reader = new HandReader(options)
  const provider = new MeterProvider({ readers: [reader] })
  return {
    provider,
    async collect() {
      const { resourceMetrics, errors } = await reader.collect()
      if (errors.length > 0) throw errors[0]
      const all = resourceMetrics.scopeMetrics
        .filter(({ scope }) => scope.name === 'lifeguard-pool')
        .flatMap(scope => scope.metrics)
      const metrics = new Map(all.map(each => [each.descriptor.name, each]))
      return {
        metrics,
        points: <V>(name: string) => (metrics.get(name)?.dataPoints ?? []) as unknown as DataPoint<V>[],
      }
    },
  }
}
