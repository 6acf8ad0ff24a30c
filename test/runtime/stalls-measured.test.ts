import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { systemClock } from '../../src/runtime/time/clock.ts'
import { stallMonitorOf } from '../../src/runtime/time/stall-monitor.ts'
import { FakeClock } from '../support/clock.ts'
import { block, eventually, scripted, turns } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

const factory = { create: async () => ({}), destroy: async () => {} }
const pause = (millis: number): Promise<void> => new Promise(resolve => setTimeout(resolve, millis))

/** Runs something in the middle of the poll phase, the check phase, the timers phase, or a microtask. */
const PHASES: Readonly<Record<string, (run: () => void) => void>> = {
  timers: run => void setTimeout(run, 5),
  check: run => void setImmediate(run),
  poll: run => {
    const server = createServer(socket => {
      run()
      socket.destroy()
      server.close()
    })
    server.listen(0, '127.0.0.1', async () => {
      const { connect } = await import('node:net')
      connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
    })
  },
  'a microtask': run => void setTimeout(() => Promise.resolve().then(run), 5),
}

for (const [phase, run] of Object.entries(PHASES)) {
  test(`a stall in which no timer of the pool was due is known, and its length (in ${phase})`, async () => {
    const pool = createPool(factory, { evictionRunIntervalMillis: 0 })
    await pool.release(await pool.acquire())
    await pause(60)
    const told: number[] = []
    pool.on('stall', ({ millis }) => told.push(millis))
    const before = performance.now()
    await new Promise<void>(resolve =>
      run(() => {
        block(400)
        resolve()
      }),
    )
    await turns(3)
    // On a busy machine a block takes longer, but a stall is never longer than what has passed.
    const passed = performance.now() - before
    const longest = Math.max(...told)
    assert.ok(longest >= 399 && longest <= passed, `${told} of ${passed} ms`)
    assert.equal(pool.stats().stalls.longestMillis, longest)
    await pool.close()
  })
}

test('a stall is told in full, although the timer that ran into it was due in its midst', async () => {
  const pool = createPool(factory, { max: 1 })
  const held = await pool.acquire()
  await pause(60)
  const before = performance.now()
  const waiting = rejection(pool.acquire({ timeoutMillis: 300 }))
  await new Promise<void>(resolve =>
    setTimeout(() => {
      block(600)
      resolve()
    }, 20),
  )
  const { stalledMillis = 0 } = await waiting
  const passed = performance.now() - before
  assert.ok(stalledMillis >= 599 && stalledMillis <= passed, `${stalledMillis} of ${passed} ms`)
  await pool.release(held)
  await pool.close()
})

test('a report that an operator asks for right after a stall knows of it, before the loop has turned', async () => {
  const before = performance.now()
  const pool = createPool(factory, {})
  await pool.release(await pool.acquire())
  await pause(60)
  block(300)
  const report = pool.report()
  const passed = performance.now() - before
  const told = Number(/The event loop was blocked for (\d+) ms of the last minute/.exec(report)?.[1])
  assert.ok(told >= 300 && told <= passed + 25, `${told} of ${passed} ms in ${report}`)
  await pool.close()
})

test('a loop that waits for events, however long, does not stand still', async () => {
  const pool = createPool(factory, {})
  await pool.release(await pool.acquire())
  await turns(3)
  let before = pool.stats().stalls
  let after = before
  // On a busy machine the process may be held up while it works: one quiet wait is enough. If waiting counted, all would.
  for (let tries = 0; tries < 50; tries += 1) {
    before = pool.stats().stalls
    await pause(60)
    after = pool.stats().stalls
    if (after.count === before.count) break
  }
  assert.deepEqual(after, before)
  // A thread that waits, as in a library of the system, does; a child process awaited properly does not.
  spawnSync('sleep', ['0.2'])
  await turns(2)
  assert.ok(pool.stats().stalls.totalMillis - before.totalMillis >= 190)
  await pool.close()
})

test('a deadline that passes at the very end of a stall waits for the poll phase all the same', async () => {
  const accepted: Socket[] = []
  const server = createServer(socket => accepted.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const pool = createSocketPool({ host: '127.0.0.1', port }, { max: 1 })
  const socket = await pool.acquire()
  await eventually(() => accepted.length === 1)
  // The connection comes back when the answer does, which lies in the kernel as the timer fires, hardly late.
  socket.once('data', () => void pool.release(socket))
  const waiting = pool.acquire({ timeoutMillis: 200 })
  await new Promise<void>(resolve =>
    setImmediate(() => {
      accepted[0]?.write('pong')
      block(205)
      resolve()
    }),
  )
  assert.equal(await waiting, socket)
  await pool.release(socket)
  await pool.close()
  server.close()
})

test('a loop that never tells how long it waits is judged by its timers alone', async () => {
  const clock = new FakeClock()
  const blind = Object.assign(Object.create(clock), {
    now: () => clock.now(),
    after: clock.after.bind(clock),
    turn: clock.turn.bind(clock),
    active: () => undefined,
  })
  const pool = openPool(scripted(), { max: 1 }, false, { clock: blind, random: () => 0 })
  await pool.acquire()
  const waiting = rejection(pool.acquire({ timeoutMillis: 100 }))
  await clock.stall(1000)
  await clock.advance(100)
  const { stalledMillis = 0 } = await waiting
  assert.ok(stalledMillis >= 900 && stalledMillis < 1000, `${stalledMillis}`)
})

test('two blocks in one turn count once each, and never twice', async () => {
  const clock = new FakeClock()
  const pool = openPool(scripted(), { max: 1 }, false, { clock, random: () => 0 })
  const held = await pool.acquire()
  const waiters = [100, 200, 300].map(timeoutMillis => rejection(pool.acquire({ timeoutMillis })))
  await clock.stall(400)
  await clock.advance(200)
  await clock.stall(50)
  for (const error of await Promise.all(waiters)) assert.equal(error.stalledMillis, 400)
  await pool.release(held)
  await turns(2)
  assert.deepEqual(pool.stats().stalls, { count: 2, totalMillis: 450, longestMillis: 400 })
})

test('the stall meter keeps no pool alive, stops with the last one, and costs no timer', async () => {
  const meter = stallMonitorOf(systemClock)
  const told: number[] = []
  const leave = meter.join({ add: (_, millis) => told.push(millis) })
  await turns(3)
  block(100)
  await turns(2)
  // A busy machine may hold the process up at other times, too.
  assert.equal(told.filter(millis => millis >= 99).length, 1, `${told}`)
  leave()
  const before = told.length
  block(100)
  await turns(2)
  assert.equal(told.length, before)
  assert.deepEqual(
    process.getActiveResourcesInfo().filter(name => name === 'Immediate'),
    [],
  )
})
