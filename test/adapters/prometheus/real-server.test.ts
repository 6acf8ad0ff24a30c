import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { metricsText } from '../../../src/adapters/prometheus/index.ts'
import { serveDiagnostics } from '../../../src/diagnostics/index.ts'
import { DESCRIPTIONS, prometheusName } from '../../../src/diagnostics/metrics/exposition.ts'
import { createBudget } from '../../../src/index.ts'
import { CountingFactory, eventually, scripted } from '../../support/factories.ts'
import { freePort } from '../../support/free-port.ts'
import { open } from '../../support/pools.ts'
import { rejection } from '../../support/rejection.ts'
import { dashboardQueries } from './dashboard.ts'

/*
 * A real Prometheus scrapes this process. `npm run test:prometheus` insists on it; otherwise a machine without one skips.
 */

const isThere = (program: string): boolean => spawnSync(program, ['--version']).error === undefined
const isWanted = process.env.LIFEGUARD_PROMETHEUS === 'required'
const skip =
  isWanted || (isThere('prometheus') && isThere('promtool'))
    ? false
    : 'no prometheus: apt-get install prometheus'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-prometheus-'))
after(() => rmSync(folder, { recursive: true, force: true }))

interface Result {
  readonly metric: Record<string, string>
  readonly value: [number, string]
}

async function scraping(target: string, token: string) {
  const config = join(folder, 'prometheus.yml')
  const port = await freePort()
  writeFileSync(
    config,
    `scrape_configs:
  - job_name: service
    scrape_interval: 200ms
    scrape_timeout: 200ms
    authorization: { credentials: ${token} }
    static_configs: [{ targets: ['${target}'] }]
`,
  )
  const child = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=error',
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  const query = async (promQl: string): Promise<Result[]> => {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(promQl)}`
    const response = await fetch(url)
    const { status, data, error } = (await response.json()) as {
      status: string
      data?: { result: Result[] }
      error?: string
    }
    assert.equal(status, 'success', `${promQl}: ${error}`)
    return data?.result ?? []
  }
  const stop = async (): Promise<void> => {
    child.kill()
    await once(child, 'exit')
  }
  return { query, stop }
}

test('a real Prometheus scrapes a pool, and answers with the right numbers', { skip }, async () => {
  const pool = open(new CountingFactory(), { name: 'orders', max: 3, acquireTimeoutMillis: 300 })
  await using server = await serveDiagnostics({ port: 0, token: 'scrape-me' })
  const prometheus = await scraping(new URL(server.address).host, 'scrape-me')
  const number = async (promQl: string): Promise<number> =>
    Number((await prometheus.query(promQl).catch(() => []))[0]?.value[1])
  try {
    const own = '{db_client_connection_pool_name="orders"}'
    for (let loan = 0; loan < 20; loan += 1) await pool.use(() => {})
    const held = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
    await Promise.all([1, 2].map(() => rejection(pool.acquire())))
    // Three queries with answers that are known.
    await eventually(async () => (await number(`db_client_connection_timeouts_total${own}`)) === 2, {
      within: 20_000,
    })
    const used = `sum by (db_client_connection_state) (db_client_connection_count${own})`
    assert.deepEqual(
      (await prometheus.query(used)).map(({ metric, value }) => [
        metric.db_client_connection_state,
        value[1],
      ]),
      [
        ['idle', '0'],
        ['used', '3'],
      ],
    )
    const fast = `sum(db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="orders",le="10"}) - sum(db_client_connection_wait_time_seconds_count${own})`
    assert.equal(await number(fast), 0)
    assert.equal(await number(`db_client_connection_wait_time_seconds_count${own}`), 23)
    for (const connection of held) await pool.release(connection)
    await eventually(async () => (await number(`db_client_connection_use_time_seconds_count${own}`)) === 23, {
      within: 10_000,
    })
    // Held for 300 ms and more: the other 20 as good as not.
    const quantile = `histogram_quantile(0.99, sum by (le) (rate(db_client_connection_use_time_seconds_bucket${own}[1m])))`
    await eventually(async () => (await number(quantile)) > 0.1, { within: 10_000 })
    // Everything that the dashboard asks is a query, and those that every pool can answer are answered.
    const { queries } = dashboardQueries()
    const asked = queries.map(query =>
      query.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:job|instance|pool)/g, '.*'),
    )
    const answers = await Promise.all(asked.map(query => prometheus.query(query)))
    const silent = asked.filter((_, index) => answers[index]?.length === 0)
    // No connection has been closed, and no create has failed.
    assert.deepEqual(
      silent.filter(query => !/closed_total|create_errors_total/.test(query)),
      [],
    )
  } finally {
    await prometheus.stop()
  }
})

test('promtool finds nothing wrong with any metric, but for one name that the conventions prescribe', {
  skip,
}, async () => {
  const factory = scripted()
  factory.onCreate.next({ rejects: new Error('refused') })
  const budget = createBudget({ max: 2 })
  const pool = open(factory, { name: 'linted', max: 2, serverIdleTimeoutMillis: 60_000, budget })
  await pool.use(() => {})
  await rejection(pool.use(() => Promise.reject(new Error('of the work'))))
  const text = metricsText()
  for (const { name } of DESCRIPTIONS) assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'))
  const told = await new Promise<string>(resolve => {
    const child = execFile('promtool', ['check', 'metrics'], (_, stdout, stderr) => resolve(stdout + stderr))
    child.stdin?.end(text)
  })
  // The conventions call it db.client.connection.count, and OpenTelemetry's exporters translate it so. Under another name
  // a dashboard could not serve both ways.
  assert.equal(
    told.trim(),
    'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix',
  )
  assert.equal(
    prometheusName({ name: 'db.client.connection.count', unit: '{connection}', kind: 'upDownCounter' }),
    'db_client_connection_count',
  )
})
