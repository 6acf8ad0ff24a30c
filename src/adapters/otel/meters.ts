import type { BatchObservableResult, Histogram, Meter, MeterProvider, Observable } from '@opentelemetry/api'
import {
  BOUNDS_IN_SECONDS,
  NUMBERS,
  type NumberMetric,
  PROCESS_NUMBERS,
  TIMES,
} from '../../diagnostics/metrics/metric-table.ts'
import {
  attributesOf,
  type Observable as ObservablePool,
  observablePools,
} from '../../diagnostics/metrics/observed-pools.ts'

/** The name of our meter and tracer. */
export const SCOPE = 'lifeguard-pool'

interface Attached {
  /** The callers that asked for this pool. It is attached once, and detached when the last of them leaves. */
  readonly owners: Set<object>
  readonly unwatch: (() => void) | undefined
}

/**
 * The instruments of one provider. Numbers are read from the stats of the pools at collection time, so they cannot
 * drift away from them. Times are recorded when they are measured, because the API offers no other way.
 */
export class PoolMeters {
  readonly #numbers: ReadonlyMap<NumberMetric, Observable>
  readonly #times: Readonly<Record<string, Histogram>>
  readonly #attached = new WeakMap<ObservablePool, Attached>()

  constructor(provider: MeterProvider) {
    const meter = provider.getMeter(SCOPE)
    const all = [...NUMBERS, ...PROCESS_NUMBERS]
    this.#numbers = new Map(all.map(metric => [metric, instrument(meter, metric)]))
    this.#times = Object.fromEntries(
      TIMES.map(({ name, unit, description, what }) => {
        const advice = { explicitBucketBoundaries: [...BOUNDS_IN_SECONDS] }
        return [what, meter.createHistogram(name, { unit, description, advice })]
      }),
    )
    meter.addBatchObservableCallback(result => this.#observe(result), [...this.#numbers.values()])
  }

  attach(pool: ObservablePool, owner: object): void {
    const attached = this.#attached.get(pool)
    if (attached !== undefined) attached.owners.add(owner)
    else this.#attached.set(pool, { owners: new Set([owner]), unwatch: this.#watch(pool) })
  }

  /** Detaches the pools that this owner has attached. */
  detach(owner: object): void {
    for (const pool of observablePools()) {
      const attached = this.#attached.get(pool)
      if (!attached?.owners.delete(owner) || attached.owners.size > 0) continue
      attached.unwatch?.()
      this.#attached.delete(pool)
    }
  }

  #observe(result: BatchObservableResult): void {
    let isFirst = true
    for (const pool of observablePools()) {
      if (!this.#attached.has(pool)) continue
      const stats = pool.stats()
      const own = attributesOf(pool)
      for (const [metric, target] of this.#numbers) {
        const isOfProcess = PROCESS_NUMBERS.includes(metric)
        if (isOfProcess && !isFirst) continue
        for (const { value, attributes } of metric.read(stats))
          result.observe(target, value, isOfProcess ? {} : { ...own, ...attributes })
      }
      isFirst = false
    }
  }

  #watch(pool: ObservablePool): (() => void) | undefined {
    let attributes = attributesOf(pool)
    return pool.watchTimes?.((what, millis) => {
      // The server may only be known once the first connection exists.
      if (what === 'create') attributes = attributesOf(pool)
      try {
        this.#times[what]?.record(millis / 1000, attributes)
      } catch {
        // A faulty provider must not interrupt a step of the pool.
      }
    })
  }
}

function instrument(meter: Meter, { name, unit, description, kind }: NumberMetric): Observable {
  const options = { unit, description }
  if (kind === 'counter') return meter.createObservableCounter(name, options)
  if (kind === 'gauge') return meter.createObservableGauge(name, options)
  return meter.createObservableUpDownCounter(name, options)
}
