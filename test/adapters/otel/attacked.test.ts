import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { afterEach, test } from 'node:test'
import { promisify } from 'node:util'
import { context, trace } from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import { instrumentAll, instrumentPool } from '../../../src/adapters/otel/index.ts'
import { metricsText } from '../../../src/adapters/prometheus/index.ts'
import { createPool } from '../../../src/index.ts'
import { CountingFactory } from '../../support/factories.ts'
import { packageRoot } from '../../support/package-root.ts'
import { open } from '../../support/pools.ts'
import { rejection } from '../../support/rejection.ts'
import { realSdk } from './collecting.ts'

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
provider.register()
const tracer = trace.getTracer('service')

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
  exporter.reset()
})

async function inRequest<R>(name: string, run: () => Promise<R>): Promise<R> {
  const span = tracer.startSpan(name)
  try {
    return await context.with(trace.setSpan(context.active(), span), run)
  } finally {
    span.end()
  }
}

/** The acquire spans so far: under which request, and how they ended. */
function acquires(): (string | undefined)[][] {
  const spans = exporter.getFinishedSpans()
  const nameOf = (id: string | undefined): string | undefined =>
    spans.find(span => span.spanContext().spanId === id)?.name
  return spans
    .filter(({ name }) => name === 'lifeguard-pool.acquire')
    .map(({ parentSpanContext, attributes }) => [
      nameOf(parentSpanContext?.spanId),
      String(attributes['lifeguard.call']),
      ...(attributes['error.type'] === undefined ? [] : [String(attributes['error.type'])]),
    ])
}

test('use, lease and acquire, nested, aborted or too late: each has one span, under the request that called it', async () => {
  const before = open(new CountingFactory(), { name: 'before', max: 2, acquireTimeoutMillis: 50 })
  stops.push(instrumentAll({ spans: 'all', metrics: false }))
  const after = open(new CountingFactory(), { name: 'after', max: 1, acquireTimeoutMillis: 50 })
  await inRequest('nested', () => before.use(() => after.use(() => before.use(() => {}))))
  await inRequest('lease', async () => {
    await using lease = await before.lease()
    assert.ok(lease.resource)
  })
  const held = await after.acquire()
  const leaving = new AbortController()
  const aborted = inRequest('aborted', () => rejection(after.acquire({ signal: leaving.signal })))
  const late = inRequest('late', () => rejection(after.use(() => {})))
  leaving.abort()
  await Promise.all([aborted, late])
  const mixed = inRequest('waiting', async () => after.release(await after.acquire()))
  await inRequest('giving back', () => after.release(held))
  await mixed
  assert.deepEqual(acquires(), [
    ['nested', 'use'],
    ['nested', 'use'],
    ['nested', 'use'],
    ['lease', 'lease'],
    ['aborted', 'acquire', 'POOL_ABORTED'],
    ['late', 'use', 'POOL_ACQUIRE_TIMEOUT'],
    ['waiting', 'acquire'],
  ])
})

test('instrumented twice for spans, an acquire has one; not any more, it has none', async () => {
  const pool = open(new CountingFactory(), { name: 'spans twice' })
  const both = [
    instrumentPool(pool, { spans: 'all', metrics: false }),
    instrumentAll({ spans: 'all', metrics: false }),
  ]
  await inRequest('one', () => pool.use(() => {}))
  assert.equal(acquires().length, 1)
  both[0]?.()
  await inRequest('two', () => pool.use(() => {}))
  assert.equal(acquires().length, 2)
  both[1]?.()
  await inRequest('three', () => pool.use(() => {}))
  assert.equal(acquires().length, 2)
})

test('two copies of this package in one process report each pool once', async () => {
  const code = `
    const Module = require('node:module')
    const { MeterProvider, MetricReader } = require('@opentelemetry/sdk-metrics')
    const { createPool } = require('lifeguard-pool')
    const one = require('lifeguard-pool/otel')
    for (const file of Object.keys(require.cache)) if (/lifeguard|dist/.test(file) && !/node_modules/.test(file)) delete require.cache[file]
    const two = require('lifeguard-pool/otel')
    if (one === two) throw new Error('not two copies')
    class Reader extends MetricReader { async onShutdown() {} async onForceFlush() {} }
    const reader = new Reader()
    const meterProvider = new MeterProvider({ readers: [reader] })
    const stops = [one, two].map(({ instrumentAll }) => instrumentAll({ meterProvider, spans: 'off' }))
    const pool = createPool({ create: async () => ({}), destroy() {} }, { name: 'shared' })
    pool.use(() => {}).then(async () => {
      const tell = async () => {
        const { resourceMetrics } = await reader.collect()
        const all = resourceMetrics.scopeMetrics.flatMap(scope => scope.metrics).filter(each => each.descriptor.name.endsWith('use_time'))
        console.log(JSON.stringify(all.flatMap(each => each.dataPoints.map(({ value }) => value.count))))
      }
      await tell()
      stops[0]()
      await tell()
      stops[1]()
      await tell()
      await pool.close()
    })`
  const flags = ['--no-warnings', '--input-type=commonjs', '-e', code]
  const { stdout } = await promisify(execFile)(process.execPath, flags, {
    cwd: packageRoot(),
    timeout: 20_000,
  })
  assert.deepEqual(stdout.trim().split('\n'), ['[1]', '[1]', '[]'])
})

test('a tracer that throws ends neither the acquire nor the process, and is reported once', async () => {
  const broken = {
    getTracer: () => ({
      startSpan: () => {
        throw new Error('exporter is full')
      },
    }),
  }
  const warnings: string[] = []
  const note = ({ message }: Error): void => void warnings.push(message)
  process.on('warning', note)
  const pool = open(new CountingFactory(), { name: 'broken tracer', max: 1 })
  stops.push(instrumentPool(pool, { tracerProvider: broken as never, spans: 'all', metrics: false }))
  for (let loan = 0; loan < 3; loan += 1)
    assert.equal(await inRequest('request', () => pool.use(() => loan)), loan)
  await new Promise(setImmediate)
  process.off('warning', note)
  assert.deepEqual(warnings, ["OpenTelemetry's provider failed, and spans are missing: exporter is full"])
})

test('a thousand pools, half of one name, are read without reading any of them again and again', async () => {
  let reads = 0
  const pools = Array.from({ length: 1000 }, (_, index) => {
    const pool = createPool(new CountingFactory(), { name: index % 2 === 0 ? 'same' : `own ${index}` })
    const { stats } = pool
    pool.stats = () => {
      reads += 1
      return stats.call(pool)
    }
    return pool
  })
  const { provider: meterProvider, collect } = realSdk()
  stops.push(instrumentAll({ meterProvider, spans: 'off' }))
  const collected = await collect()
  const names = collected
    .points('db.client.connection.max')
    .map(({ attributes }) => String(attributes['db.client.connection.pool.name']))
    .filter(name => /^(?:same|own)/.test(name))
  assert.equal(new Set(names).size, 1000)
  assert.equal(names.length, 1000)
  assert.ok(reads <= 2 * pools.length, `${reads} reads`)
  reads = 0
  const text = metricsText(pools as never)
  assert.equal(text.match(/^db_client_connection_max\{/gm)?.length, 1000)
  assert.equal(reads, pools.length)
})
