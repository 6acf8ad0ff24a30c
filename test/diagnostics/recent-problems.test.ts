import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { scripted } from '../support/factories.ts'
import { packageRoot } from '../support/package-root.ts'
import { makePipe } from '../support/pipe.ts'
import { rejection } from '../support/rejection.ts'

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const factory = scripted('validate')
  const pool = openPool(factory, { name: 'p', ...options }, false, { clock, random: () => 0 })
  return { clock, factory, pool }
}

test('a pool that has recovered still says what went wrong in the last minutes, and how long ago', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, leakThresholdMillis: 1000 })
  factory.onCreate.next({ rejects: new Error('connect ECONNREFUSED') })
  const taking = pool.acquire()
  await clock.advance(500)
  const held = await taking
  const late = rejection(pool.acquire({ timeoutMillis: 100 }))
  await clock.advance(150)
  await late
  await clock.advance(1500)
  await clock.stall(700)
  await pool.release(held)
  await clock.advance(180_000)
  const text = pool.report()
  for (const part of [
    /: the event loop was blocked for 700 ms/,
    /180 s ago: the event loop/,
    /1\d\d s ago: an acquire timed out/,
    /1\d\d s ago: connecting failed: connect ECONNREFUSED/,
    /1\d\d s ago: a lease looked forgotten, taken at .*recent-problems\.test\.js/,
  ]) {
    assert.match(text, part)
  }
})

test('a flood of one kind of trouble does not wash the others out of the report', async () => {
  const { clock, factory, pool } = poolOf({ max: 1, acquireTimeoutMillis: 60_000 })
  const held = await pool.acquire()
  const late = rejection(pool.acquire({ timeoutMillis: 10 }))
  await clock.advance(20)
  await late
  await pool.destroy(held)
  let port = 0
  pool.on('factoryCreateError', () => {
    port += 1
    factory.onCreate.next({ rejects: new Error(`connect ECONNREFUSED from port ${port}`) })
  })
  factory.onCreate.next({ rejects: new Error('connect ECONNREFUSED from port 0') })
  void pool.acquire().catch(() => {})
  await clock.advance(20_000)
  assert.ok(port > 10, `${port}`)
  const { troubles } = pool.reportJson()
  assert.ok(troubles.some(({ what }) => what === 'an acquire timed out'))
  assert.ok(troubles.filter(({ what }) => what.startsWith('connecting failed')).length <= 4)
})

test('what happened once, long ago, is not added to what happens now', async () => {
  const { clock, pool } = poolOf({ max: 1, acquireTimeoutMillis: 10 })
  await pool.acquire()
  for (let round = 0; round < 3; round += 1) {
    const late = rejection(pool.acquire())
    await clock.advance(20)
    await late
  }
  const times = (): number | undefined => pool.reportJson().troubles[0]?.times
  assert.equal(times(), 3)
  await clock.advance(3_600_000)
  const late = rejection(pool.acquire())
  await clock.advance(20)
  await late
  assert.equal(times(), 1)
})

test('log lines that nobody read are told by the report and the stats, with their number', {
  skip: process.platform === 'linux' ? false : 'needs the pipes of Linux',
}, async () => {
  const pipe = makePipe()
  try {
    const code = `
      import { createPool } from 'lifeguard-pool'
      const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { name: 'seen' })
      for (let count = 0; count < 20000; count += 1) await pool.use(() => {})
      console.log(JSON.stringify({ text: pool.report(), log: pool.stats().log }))`
    const { stdout } = await promisify(execFile)(
      'sh',
      [
        '-c',
        `exec "$0" --input-type=module -e "$1" 2>/proc/${process.pid}/fd/${pipe.fd}`,
        process.execPath,
        code,
      ],
      { cwd: packageRoot(), env: { ...process.env, DEBUG: 'lifeguard-pool:*' }, timeout: 60_000 },
    )
    const { text, log } = JSON.parse(stdout) as {
      text: string
      log: { written: number; dropped: number; waiting: number }
    }
    assert.ok(log.dropped > 10_000 && log.written > 0 && log.waiting > 0, JSON.stringify(log))
    assert.match(
      text.replaceAll(/\s+/g, ' '),
      new RegExp(`${log.dropped} lines of the library's own log have been`),
    )
  } finally {
    pipe.close()
  }
})
