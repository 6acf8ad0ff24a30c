/* When a connection is delivered, and what callers are told while none can be made, beside a pool of doubles. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Slot } from '../../src/connections/slot.ts'
import type { Waiter } from '../../src/queue/waiter.ts'
import { settle } from '../support/clock.ts'
import { connectorOf, type Made } from './scripted-connector.ts'

test('a connection that was made in a stall waits for a poll phase, unless nobody will be lent it', async () => {
  for (const [hasSocket, hasStalled, isPurged, waits] of [
    [true, true, false, true],
    [true, false, false, false],
    [false, true, false, false],
    [true, true, true, false],
  ] as const) {
    const { clock, create, queue, connector, barriers, delivered, liveness, heard } = connectorOf()
    queue.waiting = 1
    connector.connectMore()
    const { watch } = liveness
    liveness.watch = (slot: unknown, onFault) => {
      if (hasSocket) (slot as Slot<Made>).watch = { socket: {} } as never
      return watch(slot, onFault)
    }
    if (hasStalled) await clock.stall(500)
    if (isPurged) connector.newGeneration('failover')
    ;(await create.call()).ok()
    await settle()
    assert.deepEqual([barriers.length, delivered.length], waits ? [1, 0] : [0, 1])
    if (!waits) continue
    assert.equal(connector.capacity.connects.size, 1, 'it is counted on')
    heard()
    barriers[0]?.()
    assert.deepEqual([connector.capacity.connects.size, delivered, heard()], [0, [1], ['change']])
  }
})

test('where others exist, a new connection is watched for twice as long as it took, then delivered', async () => {
  const { clock, create, queue, connector, barriers, delivered, liveness, connect } = connectorOf()
  liveness.watch = ((slot: Slot<Made>) => {
    slot.traffic.made = { read: 0, written: 0 }
    return undefined
  }) as never
  await connect()
  assert.deepEqual(delivered, [1], 'the first of all is not watched')
  queue.waiting = 1
  connector.connectMore()
  await clock.advance(10)
  ;(await create.call()).ok()
  await settle()
  assert.deepEqual([delivered, connector.capacity.connects.size], [[1], 1])
  await clock.advance(19)
  assert.equal(barriers.length, 0)
  await clock.advance(1)
  assert.equal(barriers.length, 1)
  barriers[0]?.()
  assert.deepEqual(delivered, [1, 2])
})

test('while the breaker is open, acquires fail at once but for those who may wait for a probe', async () => {
  const { clock, create, queue, connector, heard } = connectorOf()
  queue.waiting = 1
  assert.equal(connector.isDown, false)
  connector.connectMore()
  ;(await create.call()).reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' }))
  await settle()
  assert.equal(connector.isDown, false, 'one failure')
  await clock.advance(60)
  assert.equal(create.calls, 2)
  await clock.advance(999)
  assert.equal(connector.breaker.isOpen, false)
  assert.equal(connector.isDown, true, 'the server has been away for a second, and the connect is old')
  assert.deepEqual([connector.breaker.isOpen, connector.breaker.openings], [true, 1])
  ;(await create.call()).reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' }))
  await settle()
  heard()
  assert.equal(connector.isDown, true, 'a probe is due later')
  await clock.advance(connector.breaker.retryAt - clock.now())
  assert.equal(create.calls, 3)
  assert.equal(connector.isDown, false, 'the probe has just begun')
  await clock.advance(499)
  assert.equal(connector.isDown, false)
  assert.deepEqual(heard(), [])
  await clock.advance(1)
  assert.equal(connector.isDown, true)
  assert.deepEqual(heard(), ['reject since 1'], 'who waits for it is told that it is late')
  assert.match(String(connector.breaker.lastError), /500 ms/)
  ;(await create.call()).ok()
  await settle()
  assert.deepEqual([connector.isDown, connector.breaker.isOpen], [false, false])
})

test('a permanent failure rejects all, a failed probe those who came since, unless a connection may serve them', async () => {
  const bug = new ReferenceError('undefined is not a server')
  const alone = connectorOf()
  alone.queue.waiting = 1
  alone.connector.connectMore()
  ;(await alone.create.call()).reject(bug)
  await settle()
  assert.ok(alone.heard().includes('reject all'))
  const beside = connectorOf()
  await beside.connect()
  beside.queue.waiting = 1
  beside.connector.connectMore()
  ;(await beside.create.call()).reject(bug)
  await settle()
  assert.equal(beside.heard().includes('reject all'), false)
})

test('a waiter who leaves counts against the connects only while none fails', async () => {
  const { clock, queue, connector } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  const waiter = { since: clock.now() } as Waiter<Made>
  await clock.advance(200)
  connector.breaker.failures = 1
  connector.waiterLeft(waiter, clock.now(), false)
  assert.equal(connector.capacity.connects.size, 1)
  connector.breaker.failures = 0
  connector.waiterLeft(waiter, clock.now(), false)
  assert.equal(connector.capacity.connects.size, 0)
})

test('what a budget is asked for is what would start now, and nothing starts that it refuses', () => {
  const { clock, create, queue, connector } = connectorOf({ maxConnecting: 1, min: 2 })
  assert.equal(connector.wanted, 0)
  queue.waiting = 3
  assert.equal(connector.wanted, 1)
  connector.capacity.pauseUntil = clock.now() + 1
  assert.equal(connector.wanted, 0)
  connector.capacity.pauseUntil = 0
  connector.capacity.share = { request: () => false } as never
  connector.connectMore()
  assert.equal(create.calls, 0)
  connector.capacity.share = { request: () => true } as never
  connector.connectMore()
  assert.equal(create.calls, 1)
})

test('a new connection on trial proves the server once it has lived for a second, and the next one where it has not', async () => {
  const { clock, slots, create, queue, destroy, connector, connect } = connectorOf()
  const early = await connect()
  connector.discard(early, 'half-closed', 'FIN')
  ;(await destroy.call()).ok()
  await settle()
  assert.deepEqual([connector.breaker.unproven, connector.isPausing], [true, false])
  const trial = async (): Promise<Slot<Made>> => {
    queue.waiting = 1
    connector.connectMore()
    await clock.advance(60)
    queue.waiting = 0
    ;(await create.call()).ok()
    await settle()
    return [...slots.all].at(-1) as Slot<Made>
  }
  const first = await trial()
  assert.equal(connector.isPausing, true)
  await clock.advance(500)
  connector.discard(first, 'idle')
  ;(await destroy.call()).ok()
  await clock.advance(5)
  await trial()
  await clock.advance(999)
  assert.equal(connector.breaker.unproven, true)
  await clock.advance(1)
  assert.equal(connector.breaker.unproven, false)
})

test('a retry leaves no timer behind where nothing is on trial, and a closed pool none at all', async () => {
  const { clock, create, queue, connector } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  connector.breaker.unproven = true
  ;(await create.call()).reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' }))
  await settle()
  await clock.advance(60)
  assert.deepEqual([create.calls, connector.isPausing], [2, false])
  const call = await create.call()
  connector.stop(new Error('closed'))
  call.ok()
  await settle()
  assert.equal(connector.isPausing, false)
})

test('a probe that is late is nobody’s business once the breaker has closed', async () => {
  const { clock, create, queue, connector, heard } = connectorOf()
  queue.waiting = 1
  connector.breaker.isOpen = true
  connector.connectMore()
  assert.equal(create.calls, 1)
  connector.breaker.isOpen = false
  await clock.advance(600)
  assert.deepEqual(heard(), [])
})

test('a probe is called late by its own time, not by that of the one before', async () => {
  const { clock, slots, create, queue, connector, heard } = connectorOf()
  queue.waiting = 1
  connector.breaker.isOpen = true
  connector.connectMore()
  await clock.advance(100)
  ;(await create.call()).reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' }))
  await clock.advance(100)
  assert.equal(create.calls, 2)
  const startedAt = [...slots.all].at(-1)?.startedAt ?? 0
  heard()
  await clock.advance(startedAt + 499 - clock.now())
  assert.deepEqual(heard(), [])
  await clock.advance(1)
  assert.deepEqual(heard(), ['reject since 0'])
})

test('callers wait for a probe that is due now', () => {
  const { clock, connector } = connectorOf()
  Object.assign(connector.breaker, { isOpen: true, failures: 1, retryAt: clock.now() })
  assert.equal(connector.isDown, false)
  connector.breaker.retryAt += 1
  assert.equal(connector.isDown, true)
})

test('the breaker tells its pool with the failures and the last error, and a stop ends its pause', async () => {
  const { create, queue, connector, events } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  const bug = new ReferenceError('no such server')
  ;(await create.call()).reject(bug)
  await settle()
  const [, details] = events.find(([name]) => name === 'breaker') ?? []
  assert.deepEqual(details, { pool: 'connector', state: 'open', failures: 1, error: bug })
  assert.equal(connector.isPausing, true)
  connector.stop(new Error('closed'))
  assert.equal(connector.isPausing, false)
})

test('a connection that has proved the server has others made at once', async () => {
  const { create, queue, connector, connect } = connectorOf()
  const slot = await connect()
  Object.assign(connector.breaker, { unproven: true, failures: 1, retryAt: 1e9 })
  queue.waiting = 1
  connector.provedUseful(slot)
  assert.deepEqual([connector.breaker.failures, create.calls], [0, 2])
})

test('the age of a connection that died in its first loan is told', async () => {
  const { clock, slots, connector, connect } = connectorOf()
  const slot = await connect()
  slots.move(slot, 'lent')
  slot.loan = 1
  await clock.advance(30)
  connector.discard(slot, 'half-closed', 'FIN')
  assert.match(String(connector.breaker.lastError), /ended 30 ms after it was created/)
})
