import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeSocket } from '../model/scripted-server.ts'
import { FakeClock } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

/*
 * When a stall of the event loop is said to be the cause, in the error of a timeout and in the report, and when not.
 */

interface Wired extends Connection {
  readonly socket: FakeSocket & { bytesRead: number; bytesWritten: number }
}

/** A pool on an injected clock, of which all connections are lent. */
async function full(options: PoolOptions, isSilent = false) {
  const clock = new FakeClock()
  const wire = () => Object.assign(new FakeSocket(), { bytesRead: 0, bytesWritten: 0 })
  const factory = Object.assign(new ScriptedFactory<Connection>(id => ({ id, socket: wire() }) as Wired), {
    socket: (connection: Connection) => (connection as Wired).socket as never,
    busy: () => (isSilent ? 'GET' : false),
  })
  const pool = openPool(factory, { name: 'test', max: 1, ...options }, false, { clock, random: () => 0.5 })
  const asked = pool.acquire()
  await clock.advance(10)
  await asked
  return { clock, pool, factory }
}

/** What the error and the report say of stalls of so many milliseconds in a wait of five seconds. */
async function blamed(
  stalls: readonly number[],
  { isSilent = false } = {},
): Promise<{ error: string; findings: string[] }> {
  const { clock, pool } = await full({ acquireTimeoutMillis: 5000 }, isSilent)
  const waiting = rejection(pool.acquire())
  let left = 4900
  for (const millis of stalls) {
    await clock.advance(50)
    await clock.stall(millis)
    left -= 50 + millis
  }
  await clock.advance(left)
  const { findings } = pool.reportJson()
  await clock.advance(400)
  return { error: (await waiting).message, findings }
}

test('a stall that is a trifle of the wait is not blamed for the timeout, nor in the report', async () => {
  for (const stalls of [[26], [100, 100], [300, 400]]) {
    const { error, findings } = await blamed(stalls)
    assert.doesNotMatch(error, /event loop/, `${stalls}`)
    assert.doesNotMatch(findings[0] ?? '', /event loop/, `${stalls}`)
    assert.ok(findings.every(finding => !/All else/.test(finding)))
  }
})

test('a stall of a fifth of the wait is blamed first, where nothing else explains it', async () => {
  const { error, findings } = await blamed([600, 600])
  assert.match(
    error,
    /pending=\d\)\. The event loop was blocked for 1200 ms of that: look for blocking code first\./,
  )
  assert.match(findings[0] ?? '', /^The event loop was blocked for 1200 ms of the last minute/)
})

test('where the server is silent as well, a stall of a fifth of the wait comes last, without blame', async () => {
  const { error, findings } = await blamed([600, 600], { isSilent: true })
  assert.match(error, /The server is silent.*was blocked for 1200 ms of the wait, too\.$/)
  assert.doesNotMatch(error, /blocking code/)
  assert.match(findings[0] ?? '', /The server is silent/)
  assert.match(findings.at(-1) ?? '', /was blocked for 1200 ms of the last minute.*does not explain/)
})

test('a stall of most of the wait comes first, though the server seems to be silent: its answers may lie unread', async () => {
  const { error, findings } = await blamed([1500, 1500], { isSilent: true })
  assert.match(
    error,
    /pending=\d\)\. The event loop was blocked for 3000 ms of that: look for blocking code first\./,
  )
  assert.match(findings[0] ?? '', /^The event loop was blocked for 3000 ms/)
})

test('a timeout while connecting names the last error before a stall, and the report a failing server', async () => {
  const clock = new FakeClock()
  const factory = new ScriptedFactory<Connection>(id => ({ id }))
  factory.onCreate.always({ rejects: new Error('refused') })
  const pool = openPool(factory, { max: 1, acquireTimeoutMillis: 2000 }, false, { clock, random: () => 0.5 })
  const waiting = rejection(pool.acquire())
  await clock.advance(500)
  await clock.stall(600)
  await clock.advance(800)
  const { findings } = pool.reportJson()
  await clock.advance(400)
  assert.match(
    (await waiting).message,
    /Last error while connecting: refused.*was blocked for 600 ms of the wait, too\.$/,
  )
  assert.match(findings[0] ?? '', /Connecting fails/)
  assert.match(findings.at(-1) ?? '', /was blocked/)
})

test('the error names a server that is silent to those who hold connections also where another is being made', async () => {
  const { clock, pool, factory } = await full({ max: 2, acquireTimeoutMillis: 3000 }, true)
  factory.onCreate.always('hangs')
  const waiting = rejection(pool.acquire())
  await clock.advance(3100)
  const { message, phase } = await waiting
  assert.equal(phase, 'connect')
  assert.match(message, /1 of the 1 lent connections wait for an answer, the longest \(GET on #1\)/)
})
