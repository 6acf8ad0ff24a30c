import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type MeterProvider, metrics, type TracerProvider, trace } from '@opentelemetry/api'
import type { PoolIdentity } from '../../api/channels.ts'
import { show } from '../../api/options/read-input.ts'
import { badOptions } from '../../api/options/resolve-options.ts'
import { isObservable, type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import type { Pool } from '../../pool/pool.ts'
import { hasMeterProvider } from '../../runtime/otel-context.ts'
import { faultyProvider } from './faulty-provider.ts'
import { PoolMeters } from './meters.ts'
import { type Meters, processWide } from './process-wide.ts'
import { traceAcquires } from './spans.ts'

export { type PoolMetricProducer, poolMetricProducer } from './producer.ts'

/** What to report, and where to. */
export interface InstrumentOptions {
  /** Default: the global one, once it has been registered. */
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
  const owner = {}
  if (typeof pool?.stats !== 'function' || !isObservable(pool))
    throw badOptions([`instrumentPool needs a pool of this package, got ${show(pool)}`], undefined)
  const unmeter = metering(options, owner, meters => meters.attach(pool, owner))
  const untrace = tracing(options, instance => instance === (pool as object))
  return () => {
    unmeter()
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
  const owner = {}
  let attach: (pool: Observable) => void = () => {}
  const onCreated = (message: unknown): void => {
    const pool = (message as PoolIdentity).instance as Observable
    if (isObservable(pool)) attach(pool)
  }
  const unmeter = metering(options, owner, meters => {
    attach = pool => meters.attach(pool, owner)
    for (const pool of observablePools()) attach(pool)
  })
  subscribe('lifeguard-pool:created', onCreated)
  const untrace = tracing(options, () => true)
  return () => {
    unsubscribe('lifeguard-pool:created', onCreated)
    unmeter()
    untrace()
  }
}

/**
 * Reports metrics once there is a provider.
 * @returns a function that stops it
 */
function metering(options: InstrumentOptions, owner: object, attach: (meters: Meters) => void): () => void {
  if (options.metrics === false) return () => {}
  let meters: Meters | undefined
  const start = (provider: MeterProvider): void => {
    meters = metersOf(provider)
    attach(meters)
  }
  const { meterProvider } = options
  const cancel = meterProvider === undefined ? onceRegistered(start) : undefined
  if (meterProvider !== undefined) start(meterProvider)
  return () => {
    cancel?.()
    meters?.detach(owner)
  }
}

function metersOf(provider: MeterProvider): Meters {
  const { meters } = processWide()
  const found = meters.get(provider) ?? new PoolMeters(provider)
  meters.set(provider, found)
  return found
}

const SPANS: readonly unknown[] = ['waited', 'all', 'off']

/** At these messages, the global provider is checked again. */
const OCCASIONS = ['lifeguard-pool:created', 'tracing:lifeguard-pool:create:start']

/**
 * Waits for a global provider to be registered. Before that, the API returns one whose metrics go nowhere. There is no
 * event for it, so this checks whenever a pool or a connection is created.
 *
 * @returns a function that stops waiting
 */
function onceRegistered(start: (provider: MeterProvider) => void): () => void {
  const cancel = (): void => {
    for (const occasion of OCCASIONS) unsubscribe(occasion, check)
  }
  const check = (): void => {
    if (!hasMeterProvider()) return
    cancel()
    try {
      start(metrics.getMeterProvider())
    } catch (error) {
      // Node would end the process with what a subscriber throws.
      faultyProvider('metrics', error)
    }
  }
  for (const occasion of OCCASIONS) subscribe(occasion, check)
  check()
  return cancel
}

function tracing(options: InstrumentOptions, concerns: (instance: object) => boolean): () => void {
  const { spans = 'waited', tracerProvider = trace.getTracerProvider(), requireParentSpan = true } = options
  if (!SPANS.includes(spans))
    throw badOptions([`spans must be 'waited', 'all' or 'off', got ${show(spans)}`], undefined)
  if (spans === 'off') return () => {}
  return traceAcquires(tracerProvider, { spans, requireParentSpan, concerns })
}
