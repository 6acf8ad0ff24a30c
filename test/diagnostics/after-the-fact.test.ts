// What the report says of things that are over, or that hurt nobody yet.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { runInThisContext } from 'node:vm'
import type { PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeSocket } from '../model/scripted-server.ts'
import { FakeClock } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

interface Wired extends Connection {
  readonly socket: FakeSocket & { bytesRead: number; bytesWritten: number }
  command: string | boolean
}

function poolOf(options: PoolOptions) {
  const clock = new FakeClock()
  const wire = () => Object.assign(new FakeSocket(), { bytesRead: 0, bytesWritten: 0 })
  const make = (id: number): Wired => ({ id, socket: wire(), command: false })
  const factory = Object.assign(new ScriptedFactory<Connection>(make), {
    socket: (connection: Connection) => (connection as Wired).socket as never,
    busy: (connection: Connection) => (connection as Wired).command,
  })
  const pool = openPool(factory, { name: 'p', ...options }, false, { clock, random: () => 0.5 })
  const lend = async (count: number, command: string | boolean = false): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      const asked = pool.acquire()
      await clock.advance(20)
      const connection = (await asked) as Wired
      connection.command = command
    }
  }
  const findings = (): string => pool.reportJson().findings.join('\n')
  return { clock, pool, lend, findings }
}

describe('deadlocks that were broken', () => {
  async function outer(pool: ReturnType<typeof poolOf>['pool']): Promise<unknown> {
    return await pool.use(async () => await inner(pool))
  }
  async function inner(pool: ReturnType<typeof poolOf>['pool']): Promise<unknown> {
    return await pool.use(async () => 1)
  }

  test('are told with both call sites and how often, when all has been well again for long', async () => {
    const { clock, pool, findings } = poolOf({ max: 1 })
    for (let time = 0; time < 3; time += 1) {
      const knot = rejection(outer(pool))
      await clock.advance(1000)
      assert.equal((await knot).code, 'POOL_DEADLOCK')
    }
    await clock.advance(3_600_000)
    const { deadlocks } = pool.reportJson()
    assert.equal(deadlocks.length, 1)
    assert.equal(deadlocks[0]?.times, 3)
    assert.match(deadlocks[0]?.askedAt ?? '', /^at (?:async )?inner \(.*after-the-fact\.test\.js/)
    assert.match(deadlocks[0]?.heldAt.join() ?? '', /^at (?:async )?outer \(.*after-the-fact\.test\.js/)
    assert.match(
      findings(),
      /3 deadlocks have been broken so far, .*: 3 times, an acquire at (?:async )?inner .* waited for pool 'p' while its caller held what was taken at (?:async )?outer /,
    )
    assert.match(pool.report(), /, 3 times: a deadlock was broken: an acquire at/)
  })

  test('are counted though no stacks may be shown', async () => {
    const { clock, pool, findings } = poolOf({ max: 1, captureStacks: 'off' })
    const knot = rejection(outer(pool))
    await clock.advance(1000)
    await knot
    assert.match(findings(), /1 deadlock has been broken so far/)
    assert.doesNotMatch(pool.report(), /after-the-fact/)
  })

  test('at ever new call sites fill no memory', async () => {
    const { clock, pool } = poolOf({ max: 1 })
    for (let time = 0; time < 20; time += 1) {
      const code = 'pool => pool.use(async () => await pool.use(() => 1))'
      const ask = runInThisContext(code, { filename: `/app/site-${time}.js` })
      const knot = rejection(ask(pool))
      await clock.advance(1000)
      await knot
    }
    const { deadlocks, stats } = pool.reportJson()
    assert.equal(deadlocks.length, 8)
    assert.equal(stats.totals.deadlocks, 20)
  })
})

describe('leases that are held for long', () => {
  test('are told in one line while nobody waits for them', async () => {
    const { clock, pool, lend, findings } = poolOf({ max: 5 })
    await lend(3)
    await clock.advance(9000)
    assert.doesNotMatch(findings(), /held for more than/)
    await clock.advance(2000)
    await lend(1)
    const told = pool.reportJson().findings.filter(one => one.includes('held for more than'))
    assert.equal(told.length, 1)
    assert.match(told[0] ?? '', /^3 of 4 leases have been held for more than 10 s: #1 for 1\d{4} ms at \S+/)
  })

  test('are told once only, where they are told as forgotten, or as the holders of a full pool', async () => {
    const { clock, lend, findings } = poolOf({ max: 2, leakThresholdMillis: 5000 })
    await lend(2)
    await clock.advance(20_000)
    assert.match(findings(), /2 of 2 leases look forgotten/)
    assert.doesNotMatch(findings(), /held for more than/)
    const full = poolOf({ max: 1, acquireTimeoutMillis: 60_000 })
    await full.lend(1)
    const waiting = full.pool.acquire({ detached: true }).catch(() => {})
    await full.clock.advance(20_000)
    assert.match(full.findings(), /Longest held: #1 for/)
    assert.doesNotMatch(full.findings(), /held for more than/)
    await full.clock.advance(50_000)
    await waiting
  })
})

describe('a silent server', () => {
  test('is named with what waits for it and since when, and nobody is told to raise max', async () => {
    const { clock, pool, lend, findings } = poolOf({ max: 3, acquireTimeoutMillis: 3000 })
    await lend(3, 'GET')
    const waiting = rejection(pool.acquire({ detached: true }))
    await clock.advance(2500)
    assert.match(
      findings(),
      /The server is silent: 3 of the 3 lent connections wait for an answer, the longest \(GET on #1\) for 25\d\d ms without a byte, each of them for at least 2[45]\d\d ms/,
    )
    await clock.advance(600)
    const { message } = await waiting
    assert.match(message, /The server is silent: 3 of the 3/)
    assert.match(message, /Check the server and the network/)
    assert.doesNotMatch(message, /raise max/)
  })

  test('is not concluded from commands that wait on purpose', async () => {
    for (const command of ['BLPOP', 'XREADGROUP', 'blmove', 'WAIT']) {
      const { clock, lend, findings } = poolOf({ max: 3 })
      await lend(3, command)
      await clock.advance(60_000)
      assert.doesNotMatch(findings(), /silent/, command)
    }
  })

  test('is concluded from the other commands, where some wait on purpose', async () => {
    const { clock, lend, findings } = poolOf({ max: 4 })
    await lend(2, 'BRPOP')
    await lend(2, 'SET')
    await clock.advance(5000)
    assert.match(
      findings(),
      /silent: 2 of the 2 lent connections wait for an answer, the longest \(SET .*; 2 more run commands that wait on purpose/,
    )
  })
})

describe('stalls of the event loop', () => {
  test('come last where nobody waits any more, and something else explains what went wrong', async () => {
    const { clock, pool, findings } = poolOf({ max: 1 })
    const knot = rejection(pool.use(async () => await pool.use(() => 1)))
    await clock.advance(1000)
    await knot
    await clock.stall(600)
    const lines = findings().split('\n')
    assert.match(lines[0] ?? '', /1 deadlock has been broken/)
    assert.match(lines.at(-1) ?? '', /was blocked for \d+ ms of the last minute .*does not explain/)
  })

  test('come last where leases that look forgotten are all that the pool has', async () => {
    const { clock, pool, lend, findings } = poolOf({
      max: 1,
      leakThresholdMillis: 500,
      acquireTimeoutMillis: 5000,
    })
    await lend(1)
    await clock.advance(1000)
    const waiting = rejection(pool.acquire({ detached: true }))
    await clock.advance(1000)
    await clock.stall(700)
    assert.match(findings().split('\n')[0] ?? '', /1 of 1 leases look forgotten/)
    assert.match(findings().split('\n').at(-1) ?? '', /was blocked for \d+ ms of the last minute/)
    await clock.advance(5000)
    await waiting
  })
})
