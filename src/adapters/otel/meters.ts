import {
  type BatchObservableResult,
  type Histogram,
  type Meter,
  type MeterProvider,
  type Observable,
  ValueType,
} from '@opentelemetry/api'
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
import { attributesOfPoint, type Reading, readPools } from '../../diagnostics/metrics/reading.ts'
import { collectsCounted } from './counted-histograms.ts'
import { faultyProvider } from './faulty-provider.ts'
import { SCHEMA, SCOPE, VERSION } from './scope.ts'

interface Attached {
  /** The callers that asked for this pool. It is attached once, and detached when the last of them leaves. */
  readonly owners: Set<object>
  readonly unwatch: (() => void) | undefined
}

/**
 * The instruments of one provider. Everything is read from the stats of the pools at collection time, so it cannot
 * drift away from them and a loan costs nothing more. Only a provider that accepts times one by one gets each time when
 * it is measured.
 */
export class PoolMeters {
  readonly #numbers: ReadonlyMap<NumberMetric, Observable>
  /** Only for a provider that accepts times one by one. */
  readonly #times: Readonly<Record<string, Histogram>> | undefined
  readonly #attached = new WeakMap<ObservablePool, Attached>()
  /** What was read for the current collection. The SDK calls back for the numbers first. */
  #latest: readonly Reading[] = []

  constructor(provider: MeterProvider) {
    const meter = provider.getMeter(SCOPE, VERSION, SCHEMA)
    const all = [...NUMBERS, ...PROCESS_NUMBERS]
    this.#numbers = new Map(all.map(metric => [metric, instrument(meter, metric)]))
    const isCounted = collectsCounted(meter, TIMES, metric =>
      this.#latest.flatMap(each => (each.kind === 'times' && each.metric === metric ? each.points : [])),
    )
    if (!isCounted) this.#times = histograms(meter)
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
    this.#latest = readPools(observablePools().filter(pool => this.#attached.has(pool)))
    for (const { kind, metric, points } of this.#latest) {
      if (kind !== 'number') continue
      const target = this.#numbers.get(metric)
      if (target !== undefined)
        for (const point of points) result.observe(target, point.value, attributesOfPoint(point))
    }
  }

  #watch(pool: ObservablePool): (() => void) | undefined {
    const times = this.#times
    if (times === undefined) return undefined
    let attributes = attributesOf(pool)
    return pool.watchTimes?.((what, millis) => {
      // The server may only be known once the first connection exists.
      if (what === 'create') attributes = attributesOf(pool)
      try {
        times[what]?.record(millis / 1000, attributes)
      } catch (error) {
        // A faulty provider must not interrupt a step of the pool.
        faultyProvider('metrics', error)
      }
    })
  }
}

const histograms = (meter: Meter): Readonly<Record<string, Histogram>> =>
  Object.fromEntries(
    TIMES.map(({ name, unit, description, what }) => {
      const advice = { explicitBucketBoundaries: [...BOUNDS_IN_SECONDS] }
      return [what, meter.createHistogram(name, { unit, description, advice })]
    }),
  )

function instrument(meter: Meter, { name, unit, description, kind }: NumberMetric): Observable {
  const options = { unit, description, valueType: unit === 's' ? ValueType.DOUBLE : ValueType.INT }
  if (kind === 'counter') return meter.createObservableCounter(name, options)
  if (kind === 'gauge') return meter.createObservableGauge(name, options)
  return meter.createObservableUpDownCounter(name, options)
}
