import type { MeterProvider as ApiMeterProvider } from '@opentelemetry/api'
import {
  type DataPoint,
  MeterProvider,
  type MetricData,
  MetricReader,
  type MetricReaderOptions,
  type ViewOptions,
} from '@opentelemetry/sdk-metrics'

/** A reader of the real SDK that is read when the test says so. */
class HandReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

export interface Collected {
  readonly scope: object | undefined
  readonly metrics: ReadonlyMap<string, MetricData>
  /** The points of a metric, by the value of an attribute. */
  points<V = number>(name: string): readonly DataPoint<V>[]
}

interface SdkOptions {
  readonly reader?: MetricReaderOptions
  readonly views?: ViewOptions[]
}

/** Reads what the provider of the SDK has of ours. */
export function realSdk({ reader: options = {}, views = [] }: SdkOptions = {}): {
  provider: ApiMeterProvider
  collect(): Promise<Collected>
} {
  const reader = new HandReader(options)
  return { provider: new MeterProvider({ readers: [reader], views }), collect: () => collected(reader) }
}

/** Two readers of one provider, with these options. */
export function twoReaders(...options: MetricReaderOptions[]): {
  provider: ApiMeterProvider
  collect: (() => Promise<Collected>)[]
} {
  const readers = options.map(each => new HandReader(each))
  return { provider: new MeterProvider({ readers }), collect: readers.map(reader => () => collected(reader)) }
}

async function collected(reader: HandReader): Promise<Collected> {
  const { resourceMetrics, errors } = await reader.collect()
  if (errors.length > 0) throw errors[0]
  const scopes = resourceMetrics.scopeMetrics.filter(({ scope }) => scope.name === 'lifeguard-pool')
  const all = scopes.flatMap(scope => scope.metrics)
  const metrics = new Map(all.map(each => [each.descriptor.name, each]))
  return {
    scope: scopes[0]?.scope,
    metrics,
    points: <V>(name: string) => (metrics.get(name)?.dataPoints ?? []) as unknown as DataPoint<V>[],
  }
}
