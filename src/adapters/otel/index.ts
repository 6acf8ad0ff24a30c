import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type MeterProvider, metrics, type TracerProvider, trace } from '@opentelemetry/api'
import type { PoolIdentity } from '../../api/channels.ts'
import { isObservable, type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import type { Pool } from '../../pool/pool.ts'
import { PoolMeters } from './meters.ts'
import { traceAcquires } from './spans.ts'

export { type PoolMetricProducer, poolMetricProducer } from './producer.ts'

/** What to report, and where to. */
export interface InstrumentOptions {
  /** Default: the global one. It must be set by then, or there are no metrics. */
  readonly meterProvider?: MeterProvider | undefined
  /** Default: the global one. */
  readonly tracerProvider?: TracerProvider | undefined
  /**
   * Whether to report metrics. Default true. Set it to false if {@link poolMetricProducer} reports them, or to have
   * none.
   */
  readonly metrics?: boolean | undefined
  /** Which acquires get a span: those that waited or failed (`'waited'`, default), `'all'`, or none (`'off'`). */
  readonly spans?: 'waited' | 'all' | 'off' | undefined
  /** Whether only acquires inside another span get one, so that no acquire becomes a root span. Default true. */
  readonly requireParentSpan?: boolean | undefined
}

/**
 * Reports the metrics and spans of one pool to OpenTelemetry.
 *
 * @returns a function that stops it
 */
export function instrumentPool<T>(pool: Pool<T>, options: InstrumentOptions = {}): () => void {
  const meters = metersOf(options)
  const owner = {}
  if (isObservable(pool)) meters?.attach(pool, owner)
  const untrace = tracing(options, instance => instance === (pool as object))
  return () => {
    meters?.detach(owner)
    untrace()
  }
}

/**
 * Reports the metrics and spans of all pools of this process. That includes pools created later, and pools of other
 * copies of this package.
 *
 * @returns a function that stops it
 */
export function instrumentAll(options: InstrumentOptions = {}): () => void {
  const meters = metersOf(options)
  const owner = {}
  for (const pool of observablePools()) meters?.attach(pool, owner)
  const onCreated = (message: unknown): void => {
    const pool = (message as PoolIdentity).instance as Observable
    if (isObservable(pool)) meters?.attach(pool, owner)
  }
  subscribe('lifeguard-pool:created', onCreated)
  const untrace = tracing(options, () => true)
  return () => {
    unsubscribe('lifeguard-pool:created', onCreated)
    meters?.detach(owner)
    untrace()
  }
}

/** Each provider gets one set of instruments, however often it is used. */
const known = new WeakMap<MeterProvider, PoolMeters>()

function metersOf(options: InstrumentOptions): PoolMeters | undefined {
  if (options.metrics === false) return undefined
  const provider = options.meterProvider ?? metrics.getMeterProvider()
  const meters = known.get(provider) ?? new PoolMeters(provider)
  known.set(provider, meters)
  return meters
}

function tracing(options: InstrumentOptions, concerns: (instance: object) => boolean): () => void {
  const { spans = 'waited', tracerProvider = trace.getTracerProvider(), requireParentSpan = true } = options
  if (spans === 'off') return () => {}
  return traceAcquires(tracerProvider, { spans, requireParentSpan, concerns })
}
