import { show } from '../../api/options/read-input.ts'
import { badOptions } from '../../api/options/resolve-options.ts'
import { CONTENT_TYPE, DESCRIPTIONS, exposition, families } from '../../diagnostics/metrics/exposition.ts'
import { type Observable, observablePools } from '../../diagnostics/metrics/observed-pools.ts'
import type { Pool } from '../../pool/pool.ts'
import { inMicrotask } from '../../runtime/async-context.ts'

/** The part of a prom-client registry that is used. */
export interface PromRegistry {
  registerMetric(metric: never): void
  removeSingleMetric(name: string): void
}

/** Which pools to report on. Default: all pools of the process, including those created later. */
export type MetricPools = readonly Pool<never>[] | undefined

/**
 * A metric as a prom-client registry holds it. prom-client changes the names of counters when it writes OpenMetrics.
 */
interface PromMetric {
  name: string
  readonly help: string
  readonly type: string
  readonly aggregator: 'sum'
  get(): Promise<object>
  reset(): void
}

export const metricsContentType: string = CONTENT_TYPE

/** The metrics of all pools of this process in Prometheus's text format, for the response to a scrape. */
export function metricsText(pools?: MetricPools): string {
  return exposition(families(chosen(pools)))
}

/**
 * Adds the metrics of all pools to a prom-client registry, which then serves them with its own. They are read from the
 * pools at scrape time, so they cannot drift, and a loan costs nothing more.
 *
 * @param registry - `register` of prom-client, or a registry of your own
 * @returns a function that removes them
 */
export function registerPools(registry: PromRegistry, pools?: MetricPools): () => void {
  if (typeof registry?.registerMetric !== 'function')
    throw badOptions([`registerPools needs a registry of prom-client, got ${show(registry)}`], undefined)
  const read = oncePerScrape(() => new Map(families(chosen(pools)).map(family => [family.name, family])))
  for (const { name, help, type } of DESCRIPTIONS) {
    const metric: PromMetric = {
      ...{ name, help, type, aggregator: 'sum' },
      async get() {
        const samples = read().get(name)?.samples ?? []
        const values = samples.map(sample => ({
          labels: { ...sample.labels, ...sample.own },
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

/** A registry reads its metrics one by one in the same tick, so the pools are read once for all of them. */
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
