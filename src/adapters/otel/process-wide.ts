import type { MeterProvider, TracerProvider } from '@opentelemetry/api'
import type { Observable } from '../../diagnostics/metrics/observed-pools.ts'

/** Reports the metrics of pools to one provider. */
export interface Meters {
  attach(pool: Observable, owner: object): void
  /** Detaches the pools that this owner has attached. */
  detach(owner: object): void
}

/** Which acquires get a span. */
export interface SpanRule {
  readonly spans: 'waited' | 'all'
  readonly requireParentSpan: boolean
  readonly concerns: (instance: object) => boolean
}

/** What all copies of this package in one process share, so that no copy reports what another one already reports. */
interface ProcessWide {
  /** Each provider gets one set of instruments, however often it is used. */
  readonly meters: WeakMap<MeterProvider, Meters>
  /** The rules of each provider. An acquire gets only one span, by the first rule that applies to its pool. */
  readonly spanRules: WeakMap<TracerProvider, Set<SpanRule>>
}

/** The key stands for the shape. Change both together. */
const KEY = Symbol.for('lifeguard-pool.otel.v1')

export function processWide(): ProcessWide {
  const holder = globalThis as { [KEY]?: ProcessWide }
  holder[KEY] ??= { meters: new WeakMap(), spanRules: new WeakMap() }
  return holder[KEY]
}
