/* How connections are made and ended, beside a pool of doubles. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Slot } from '../../src/connections/slot.ts'
import { settle } from '../support/clock.ts'
import { connectorOf, type Made } from './scripted-connector.ts'

test('a connection is made for who waits, and is complete before it is delivered', async () => {
  const { clock, slots, create, queue, totals, connector, delivered, heard, events, context } = connectorOf({
    maxLifetimeMillis: 60_000,
  })
  context.random = () => 0.25
  connector.connectMore()
  assert.equal(create.calls, 0)
  queue.waiting = 1
  connector.connectMore()
  connector.connectMore()
  assert.equal(create.calls, 1, 'the second caller counts on the first connect')
  const [slot] = [...slots.all] as [Slot<Made>]
  assert.deepEqual([connector.capacity.connects.has(slot), slot.startedAt], [true, clock.now()])
  clock.compute(20)
  await clock.advance(0)
  ;(await create.call()).ok()
  await settle()
  const now = clock.now()
  assert.deepEqual(
    [slot.createdAt, slot.idleSince, slot.traffic.quietSince, slot.traffic.lastSeenAt],
    [now, now, now, now],
  )
  assert.deepEqual([slot.spread, slot.retireAt, slot.generation], [0.25, now + 60_000, 0])
  assert.deepEqual([totals.created, connector.capacity.connectedAt, delivered], [1, now, [1]])
  assert.equal(connector.capacity.connects.size, 0)
  assert.deepEqual(heard(), ['created in 20', 'change'])
  assert.deepEqual(events[0], ['connect', { pool: 'connector', resource: slot.resource, millis: 20 }])
})

test('a create that fails is counted and told, the next one waits for its pause', async () => {
  const { clock, slots, create, queue, totals, connector, events, heard } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  assert.equal(connector.isPausing, false)
  const error = Object.assign(new Error('no'), { code: 'ECONNREFUSED' })
  ;(await create.call()).reject(error)
  await settle()
  assert.deepEqual([totals.createErrors, slots.all.size, connector.capacity.connects.size], [1, 0, 0])
  assert.deepEqual(heard(), ['create error ECONNREFUSED', 'refused', 'change'])
  assert.deepEqual([events.length, events[0]?.[0]], [1, 'factoryCreateError'])
  assert.deepEqual([connector.breaker.failures, connector.breaker.lastError], [1, error])
  assert.equal(connector.isPausing, true)
  await clock.advance(49)
  assert.equal(create.calls, 1)
  await clock.advance(10)
  assert.equal(create.calls, 2)
})

test('who comes in the millisecond in which the breaker opens is not one who has waited for the server before', async () => {
  for (const [waited, pause] of [
    [undefined, 25],
    [0, 25],
    [1, 50],
  ] as const) {
    const { clock, create, queue, connector } = connectorOf()
    queue.waiting = 1
    connector.connectMore()
    await clock.advance(1000)
    if (waited !== undefined) queue.since = clock.now() - waited
    ;(await create.call()).reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' }))
    await settle()
    assert.deepEqual([connector.breaker.isOpen, connector.breaker.retryAt - clock.now()], [true, pause])
  }
})

test('who waits for a probe that is late is refused, though another connect has ended meanwhile', async () => {
  const { clock, create, queue, connector, heard } = connectorOf()
  const denied = { kind: 'permanent', error: new Error('denied') } as const
  connector.breaker.failed(denied, clock.now(), clock.now())
  await clock.advance(1000)
  queue.waiting = 1
  connector.connectMore()
  const probe = await create.call()
  await clock.advance(100)
  // A connection has proved useful.
  connector.breaker.connected()
  queue.waiting = 2
  connector.connectMore()
  const other = await create.call()
  other.reject(Object.assign(new Error('WRONGPASS'), { code: 'WRONGPASS' }))
  connector.breaker.failed(denied, clock.now(), clock.now())
  await settle()
  heard()
  await clock.advance(399)
  assert.deepEqual(heard(), [])
  await clock.advance(1)
  assert.deepEqual(heard(), ['reject since 2'])
  probe.ok()
  await settle()
})

test('a create that fails gives the place in its budget back, once', async () => {
  const { create, queue, connector } = connectorOf()
  const returned: unknown[] = []
  connector.capacity.share = {
    ...{ free: 4, request: () => true },
    returned: (slot: unknown) => void returned.push(slot),
  } as never
  queue.waiting = 1
  connector.connectMore()
  const [slot] = connector.capacity.connects
  ;(await create.call()).reject(new Error('no'))
  await settle()
  assert.deepEqual(returned, [slot])
})

test('who waits for a probe that is late may still get a connection that is lent', async () => {
  const { clock, create, slots, queue, connector, heard, connect } = connectorOf()
  const slot = await connect()
  slots.move(slot, 'lent')
  connector.breaker.failed({ kind: 'permanent', error: new Error('denied') }, clock.now(), clock.now())
  await clock.advance(1000)
  queue.waiting = 1
  connector.connectMore()
  slot.lentAt = clock.now()
  const probe = await create.call()
  heard()
  await clock.advance(500)
  assert.deepEqual(heard(), [])
  probe.ok()
  await settle()
})

test('after an outage those who wait for others need not wait until the first connection is certain', async () => {
  const { clock, create, slots, queue, connector, liveness, delivered, connect } = connectorOf()
  slots.move(await connect(), 'lent')
  connector.breaker.failed({ kind: 'unreachable', error: new Error('away') }, clock.now(), clock.now())
  queue.waiting = 2
  connector.connectMore()
  liveness.watch = watched => {
    // The server has said nothing yet.
    Object.assign((watched as Slot<Made>).traffic, { made: { read: 0, written: 0 } })
    return undefined
  }
  await clock.advance(70)
  assert.equal(create.calls, 2, 'one at a time')
  const first = await create.call()
  first.ok()
  await settle()
  assert.deepEqual([delivered, create.calls], [[1], 3])
})

test('a pool may be closed between the end of a create and its delivery', async () => {
  const { create, slots, queue, connector, delivered } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  const [slot] = [...slots.all] as [Slot<Made>]
  ;(await create.call()).ok()
  for (let microtask = 0; slot.createAbort !== undefined && microtask < 100; microtask += 1) await undefined
  assert.deepEqual([slot.createAbort, slot.state], [undefined, 'connecting'])
  connector.stop(new Error('closed'))
  await settle()
  assert.deepEqual(delivered, [1], 'its owner ends it')
})

test('a resource that create returns twice is a failure, and is not destroyed under its first owner', async () => {
  const { create, destroy, slots, queue, connector, totals } = connectorOf()
  queue.waiting = 2
  connector.connectMore()
  const same = { id: 9 }
  for (const call of [await create.call(), await create.call()]) call.ok(same)
  await settle()
  assert.deepEqual([totals.created, totals.createErrors, destroy.calls], [1, 1, 0])
  assert.equal(slots.owns(same), true)
})

test('a closing pool aborts its connects, and counts none of them as failed', async () => {
  const { slots, create, queue, totals, connector, heard, names } = connectorOf()
  queue.waiting = 1
  connector.keepsMin = true
  connector.connectMore()
  const call = await create.call()
  const reason = new Error('closed')
  connector.stop(reason)
  assert.deepEqual([call.signal?.aborted, call.signal?.reason], [true, reason])
  queue.waiting = 5
  assert.deepEqual([connector.isStopped, connector.keepsMin, connector.wanted], [true, false, 0])
  connector.connectMore()
  assert.equal(create.calls, 1)
  call.reject(reason)
  await settle()
  assert.deepEqual([totals.createErrors, slots.all.size, create.calls], [0, 0, 1])
  assert.deepEqual([heard(), names()], [['change'], []])
})

test('a pool that is closed while its probe goes on rejects nobody later on for that', async () => {
  const { clock, create, queue, connector, heard } = connectorOf()
  connector.breaker.failed({ kind: 'permanent', error: new Error('denied') }, clock.now(), clock.now())
  await clock.advance(1000)
  queue.waiting = 1
  connector.connectMore()
  const probe = await create.call()
  const reason = new Error('closed')
  connector.stop(reason)
  heard()
  await clock.advance(500)
  assert.deepEqual(heard(), [])
  probe.reject(reason)
  await settle()
})

test('the end of a connection is told, and its permit returns when the close has settled', async () => {
  const { clock, slots, destroy, queue, create, connector, totals, events, heard, connect } = connectorOf({
    max: 1,
  })
  const slot = await connect()
  events.length = 0
  slot.loan = 1
  await clock.advance(5000)
  queue.waiting = 1
  connector.discard(slot, 'dirty', 'left a MULTI', 'MULTI')
  assert.deepEqual(heard(), ['destroyed dirty', 'dirty MULTI', 'unwatch 1', 'lost 1 dirty idle'])
  assert.deepEqual(events, [
    [
      'destroy',
      { pool: 'connector', resource: slot.resource, connection: 1, reason: 'dirty', detail: 'left a MULTI' },
    ],
  ])
  assert.deepEqual([slot.state, create.calls], ['closing', 1])
  ;(await destroy.call()).ok()
  await settle()
  assert.deepEqual([slots.all.has(slot), totals.destroyed, create.calls], [false, 1, 2])
  assert.equal(connector.capacity.pauseUntil, 0, 'it was of use')
})

test('one that was never lent makes the next connect wait a moment, and its end needs no detail', async () => {
  const { clock, destroy, queue, create, connector, events, heard, connect } = connectorOf({ max: 1 })
  const slot = await connect()
  events.length = 0
  queue.waiting = 1
  heard()
  connector.discard(slot, 'generation')
  assert.deepEqual(heard(), ['destroyed generation', 'unwatch 1', 'lost 1 generation idle'])
  assert.deepEqual(Object.keys(events[0]?.[1] ?? {}), ['pool', 'resource', 'connection', 'reason'])
  ;(await destroy.call()).ok()
  await settle()
  assert.equal(create.calls, 1)
  await clock.advance(1)
  assert.equal(create.calls, 2)
})

test('a destroy that fails or takes too long is told, and gives the permit back all the same', async () => {
  for (const how of ['rejects', 'hangs'] as const) {
    const { clock, slots, destroy, connector, totals, events, connect } = connectorOf()
    const slot = await connect()
    slot.loan = 1
    events.length = 0
    connector.discard(slot, 'idle')
    const call = await destroy.call()
    if (how === 'rejects') call.reject(new Error('no'))
    await clock.advance(1000)
    assert.deepEqual([totals.destroyErrors, totals.destroyed, slots.all.size], [1, 1, 0], how)
    assert.equal(events.at(-1)?.[0], 'factoryDestroyError')
  }
})

test('the socket is closed in any case, and the share of a budget returned', async () => {
  const { destroy, connector, connect } = connectorOf()
  const slot = await connect()
  let closed = 0
  slot.watch = { socket: { destroy: () => (closed += 1), writableLength: 0 } } as never
  const returned: unknown[] = []
  connector.capacity.share = { returned: (it: unknown) => void returned.push(it) } as never
  connector.discard(slot, 'idle')
  ;(await destroy.call()).reject(new Error('no'))
  await settle()
  assert.deepEqual([closed, returned], [1, [slot]])
})

test('who counted on an idle connection gets another connect when that one is found dead', async () => {
  for (const awaits of [true, false]) {
    const { queue, create, connector, connect } = connectorOf()
    const slot = await connect()
    queue.waiting = 1
    connector.capacity.awaitsEventLoop = awaits
    connector.discard(slot, 'half-closed', 'FIN')
    // It has died young: the next connect waits for its pause.
    assert.deepEqual([create.calls, connector.isPausing], [1, awaits])
  }
})

test('a connection that dies young without having been of use is a failure, told before others are suspected', async () => {
  for (const [loan, reason, isEarly] of [
    [0, 'half-closed', true],
    [0, 'idle', false],
    [2, 'half-closed', false],
  ] as const) {
    const { connector, connect } = connectorOf()
    const slot = await connect()
    slot.loan = loan
    connector.discard(slot, reason, 'FIN')
    assert.deepEqual([connector.breaker.failures, connector.breaker.unproven], [isEarly ? 1 : 0, isEarly])
    if (isEarly) assert.match(String(connector.breaker.lastError), /ended before it was lent: FIN /)
  }
})

test('a fault while it is idle ends a connection, in another state it is left for the next step', async () => {
  for (const state of ['idle', 'lent'] as const) {
    const { slots, liveness, connect } = connectorOf()
    const slot = await connect()
    if (state === 'lent') slots.move(slot, 'lent')
    liveness.onFault({ reason: 'broken', detail: 'RST' })
    assert.equal(slot.state, state === 'idle' ? 'closing' : 'lent')
  }
  const { liveness, connect } = connectorOf()
  liveness.wrong = { reason: 'broken', detail: 'no socket' }
  const slot = await connect()
  assert.equal(slot.fault, liveness.wrong)
})

test('a purge starts a generation on whose connects alone is counted', async () => {
  const { create, queue, connector, slots } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  connector.newGeneration('failover')
  assert.deepEqual(
    [connector.generation, connector.purgeReason, connector.capacity.connects.size],
    [1, 'failover', 0],
  )
  connector.connectMore()
  assert.equal(create.calls, 2)
  assert.deepEqual(
    [...slots.all].map(({ generation }) => generation),
    [0, 1],
  )
})

test('nothing is planned for a caller who has to wait for a connect in progress', async () => {
  const { clock, create, queue, connector } = connectorOf({ maxConnecting: 1 })
  queue.waiting = 1
  connector.connectMore()
  const { pending } = clock
  queue.waiting = 2
  connector.connectMore()
  assert.deepEqual([create.calls, connector.isPausing, clock.pending], [1, false, pending])
})

test('a create that returns nothing is told of, another is not', async () => {
  const warnings: string[] = []
  const hear = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', hear)
  try {
    for (const [name, made] of [
      ['makes undefined', undefined],
      ['makes null', null],
      ['makes one', {}],
    ] as const) {
      const { factory, queue, connector } = connectorOf({ name })
      factory.create = () => made
      queue.waiting = 1
      connector.connectMore()
      await settle()
    }
    await settle()
    assert.deepEqual(
      warnings.map(text => /'(makes \w+)' returned/.exec(text)?.[1]),
      ['makes undefined', 'makes null'],
    )
  } finally {
    process.off('warning', hear)
  }
})

test('a connect that a later one has overtaken by far is not counted on any more', async () => {
  const { clock, create, queue, connector } = connectorOf()
  queue.waiting = 1
  connector.connectMore()
  const hanging = await create.call()
  await clock.advance(500)
  queue.waiting = 2
  connector.connectMore()
  await clock.advance(10)
  ;(await create.call()).ok()
  await settle()
  assert.equal(connector.capacity.connects.size, 0)
  hanging.ok()
})

test('of creates that have failed nothing is kept', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { clock, slots, queue, connector, factory } = connectorOf()
  const refs: WeakRef<Slot<Made>>[] = []
  factory.create = () => {
    for (const slot of slots.all) refs.push(new WeakRef(slot))
    return Promise.reject(new Error('no'))
  }
  queue.waiting = 1
  connector.connectMore()
  for (let round = 0; round < 1000 && refs.length < 50; round += 1) await clock.advance(60)
  assert.equal(refs.length, 50)
  queue.waiting = 0
  await clock.advance(60)
  collect()
  const kept = refs.filter(ref => ref.deref() !== undefined).length
  assert.ok(kept < 20, `${kept} of ${refs.length} slots are still there`)
})
