import { CONTENT_TYPE, DESCRIPTIONS, exposition, families } from '../../diagnostics/metrics/exposition.ts'
import { type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import type { Pool } from '../../pool/pool.ts'
import { inMicrotask } from '../../runtime/async-context.ts'

/** What of a registry of prom-client is used. */
export interface PromRegistry {
  registerMetric(metric: never): void
  removeSingleMetric(name: string): void
}

/** Which pools are told of. Default: all of the process, also those still to be made. */
export type MetricPools = readonly Pool<never>[] | undefined

/** What a registry of prom-client holds. It changes the names of counters when it writes OpenMetrics. */
interface PromMetric {
  name: string
  readonly help: string
  readonly type: string
  readonly aggregator: 'sum'
  get(): Promise<object>
  reset(): void
}

export const metricsContentType: string = CONTENT_TYPE

/** The metrics of all pools of this process in Prometheus's text format: what an endpoint for scraping answers. */
export function metricsText(pools?: MetricPools): string {
  return exposition(families(chosen(pools)))
}

/**
 * Adds the metrics of all pools to a registry of prom-client, which then serves them beside its own. They are read from
 * the pools when they are asked for, so they cannot drift, and cost a loan nothing.
 *
 * @param registry - `register` of prom-client, or one of your own
 * @returns takes them out again
 */
export function registerPools(registry: PromRegistry, pools?: MetricPools): () => void {
  const read = oncePerScrape(() => new Map(families(chosen(pools)).map(family => [family.name, family])))
  for (const { name, help, type } of DESCRIPTIONS) {
    const metric: PromMetric = {
      ...{ name, help, type, aggregator: 'sum' },
      async get() {
        const samples = read().get(name)?.samples ?? []
        const values = samples.map(sample => ({
          labels: sample.labels,
          value: sample.value,
          ...(type === 'histogram' ? { metricName: sample.name } : {}),
        }))
        return { name: this.name, help, type, values, aggregator: 'sum' }
      },
      reset() {},
    }
    registry.registerMetric(metric as never)
  }
  return () => {
    for (const { name } of DESCRIPTIONS) registry.removeSingleMetric(name)
  }
}

/** A registry asks for its metrics one by one, all in one go: the pools are read once for all. */
function oncePerScrape<R>(read: () => R): () => R {
  let latest: { readonly value: R } | undefined
  return () => {
    if (latest === undefined) {
      latest = { value: read() }
      inMicrotask(() => {
        latest = undefined
      })
    }
    return latest.value
  }
}

const chosen = (pools: MetricPools): readonly Observable[] =>
  (pools as readonly Observable[] | undefined) ?? observablePools()
