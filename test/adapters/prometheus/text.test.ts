import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { Registry } from 'prom-client'
import { instrumentAll } from '../../../src/adapters/otel/index.ts'
import { metricsText, registerPools } from '../../../src/adapters/prometheus/index.ts'
import { createBudget } from '../../../src/index.ts'
import { CountingFactory, scripted } from '../../support/factories.ts'
import { open } from '../../support/pools.ts'
import { rejection } from '../../support/rejection.ts'
import { dashboardQueries, labelsIn, namesIn } from './dashboard.ts'

/** The samples of an exposition, by name and labels. */
function samplesOf(text: string): Map<string, number> {
  return new Map(
    text
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'))
      .map(line => {
        const at = line.lastIndexOf(' ')
        return [line.slice(0, at), Number(line.slice(at + 1))]
      }),
  )
}

/** A pool with a bit of everything in its history. */
async function busyPool(name: string) {
  const factory = scripted()
  const pool = open(factory, { name, max: 2, acquireTimeoutMillis: 20 })
  factory.onCreate.next({ rejects: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) })
  await pool.use(() => {}, { timeoutMillis: 5000 })
  await pool.destroy(await pool.acquire())
  const held = [await pool.acquire(), await pool.acquire()]
  await rejection(pool.acquire())
  return { pool, held }
}

test('the text has every number of stats(), histograms cumulative, under the names of the translation', async () => {
  const { pool } = await busyPool('texted')
  const text = metricsText([pool as never])
  const samples = samplesOf(text)
  const own = '{db_client_connection_pool_name="texted"'
  const stats = pool.stats()
  for (const [name, value] of Object.entries({
    [`db_client_connection_count${own},db_client_connection_state="idle"}`]: 0,
    [`db_client_connection_count${own},db_client_connection_state="used"}`]: 2,
    [`db_client_connection_max${own}}`]: 2,
    [`db_client_connection_idle_max${own}}`]: 2,
    [`db_client_connection_idle_min${own}}`]: 0,
    [`db_client_connection_pending_requests${own}}`]: 0,
    [`db_client_connection_timeouts_total${own}}`]: 1,
    [`db_client_connection_wait_time_seconds_count${own}}`]: 4,
    [`db_client_connection_wait_time_seconds_bucket${own},le="+Inf"}`]: 4,
    [`db_client_connection_use_time_seconds_count${own}}`]: 2,
    [`db_client_connection_create_time_seconds_count${own}}`]: 3,
    [`db_client_connection_use_time_seconds_sum${own}}`]: stats.times.use.sumMillis / 1000,
    [`lifeguard_connections_closed_total${own},lifeguard_close_reason="user"}`]: 1,
    [`lifeguard_create_errors_total${own},error_type="ECONNREFUSED"}`]: 1,
    [`lifeguard_connections_used_peak${own}}`]: 2,
    [`lifeguard_pending_requests_peak${own}}`]: 1,
    [`lifeguard_breaker_open${own}}`]: 0,
    lifeguard_log_dropped_total: stats.log.dropped,
  }))
    assert.equal(samples.get(name), value, `${name} in\n${text}`)
  const buckets = [...samples].filter(([name]) =>
    name.startsWith('db_client_connection_use_time_seconds_bucket'),
  )
  assert.equal(buckets.length, 12)
  for (const [index, [, value]] of buckets.entries()) assert.ok(value >= (buckets[index - 1]?.[1] ?? 0))
  assert.match(text, /# TYPE db_client_connection_use_time_seconds histogram\n/)
  assert.match(text, /# TYPE db_client_connection_timeouts_total counter\n/)
  assert.ok(text.endsWith('\n'))
  // Each family once, all its samples together.
  const headings = text.match(/^# TYPE .*$/gm) ?? []
  assert.equal(new Set(headings).size, headings.length)
})

test('the budget of a pool is told by its name, and only where there is one', async () => {
  const budget = createBudget({ max: 3, name: 'shared' })
  const one = open(new CountingFactory(), { name: 'one', max: 3, budget })
  const other = open(new CountingFactory(), { name: 'other', max: 3, min: 1, autostart: false, budget })
  const alone = open(new CountingFactory(), { name: 'alone' })
  const held = [await one.acquire(), await one.acquire()]
  const samples = samplesOf(metricsText([one as never, other as never, alone as never]))
  for (const pool of ['one', 'other'])
    for (const [name, value] of [
      ['max', 3],
      ['used', 2],
      ['reserved', 1],
    ] as const) {
      const labels = `{db_client_connection_pool_name="${pool}",lifeguard_budget_name="shared"}`
      assert.equal(samples.get(`lifeguard_budget_${name}${labels}`), value, `${pool} ${name}`)
    }
  assert.ok(![...samples.keys()].some(key => key.includes('budget') && key.includes('alone')))
  for (const resource of held) await one.release(resource)
})

test('a pool with a wild name breaks no line', async () => {
  const name = 'a "b" \\ c\nd{e} é'
  const pool = open(new CountingFactory(), { name })
  const line = metricsText([pool as never])
    .split('\n')
    .find(each => each.startsWith('db_client_connection_max'))
  assert.equal(line, 'db_client_connection_max{db_client_connection_pool_name="a \\"b\\" \\\\ c\\nd{e} é"} 1')
})

test('a registry of prom-client tells the same, beside metrics of its own, also as OpenMetrics', async () => {
  const { pool, held } = await busyPool('registered')
  for (const type of [Registry.PROMETHEUS_CONTENT_TYPE, Registry.OPENMETRICS_CONTENT_TYPE] as const) {
    const registry = new Registry()
    registry.setContentType(type as never)
    const remove = registerPools(registry as never, [pool as never])
    const text = await registry.metrics()
    assert.deepEqual(samplesOf(text), samplesOf(metricsText([pool as never])), type)
    if (type === Registry.OPENMETRICS_CONTENT_TYPE) {
      assert.match(text, /# TYPE db_client_connection_timeouts counter\n/)
      assert.doesNotMatch(text, /_total_total/)
    }
    remove()
    assert.deepEqual(samplesOf(await registry.metrics()), new Map())
  }
  const registry = new Registry()
  registry.setDefaultLabels({ app: 'shop' })
  registerPools(registry as never, [pool as never])
  assert.match(await registry.metrics(), /db_client_connection_max\{[^}]*app="shop"/)
  const json = await registry.getMetricsAsJSON()
  assert.ok(json.some(metric => metric.name === 'db_client_connection_wait_time_seconds'))
  // The next scrape reads anew.
  await pool.release(held[0] as never)
  assert.match(await registry.metrics(), /db_client_connection_count\{[^}]*state="idle"[^}]*\} 1/)
})

class HandReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

test('every query of the dashboard finds its metrics, by way of Prometheus and of OpenTelemetry alike', async () => {
  const reader = new HandReader()
  const stop = instrumentAll({ meterProvider: new MeterProvider({ readers: [reader] }), spans: 'off' })
  await busyPool('dashboard')
  const { resourceMetrics } = await reader.collect()
  const nameSets = {
    text: [...samplesOf(metricsText()).keys()],
    otel: [...samplesOf(new PrometheusSerializer().serialize(resourceMetrics)).keys()],
  }
  stop()
  const { queries, variables } = dashboardQueries()
  assert.ok(queries.length >= 15 && variables.length === 3)
  for (const query of [...queries, ...variables]) {
    const wanted = namesIn(query)
    assert.ok(wanted.length > 0, query)
    for (const [way, lines] of Object.entries(nameSets)) {
      const names = new Set(lines.map(line => line.replace(/\{.*/, '')))
      for (const name of wanted)
        assert.ok(
          [...names].some(each => name.test(each)),
          `${name} by ${way}: ${query}`,
        )
    }
    for (const label of labelsIn(query)) {
      for (const [way, lines] of Object.entries(nameSets))
        assert.ok(
          lines.some(line => line.includes(`${label}="`)),
          `label ${label} by ${way}: ${query}`,
        )
    }
  }
})
