import { tracingChannel } from 'node:diagnostics_channel'
import { context, type Span, trace } from '@opentelemetry/api'
import { MeterProvider, MetricReader, type ViewOptions } from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import { instrumentPool, poolMetricProducer } from '../../src/adapters/otel/index.ts'
import { createPool, type Pool } from '../../src/index.ts'

/** Collects nothing by itself: what a loan costs is measured, not what an export does. */
class SilentReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

/** Drops spans once they are made. */
class SpanCounter extends InMemorySpanExporter {
  override export(...[, done]: Parameters<InMemorySpanExporter['export']>): void {
    done({ code: 0 })
  }
}

const server = { system: 'redis', address: 'cache.internal', port: 6379, database: '0' }

/** What is switched on, by name. */
const WATCHERS: Readonly<Record<string, (pool: Pool<object>) => void>> = {
  'nobody watches': () => {},
  poolMetricProducer: () => {
    new MeterProvider({ readers: [new SilentReader({ metricProducers: [poolMetricProducer()] })] })
  },
  'instrumentPool, metrics': pool => meters(pool, []),
  // With a view the SDK is told of each time by itself.
  'instrumentPool, metrics, a view': pool => meters(pool, [{ instrumentName: 'db.client.connection.*' }]),
  "instrumentPool, spans: 'waited'": pool => spans(pool, 'waited'),
  "instrumentPool, spans: 'all'": pool => spans(pool, 'all'),
  'a subscriber of :acquire': () => {
    const none = (): void => {}
    tracingChannel('lifeguard-pool:acquire').subscribe({
      ...{ start: none, end: none, asyncStart: none, asyncEnd: none, error: none },
    })
  },
}

export const WATCHED = Object.keys(WATCHERS)

function meters(pool: Pool<object>, views: ViewOptions[]): void {
  const meterProvider = new MeterProvider({ readers: [new SilentReader()], views })
  instrumentPool(pool, { meterProvider, spans: 'off' })
}

let request: Span | undefined

function spans(pool: Pool<object>, which: 'waited' | 'all'): void {
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new SpanCounter())] })
  provider.register()
  request = provider.getTracer('bench').startSpan('request')
  instrumentPool(pool, { tracerProvider: provider, metrics: false, spans: which })
}

/** A pool that is watched so. */
export function watchedPool(name: string, max: number): Pool<object> {
  const pool = createPool(
    { create: async () => ({}), destroy: async () => {}, server },
    { max, fifo: false, name: 'bench' },
  )
  WATCHERS[name]?.(pool)
  return pool
}

/** Runs inside of a request, where there are spans. */
export const inRequest = <R>(run: () => R): R =>
  request === undefined ? run() : context.with(trace.setSpan(context.active(), request), run)
