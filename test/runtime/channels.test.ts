import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { tracingChannel } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { GRACE, World } from '../nested/pools-on-one-clock.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { scripted } from '../support/factories.ts'
import { packageRoot } from '../support/package-root.ts'
import { open } from '../support/pools.ts'
import { rejection } from '../support/rejection.ts'
import { heard, type Message, partsOf, traced } from './listening.ts'

const SERVED = ['start', 'end', 'asyncStart', 'asyncEnd']
const FAILED = ['start', 'end', 'error', 'asyncStart', 'asyncEnd']

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = scripted('validate')
  const server = { system: 'redis', address: 'cache.internal', port: 6379, database: '2' }
  const pool = openPool(Object.assign(factory, { server }), { name: 'p', ...options }, false, {
    clock,
    random: () => 0,
  })
  return { clock, factory, pool }
}

test('every way to acquire is traced, and its end is told before the caller goes on', async () => {
  const { clock, pool } = poolOf({ max: 1 })
  await pool.release(await pool.acquire())
  const told = traced('acquire')
  const seen: number[] = []
  await pool.acquire().then(connection => {
    seen.push(told.length)
    return pool.release(connection)
  })
  await pool.use(() => seen.push(told.length))
  const lease = await pool.lease()
  seen.push(told.length)
  const waiting = pool.acquire(0)
  await clock.advance(70)
  lease.release()
  await pool.release(await waiting)
  seen.push(told.length)
  assert.deepEqual(seen, [4, 8, 12, 16])
  assert.deepEqual(partsOf(told), [...SERVED, ...SERVED, ...SERVED, ...SERVED])
  const messages = [0, 4, 8, 12].map(at => told[at]?.[1])
  // One object for all messages of an operation.
  for (const [index, [, message]] of told.entries()) assert.equal(message, messages[Math.floor(index / 4)])
  assert.deepEqual(
    messages.map(message => [message?.call, message?.waitedMillis, message?.connection, message?.loan]),
    [
      ['acquire', 0, 1, 2],
      ['use', 0, 1, 3],
      ['lease', 0, 1, 4],
      ['acquire', 70, 1, 5],
    ],
  )
  const { pool: name, instance, system, serverAddress, serverPort, database } = messages[0] as Message
  assert.deepEqual(
    [name, system, serverAddress, serverPort, database],
    ['p', 'redis', 'cache.internal', 6379, '2'],
  )
  assert.equal(instance, pool)
})

test('an acquire that fails, at once or later, is told with its error', async () => {
  const { clock, pool } = poolOf({ max: 1, maxWaitingClients: 1, acquireTimeoutMillis: 1000 })
  const held = await pool.acquire()
  const told = traced('acquire')
  const late = rejection(pool.acquire())
  const full = await rejection(pool.acquire())
  const wrong = await rejection(pool.use(() => {}, { timeoutMillis: -1 }))
  const aborted = await rejection(pool.lease({ signal: AbortSignal.abort() }))
  await clock.advance(1000)
  const timeout = await late
  await pool.release(held)
  await pool.close()
  const closed = await rejection(pool.acquire())
  await settle()
  const errors = [full, wrong, aborted, timeout, closed]
  assert.deepEqual(
    told.filter(([part]) => part === 'error').map(([, message]) => message.error),
    errors,
  )
  assert.deepEqual(
    errors.map(error => error.code),
    ['POOL_QUEUE_FULL', 'POOL_BAD_OPTIONS', 'POOL_ABORTED', 'POOL_ACQUIRE_TIMEOUT', 'POOL_CLOSED'],
  )
  for (const { error, waitedMillis } of told
    .filter(([part]) => part === 'error')
    .map(([, message]) => message))
    assert.equal(waitedMillis, error === timeout ? 1000 : 0)
  for (const error of errors) {
    const parts = partsOf(told.filter(([, message]) => message.error === error))
    assert.deepEqual(parts, FAILED)
  }
})

test('nothing is built while nobody subscribes, and again when the last has left', async () => {
  let reads = 0
  const factory = {
    create: async () => ({}),
    destroy: async () => {},
    get server() {
      reads += 1
      return { system: 'x' }
    },
  }
  const pool = open(factory, { max: 1 })
  const before = reads
  await pool.use(() => {})
  const channel = tracingChannel('lifeguard-pool:acquire')
  const handlers = { asyncEnd: () => {} } as unknown as Parameters<typeof channel.subscribe>[0]
  assert.equal(reads, before)
  channel.subscribe(handlers)
  await pool.use(() => {})
  channel.unsubscribe(handlers)
  assert.equal(reads, before + 1)
  await pool.use(() => {})
  assert.equal(reads, before + 1)
})

test('a subscriber that calls the pool from inside harms nobody', async () => {
  const { factory, pool } = poolOf({ max: 2 })
  let calls = 0
  traced('acquire', part => {
    calls += 1
    if (calls > 20) return
    void pool.use(() => {})
    if (part === 'asyncEnd') pool.purge('from a subscriber')
    pool.report()
  })
  heard('release')
  await Promise.all([1, 2, 3, 4].map(() => pool.use(() => settle())))
  await settle()
  assert.equal(pool.borrowed, 0)
  assert.equal(pool.pending, 0)
  assert.equal(factory.ledger.open.size, pool.size)
})

test("the end of an acquire is told in its caller's context, whoever gave the connection back", async () => {
  const { clock, pool } = poolOf({ max: 1 })
  const request = new AsyncLocalStorage<string>()
  const held = await request.run('holder', () => pool.acquire())
  const contexts: unknown[] = []
  traced('acquire', part => contexts.push([part, request.getStore()]))
  const waiting = request.run('waiter', () => pool.acquire())
  await clock.advance(5)
  await request.run('holder', () => pool.release(held))
  assert.equal(await request.run('other', () => waiting), held)
  assert.deepEqual(
    contexts,
    SERVED.map(part => [part, 'waiter']),
  )
})

test('a deadlock is proved with both stacks while acquires are traced', async () => {
  traced('acquire')
  traced('use')
  const broken = heard('deadlock')
  const world = new World()
  const pool = world.pool({ name: 'only' })
  async function task(): Promise<void> {
    const first = await pool.acquire()
    try {
      await pool.release(await pool.acquire())
    } finally {
      await pool.release(first)
    }
  }
  const plain = rejection(task())
  await world.clock.advance(40 * GRACE)
  const error = await plain
  assert.equal(error.code, 'POOL_DEADLOCK')
  assert.match(error.heldStacks?.[0] ?? '', /^ {4}at task \(/)
  assert.match(error.waitStack ?? '', /^ {4}at task \(/)
  assert.equal(broken[0]?.error, error)
  assert.equal(broken[0]?.instance, pool)
})

test('an acquire that fails and that nobody awaits is still an unhandled rejection while it is traced', async () => {
  const code = `
    const { tracingChannel } = require('node:diagnostics_channel')
    const { createPool } = require('lifeguard-pool')
    tracingChannel('lifeguard-pool:acquire').subscribe({ start() {}, end() {}, asyncStart() {}, asyncEnd() {}, error() {} })
    process.on('unhandledRejection', error => console.log(error.code))
    const pool = createPool({ create: async () => ({}), destroy() {} }, { acquireTimeoutMillis: 50 })
    pool.acquire().then(() => { void pool.acquire(); void pool.acquire({ timeoutMillis: -1 }) })`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=commonjs', '-e', code], {
    cwd: packageRoot(),
    timeout: 60_000,
  })
  assert.deepEqual(stdout.trim().split('\n'), ['POOL_BAD_OPTIONS', 'POOL_ACQUIRE_TIMEOUT'])
})

test('the function of use runs in what a subscriber binds to it; its failure is told, thrown or rejected', async () => {
  const { pool } = poolOf({ max: 1 })
  const spans = new AsyncLocalStorage<Message>()
  const { start } = tracingChannel<Message, Message>('lifeguard-pool:use')
  start.bindStore(spans, message => message)
  const told = traced('use')
  const inside = await pool.use(async () => {
    await settle()
    return spans.getStore()
  })
  assert.equal(inside, told[0]?.[1])
  assert.equal(spans.getStore(), undefined)
  const error = new Error('of the work')
  for (const fail of [
    () => {
      throw error
    },
    () => Promise.reject(error),
  ])
    assert.equal(await rejection(pool.use(fail)), error)
  start.unbindStore(spans)
  assert.deepEqual(partsOf(told), [...SERVED, ...FAILED, ...FAILED])
  assert.equal(told.at(-1)?.[1].error, error)
})

test('a create is traced to its end, also one that its deadline ends', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, createTimeoutMillis: 100, acquireTimeoutMillis: 5000 })
  const told = traced('create')
  factory.onCreate.next('hangs', { rejects: new Error('refused') }, 'held')
  const served = pool.acquire()
  await clock.advance(100)
  while (factory.onCreate.calls < 3) await clock.advance(10)
  const call = await factory.onCreate.call()
  await clock.advance(30)
  call.ok()
  await pool.release(await served)
  assert.deepEqual(partsOf(told), [...FAILED, ...FAILED, ...SERVED])
  const errors = told
    .filter(([part]) => part === 'error')
    .map(([, { error }]) => String((error as Error).message))
  assert.match(errors[0] ?? '', /100 ms/)
  assert.equal(errors[1], 'refused')
  const ends = told.filter(([part]) => part === 'asyncEnd').map(([, message]) => message)
  assert.equal(ends[0]?.millis, 100)
  assert.deepEqual(
    ends.map(({ connection }) => connection),
    [1, 2, 3],
  )
})

test('a validation is traced: an unusable connection is a result, a failure an error', async () => {
  const { factory, pool } = poolOf({ max: 1, testOnBorrow: true })
  const told = traced('validate')
  factory.onValidate.next('ok', { gives: false }, 'ok', { rejects: new Error('lost') })
  for (let loan = 0; loan < 3; loan += 1) await pool.release(await pool.acquire())
  const ends = told.filter(([part]) => part === 'asyncEnd').map(([, { valid, error }]) => [valid, error])
  assert.deepEqual(
    ends.map(([valid]) => valid),
    [true, false, true, false, true],
  )
  assert.match(String(ends[3]?.[1]), /lost/)
})

test('facts are told on plain channels, with the pool itself, as two pools may share a name', async () => {
  const told = Object.fromEntries(
    ['release', 'destroy', 'shed', 'breaker', 'leak', 'stall'].map(name => [name, heard(name)]),
  )
  const one = poolOf({ max: 1, leakThresholdMillis: 100 })
  const two = poolOf({ max: 1, earlyRefusal: true })
  const held = await one.pool.acquire()
  await one.clock.advance(400)
  await one.clock.stall(300)
  await one.pool.destroy(held)
  await two.pool.use(() => {})
  await settle()
  assert.deepEqual(
    told.release?.map(message => message.instance),
    [one.pool, two.pool],
  )
  assert.equal(told.destroy?.[0]?.reason, 'user')
  assert.equal(told.destroy?.[0]?.serverAddress, 'cache.internal')
  assert.equal(told.leak?.[0]?.connection, 1)
  assert.equal(told.stall?.[0]?.pool, 'p')
})
