import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ValueType } from '@opentelemetry/api'
import { DataPointType, type Histogram, type MetricData, type ViewOptions } from '@opentelemetry/sdk-metrics'
import { instrumentAll, instrumentPool, poolMetricProducer } from '../../../src/adapters/otel/index.ts'
import { createPool, type Pool, type PoolStats, type TimesOf } from '../../../src/index.ts'
import { settle } from '../../support/clock.ts'
import { type Connection, CountingFactory } from '../../support/factories.ts'
import { packageRoot } from '../../support/package-root.ts'
import { open } from '../../support/pools.ts'
import { Chance } from '../../support/random.ts'
import { rejection } from '../../support/rejection.ts'
import { type Collected, realSdk } from './collecting.ts'

/** The pool metrics of the semantic conventions 1.44, as their model (model/db/metrics.yaml) has them. */
const MODEL: readonly [name: string, instrument: 'updowncounter' | 'counter' | 'histogram', unit: string][] =
  [
    ['db.client.connection.count', 'updowncounter', '{connection}'],
    ['db.client.connection.idle.max', 'updowncounter', '{connection}'],
    ['db.client.connection.idle.min', 'updowncounter', '{connection}'],
    ['db.client.connection.max', 'updowncounter', '{connection}'],
    ['db.client.connection.pending_requests', 'updowncounter', '{request}'],
    ['db.client.connection.timeouts', 'counter', '{timeout}'],
    ['db.client.connection.create_time', 'histogram', 's'],
    ['db.client.connection.wait_time', 'histogram', 's'],
    ['db.client.connection.use_time', 'histogram', 's'],
  ]
const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
const SCOPE = { name: 'lifeguard-pool', version, schemaUrl: 'https://opentelemetry.io/schemas/1.44.0' }
const POOL = 'db.client.connection.pool.name'

function instrumentOf(metric: MetricData): string {
  if (metric.dataPointType === DataPointType.HISTOGRAM) return 'histogram'
  if (metric.dataPointType === DataPointType.SUM) return metric.isMonotonic ? 'counter' : 'updowncounter'
  return 'gauge'
}

function instrumented(views: ViewOptions[]) {
  const sdk = realSdk({ views })
  return { collect: sdk.collect, stop: instrumentAll({ meterProvider: sdk.provider, spans: 'off' }) }
}

/** What all ways to OpenTelemetry must say alike. */
const WAYS = {
  'by instrumentAll': () => instrumented([]),
  // A view takes times one by one, whatever it does with them.
  'by instrumentAll with a view': () => instrumented([{ instrumentName: 'db.client.connection.*' }]),
  'by the metric producer': () => {
    const sdk = realSdk({ reader: { metricProducers: [poolMetricProducer()] } })
    return { collect: sdk.collect, stop: () => {} }
  },
}

for (const [way, start] of Object.entries(WAYS)) {
  test(`all nine pool metrics of the conventions have their names, instruments, units and attributes, ${way}`, async () => {
    const { collect, stop } = start()
    const pool = open(new CountingFactory(), { name: `nine ${way}`, max: 1, acquireTimeoutMillis: 20 })
    const held = await pool.acquire()
    await rejection(pool.acquire())
    await pool.release(held)
    const { metrics, scope } = await collect()
    assert.deepEqual(scope, SCOPE)
    for (const [name, instrument, unit] of MODEL) {
      const metric = metrics.get(name)
      assert.ok(metric, `${name} is missing`)
      assert.equal(instrumentOf(metric), instrument, name)
      assert.equal(metric.descriptor.unit, unit, name)
      assert.equal(metric.descriptor.valueType, unit === 's' ? ValueType.DOUBLE : ValueType.INT, name)
      const own = metric.dataPoints.filter(({ attributes }) => attributes[POOL] === pool.name)
      const states = own.map(({ attributes }) => attributes['db.client.connection.state'])
      assert.deepEqual(states, name.endsWith('.count') ? ['idle', 'used'] : [undefined], name)
      for (const { attributes } of own) {
        const names = name.endsWith('.count') ? [POOL, 'db.client.connection.state'] : [POOL]
        assert.deepEqual(Object.keys(attributes), names, name)
      }
    }
    const wait = metrics.get('db.client.connection.wait_time')?.dataPoints.at(-1)?.value as Histogram
    assert.deepEqual(wait.buckets.boundaries, [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10])
    for (const name of metrics.keys()) assert.match(name, /^(db\.client\.connection|lifeguard)\./)
    stop()
  })
}

/** A server that is away at times. */
class FailingFactory extends CountingFactory {
  isDown = false

  override async create(): Promise<Connection> {
    if (this.isDown) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    return super.create()
  }
}

function gaugesOf(stats: PoolStats): Record<string, number> {
  return {
    'db.client.connection.count idle': stats.idle,
    'db.client.connection.count used': stats.borrowed + stats.validating + stats.resetting,
    'db.client.connection.idle.max': stats.max,
    'db.client.connection.idle.min': stats.min,
    'db.client.connection.max': stats.max,
    'db.client.connection.pending_requests': stats.pending,
    'db.client.connection.timeouts': stats.totals.timeouts,
    'lifeguard.connections connecting': stats.connecting,
    'lifeguard.connections closing': stats.closing,
    'lifeguard.connections lent': stats.borrowed,
    'lifeguard.connections.used.peak': stats.peaks.borrowed,
    'lifeguard.pending_requests.peak': stats.peaks.pending,
    'lifeguard.aborted': stats.totals.aborted,
    'lifeguard.nested': stats.totals.nested,
    ...Object.fromEntries(
      Object.entries(stats.createErrorsBy).map(([type, count]) => [`lifeguard.create_errors ${type}`, count]),
    ),
    ...Object.fromEntries(
      Object.entries(stats.dirtyBy).map(([left, count]) => [`lifeguard.dirty ${left}`, count]),
    ),
    ...Object.fromEntries(
      Object.entries(stats.destroyedBy).map(([reason, count]) => [
        `lifeguard.connections.closed ${reason}`,
        count,
      ]),
    ),
  }
}

function compare({ points }: Collected, pool: Pool<Connection>, name: string, step: number): void {
  const stats = pool.stats()
  for (const [key, expected] of Object.entries(gaugesOf(stats))) {
    const [metric = '', split] = key.split(/ (.*)/)
    const found = points(metric).filter(
      ({ attributes }) =>
        attributes[POOL] === name && (split === undefined || Object.values(attributes).includes(split)),
    )
    assert.deepEqual(
      found.map(({ value }) => value),
      [expected],
      `${key} of ${name} after ${step} steps`,
    )
  }
  for (const what of ['wait', 'use', 'create'] as const) {
    const [point] = points<Histogram>(`db.client.connection.${what}_time`).filter(
      ({ attributes }) => attributes[POOL] === name,
    )
    sameTimes(point?.value, stats.times[what], `${what} of ${name} after ${step} steps`)
  }
}

function sameTimes(found: Histogram | undefined, expected: TimesOf, what: string): void {
  if (expected.count === 0) return
  assert.ok(found, what)
  assert.deepEqual(found.buckets.counts, expected.counts, what)
  assert.equal(found.count, expected.count, what)
  assert.ok(Math.abs((found.sum ?? 0) - expected.sumMillis / 1000) < 1e-6 * (1 + expected.sumMillis), what)
}

/** Twenty thousand have twenty outages, and two hundred of what is rarest beside. */
const STEPS = process.env.LIFEGUARD_LONG ? 100_000 : 20_000

for (const [way, start] of Object.entries(WAYS)) {
  test(`after ${STEPS} random steps, two pools of one name, outages, resize and close, nothing has drifted, ${way}`, async t => {
    const { collect, stop } = start()
    const chance = new Chance(Number(process.env.LIFEGUARD_SEED ?? Date.now() % 1e9))
    t.diagnostic(`seed ${chance.seed}: repeat with LIFEGUARD_SEED=${chance.seed}`)
    const options = { name: `twins ${way}`, max: 5, acquireTimeoutMillis: 60_000, maxWaitingClients: 20 }
    const factories = [new FailingFactory(), new FailingFactory()]
    const pools = factories.map(factory => createPool(factory, options))
    const names = [options.name, `${options.name}#2`]
    const held: Connection[][] = [[], []]
    const check = async (step: number): Promise<void> => {
      await settle()
      await settle()
      const collected = await collect()
      for (const [index, pool] of pools.entries()) compare(collected, pool, names[index] as string, step)
    }
    for (let step = 0; step < STEPS; step += 1) {
      const index = chance.below(2)
      const [pool, lent] = [pools[index] as Pool<Connection>, held[index] as Connection[]]
      const kind = chance.below(100)
      if (kind < 45) {
        const signal = kind < 5 ? AbortSignal.abort() : undefined
        pool.acquire(signal && { signal }).then(
          connection => lent.push(connection),
          () => {},
        )
      } else if (kind < 85) {
        const connection = lent.shift()
        if (connection !== undefined) void pool.release(connection)
      } else if (kind < 95) {
        const connection = lent.pop()
        if (connection !== undefined) void pool.destroy(connection)
      } else if (kind < 96) {
        const factory = factories[index] as FailingFactory
        if (chance.below(8) > 0) pool.purge()
        else factory.isDown = !factory.isDown
      } else if (kind < 98) pool.resize({ min: chance.below(3), max: 3 + chance.below(4) })
      else void pool.use(() => (kind === 98 ? settle() : Promise.reject(new Error()))).catch(() => {})
      if (step % 20 === 0) await settle()
      if (step % 1000 === 0) await check(step)
    }
    await check(STEPS)
    for (const [index, pool] of pools.entries()) {
      const closing = pool.close({ timeoutMillis: 10 }).catch(() => {})
      for (const connection of held[index] ?? []) void pool.release(connection).catch(() => {})
      await closing
    }
    await check(STEPS + 1)
    stop()
  })
}

test('a pool instrumented twice is counted once; what ends one instrumentation leaves the other', async () => {
  const { provider, collect } = realSdk()
  const options = { meterProvider: provider, spans: 'off' } as const
  const pool = open(new CountingFactory(), { name: 'twice' })
  const stops = [instrumentPool(pool, options), instrumentPool(pool, options)]
  await pool.use(() => {})
  const uses = async (): Promise<number | undefined> =>
    (await collect()).points<Histogram>('db.client.connection.use_time')[0]?.value.count
  assert.equal(await uses(), 1)
  stops[0]?.()
  await pool.use(() => {})
  assert.equal(await uses(), 2)
  stops[1]?.()
  await pool.use(() => {})
  // Not told any more, as the numbers are not.
  assert.equal(await uses(), undefined)
})

test('a provider that throws stops no pool, and the next is served', async () => {
  const { provider } = realSdk()
  const broken = {
    getMeter: (name: string) => {
      const meter = provider.getMeter(name)
      meter.createHistogram = () => ({
        record() {
          throw new Error('out of memory')
        },
      })
      return meter
    },
  }
  const pool = open(new CountingFactory(), { name: 'broken provider', max: 1 })
  const stop = instrumentPool(pool, { meterProvider: broken, spans: 'off' })
  for (let loan = 0; loan < 3; loan += 1) await pool.use(() => {})
  assert.equal(pool.borrowed, 0)
  stop()
})
