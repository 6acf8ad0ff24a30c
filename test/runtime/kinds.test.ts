import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { metricsText } from '../../src/adapters/prometheus/index.ts'
import { errorTypeOf, Kinds } from '../../src/runtime/kinds.ts'
import { scripted } from '../support/factories.ts'
import { open } from '../support/pools.ts'
import { withRedis } from '../support/redis.ts'
import { rejection } from '../support/rejection.ts'

const redis = await withRedis()
after(() => redis.stop())

const linesOf = (name: string, pool: object): string[] =>
  metricsText([pool as never])
    .split('\n')
    .filter(line => line.startsWith(`${name}{`))
    .map(line => line.replace(/db_client_connection_pool_name="[^"]*",?/, ''))
    .sort()

test('failed creates are counted by the code of their error, or its name, whatever was thrown', async () => {
  const factory = scripted()
  const pool = open(factory, { name: 'kinds', max: 1, acquireTimeoutMillis: 3000 })
  const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:6379'), { code: 'ECONNREFUSED' })
  factory.onCreate.next(
    { rejects: refused },
    { rejects: refused },
    { rejects: new RangeError('of the driver') },
    { rejects: 'a text that differs each time' as never },
    'ok',
  )
  await pool.use(() => {})
  assert.deepEqual(pool.stats().createErrorsBy, { ECONNREFUSED: 2, RangeError: 1, _OTHER: 1 })
  assert.deepEqual(linesOf('lifeguard_create_errors_total', pool), [
    'lifeguard_create_errors_total{error_type="ECONNREFUSED"} 2',
    'lifeguard_create_errors_total{error_type="RangeError"} 1',
    'lifeguard_create_errors_total{error_type="_OTHER"} 1',
  ])
})

test('the type of an error is a name and never a text, and reading it never throws', () => {
  const hostile = new Proxy(new Error(), {
    get() {
      throw new Error('not yours')
    },
  })
  const named = (name: unknown, code?: unknown): Error => Object.assign(new Error(), { name, code })
  assert.deepEqual(
    [
      ...[undefined, null, 7, 'ECONNREFUSED', {}, hostile, named('two words')],
      ...[named('DriverError', 1045), named('x', 'a\nb'), named('x'.repeat(90)), named('Y', 'ERR_TLS.X')],
    ].map(errorTypeOf),
    [
      ...['_OTHER', '_OTHER', '_OTHER', '_OTHER', '_OTHER', '_OTHER', '_OTHER'],
      ...['DriverError', 'x', '_OTHER', 'ERR_TLS.X'],
    ],
  )
})

test('an endless variety of errors makes no endless list of series', () => {
  const kinds = new Kinds()
  for (let index = 0; index < 1000; index += 1) kinds.count(`E${index % 500}`)
  kinds.count('__proto__')
  const counts = kinds.read()
  assert.ok(Object.keys(counts).length <= 31)
  assert.equal(counts.E3, 2)
  assert.equal(
    Object.values(counts).reduce((sum, each) => sum + each, 0),
    1001,
  )
})

test('what made a connection dirty is counted in few words, and the sum is that of the dirty ones', async () => {
  let isBusy = false
  const factory = Object.assign(scripted('reset'), { busy: () => isBusy })
  const pool = open(factory, { name: 'soiled', max: 1 })
  factory.onReset.next({ rejects: new Error('17 rows left') })
  await pool.use(() => {})
  isBusy = true
  await pool.use(() => {})
  const plain = open(scripted(), { name: 'unvouched', max: 1 })
  await rejection(
    plain.use(() => {
      throw new Error('of the work')
    }),
  )
  assert.deepEqual(pool.stats().dirtyBy, { 'failed reset': 1, unanswered: 1 })
  assert.equal(pool.stats().destroyedBy.dirty, 2)
  assert.deepEqual(linesOf('lifeguard_dirty_total', plain), [
    'lifeguard_dirty_total{lifeguard_left="failed use"} 1',
  ])
})

test('what was left on a Redis connection is counted by the command that left it', {
  skip: redis.skip,
}, async () => {
  const pool = createRedisPool(redis.url, { name: 'left', max: 1 })
  await pool.use(async client => void (await client.call('MULTI')))
  await pool.use(async client => void (await client.subscribe('news')))
  await pool.use(client => {
    client.blpop('never', 0).catch(() => {})
  })
  assert.deepEqual(pool.stats().dirtyBy, { MULTI: 1, SUBSCRIBE: 1, unanswered: 1 })
  await pool.close()
})
