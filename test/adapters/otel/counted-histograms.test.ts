import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type MeterProvider, metrics } from '@opentelemetry/api'
import { AggregationTemporality, AggregationType, type Histogram } from '@opentelemetry/sdk-metrics'
import { instrumentAll, instrumentPool } from '../../../src/adapters/otel/index.ts'
import { openPool } from '../../../src/pool/create-pool.ts'
import { FakeClock } from '../../support/clock.ts'
import { CountingFactory, scripted } from '../../support/factories.ts'
import { open } from '../../support/pools.ts'
import { rejection } from '../../support/rejection.ts'
import { type Collected, realSdk, twoReaders } from './collecting.ts'

const USE = 'db.client.connection.use_time'
const POOL = 'db.client.connection.pool.name'

const usesOf = (collected: Collected, name: string): Histogram[] =>
  collected
    .points<Histogram>(USE)
    .filter(({ attributes }) => attributes[POOL] === name)
    .map(({ value }) => value)

function onClock(name: string) {
  const clock = new FakeClock()
  const pool = openPool(scripted(), { name, max: 1 }, false, { clock, random: () => 0 })
  const lend = async (millis: number): Promise<void> => {
    const connection = await pool.acquire()
    await clock.advance(millis)
    await pool.release(connection)
  }
  return { clock, pool, lend }
}

test('a loan costs the SDK nothing: its histograms are those that the pool counts, told of no time by itself', async () => {
  const { provider, collect } = realSdk()
  let made = 0
  const getMeter: MeterProvider['getMeter'] = (...args) => {
    const meter = provider.getMeter(...args)
    const { createHistogram } = meter
    meter.createHistogram = (...rest) => {
      made += 1
      return createHistogram.apply(meter, rest)
    }
    return meter
  }
  const { pool, lend } = onClock('counted')
  const stop = instrumentPool(pool, { meterProvider: { getMeter }, spans: 'off' })
  await lend(3)
  await lend(700)
  const [uses] = usesOf(await collect(), 'counted')
  assert.equal(made, 0)
  assert.deepEqual(uses?.buckets.counts, pool.stats().times.use.counts)
  assert.deepEqual([uses?.count, uses?.sum, uses?.max], [2, 0.703, 0.7])
  stop()
})

test('each reader has its own temporality: one counts on, the other is told what is new to it', async () => {
  const { provider, collect } = twoReaders(
    { aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE },
    { aggregationTemporalitySelector: () => AggregationTemporality.DELTA },
  )
  const [cumulative, delta] = collect as [() => Promise<Collected>, () => Promise<Collected>]
  const { pool, lend } = onClock('two readers')
  await lend(2)
  const stop = instrumentPool(pool, { meterProvider: provider, spans: 'off' })
  await lend(20)
  const sums = async (read: () => Promise<Collected>): Promise<number[]> =>
    usesOf(await read(), 'two readers').map(({ sum = 0 }) => Math.round(sum * 1000))
  assert.deepEqual([await sums(cumulative), await sums(delta)], [[22], [22]])
  await lend(300)
  assert.deepEqual([await sums(cumulative), await sums(cumulative), await sums(delta)], [[322], [322], [300]])
  assert.deepEqual(await sums(delta), [])
  await lend(1)
  await lend(40)
  const [last] = usesOf(await delta(), 'two readers')
  assert.deepEqual([last?.count, last?.buckets.counts], [2, [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]])
  stop()
})

test('intervals of a reader that is told what is new follow on each other without a gap', async () => {
  const { provider, collect } = realSdk({
    reader: { aggregationTemporalitySelector: () => AggregationTemporality.DELTA },
  })
  const { pool, lend } = onClock('intervals')
  const stop = instrumentPool(pool, { meterProvider: provider, spans: 'off' })
  const intervals: unknown[][] = []
  for (let round = 0; round < 3; round += 1) {
    await lend(1)
    const [point] = (await collect()).points<Histogram>(USE)
    intervals.push([point?.startTime, point?.endTime])
  }
  assert.deepEqual(intervals[1]?.[0], intervals[0]?.[1])
  assert.deepEqual(intervals[2]?.[0], intervals[1]?.[1])
  stop()
})

test('whoever asks the SDK for other buckets, attributes or another aggregation gets them', async () => {
  const sdks = {
    buckets: realSdk({
      views: [
        {
          instrumentName: USE,
          aggregation: {
            type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM,
            options: { boundaries: [0.002, 0.2] },
          },
        },
      ],
    }),
    exponential: realSdk({
      reader: {
        aggregationSelector: () => ({ type: AggregationType.EXPONENTIAL_HISTOGRAM }),
      },
    }),
    dropped: realSdk({ views: [{ instrumentName: USE, aggregation: { type: AggregationType.DROP } }] }),
  }
  for (const [name, { provider, collect }] of Object.entries(sdks)) {
    const { pool, lend } = onClock(name)
    const stop = instrumentPool(pool, { meterProvider: provider, spans: 'off' })
    await lend(1)
    await lend(100)
    const [uses] = usesOf(await collect(), name)
    if (name === 'buckets') assert.deepEqual(uses?.buckets, { boundaries: [0.002, 0.2], counts: [1, 1, 0] })
    else if (name === 'exponential') assert.ok(uses !== undefined && 'positive' in uses && uses.count === 2)
    else assert.equal(uses, undefined)
    stop()
  }
})

test('instrumented, not any more, and again, many times: no callback, no watcher and no metric is left over', async () => {
  const { provider, collect } = realSdk()
  const { pool, lend } = onClock('again')
  for (let round = 0; round < 50; round += 1) {
    const stops = [
      instrumentPool(pool, { meterProvider: provider }),
      instrumentAll({ meterProvider: provider }),
    ]
    await lend(1)
    assert.equal(usesOf(await collect(), 'again')[0]?.count, round + 1)
    for (const stop of stops) stop()
    // A second time does nothing.
    for (const stop of stops) stop()
    assert.deepEqual(usesOf(await collect(), 'again'), [])
  }
  const stop = instrumentAll({ meterProvider: provider })
  const collected = await collect()
  for (const [name, { dataPoints }] of collected.metrics) {
    const own = dataPoints.filter(({ attributes }) => attributes[POOL] === 'again')
    const told = new Set(own.map(({ attributes }) => JSON.stringify(attributes)))
    assert.equal(own.length, told.size, name)
  }
  stop()
})

test('an SDK that is started after everything else is found as soon as a pool or a connection is made', async () => {
  const { provider, collect } = realSdk()
  const early = open(new CountingFactory(), { name: 'early' })
  const stops = [instrumentAll({ spans: 'off' }), instrumentPool(early, { spans: 'off' })]
  const never = instrumentAll({ spans: 'off' })
  never()
  metrics.setGlobalMeterProvider(provider)
  try {
    await early.use(() => {})
    assert.equal(usesOf(await collect(), 'early')[0]?.count, 1)
    const late = open(new CountingFactory(), { name: 'late' })
    await late.use(() => {})
    assert.equal(usesOf(await collect(), 'late')[0]?.count, 1)
    for (const stop of stops) stop()
    assert.deepEqual(usesOf(await collect(), 'early'), [])
  } finally {
    metrics.disable()
  }
})

test('a pool whose stats fail takes no other pool’s metrics along', async () => {
  const { provider, collect } = realSdk()
  const [sick, well] = [onClock('sick'), onClock('well')]
  const stops = [sick, well].map(({ pool }) =>
    instrumentPool(pool, { meterProvider: provider, spans: 'off' }),
  )
  await sick.lend(1)
  await well.lend(1)
  sick.pool.stats = () => {
    throw new Error('broken')
  }
  const collected = await collect()
  assert.equal(usesOf(collected, 'well')[0]?.count, 1)
  assert.deepEqual(usesOf(collected, 'sick'), [])
  for (const stop of stops) stop()
})

test('a pool that is closed and made anew goes on under its name, and no series is there twice', async () => {
  const { provider, collect } = realSdk()
  const stop = instrumentAll({ meterProvider: provider, spans: 'off' })
  const name = 'reopened'
  const [first, twin] = [open(new CountingFactory(), { name }), open(new CountingFactory(), { name })]
  await first.use(() => {})
  const namesOf = async (): Promise<unknown[]> =>
    (await collect())
      .points('db.client.connection.max')
      .map(({ attributes }) => String(attributes[POOL]))
      .filter(each => each.startsWith(name))
  assert.deepEqual(await namesOf(), ['reopened', 'reopened#2'])
  await first.close()
  // Reported as it was in the end, until somebody else has its name.
  assert.deepEqual(await namesOf(), ['reopened', 'reopened#2'])
  const again = open(new CountingFactory(), { name, max: 7 })
  const points = (await collect()).points('db.client.connection.max')
  assert.equal(points.find(({ attributes }) => attributes[POOL] === name)?.value, 7)
  assert.deepEqual((await namesOf()).sort(), ['reopened', 'reopened#2'])
  await twin.close()
  await again.close()
  assert.equal((await rejection(first.acquire())).code, 'POOL_CLOSED')
  stop()
})
