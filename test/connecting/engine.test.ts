/* One create and one close at a time, by way of generic-pool, with hooks that the test answers. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Engine } from '../../src/connecting/engine.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import { Slot } from '../../src/connections/slot.ts'
import { createPool, isPoolError, type PoolError } from '../../src/index.ts'
import { createChannel } from '../../src/runtime/channels.ts'
import { newHookDeadlines } from '../../src/runtime/time/attempt.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { Hook } from '../support/factories.ts'

interface Made {
  readonly id: number
}

/** A time of day in the year 33658. */
const FAR = 1e15

const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })

function engineOf(more: Record<string, unknown> = {}) {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  let made = 0
  const create = new Hook<undefined, Made>((_, value) => {
    made += 1
    return value ?? { id: made }
  }).always('held')
  const destroy = new Hook<Made, void>(() => {}).always('held')
  const owned = new Set<Made>()
  const errors: unknown[] = []
  const context = {
    ...{ clock, stalls, random: () => 0, stats: () => double.stats(), identity: () => ({ pool: 'engine' }) },
    hookDeadlines: newHookDeadlines(clock, stalls),
    options: { createTimeoutMillis: 1000, destroyTimeoutMillis: 500 },
    slots: { owns: (resource: Made) => owned.has(resource) },
    factory: {
      create: (signal: AbortSignal) => create.run(undefined, signal),
      destroy: (resource: Made) => destroy.run(resource),
      ...more,
    },
  }
  const engine = new Engine(context as unknown as PoolContext<Made>, error => void errors.push(error))
  let slots = 0
  const slotOf = (): Slot<Made> => {
    slots += 1
    return new Slot<Made>(slots, 0, clock.now())
  }
  return { clock, engine, create, destroy, owned, errors, slotOf, factory: context.factory }
}

const codeOf = (slot: Slot<Made>): string | undefined => (slot.failure?.error as PoolError | undefined)?.code

test('a create that succeeds leaves the connection in its slot, and nothing to abort', async () => {
  const { engine, create, slotOf } = engineOf()
  const slot = slotOf()
  const abort = slot.createAbort
  const opening = engine.open(slot)
  const call = await create.call()
  assert.equal(call.signal, abort?.signal)
  call.ok({ id: 7 })
  assert.equal(await opening, slot)
  assert.deepEqual([slot.resource, slot.failure, slot.createAbort], [{ id: 7 }, undefined, undefined])
})

test('a create that fails leaves its error in the slot, whose close then has nothing to destroy', async () => {
  const { engine, create, destroy, slotOf, errors } = engineOf()
  const slot = slotOf()
  const opening = engine.open(slot)
  const error = new Error('no')
  ;(await create.call()).reject(error)
  assert.equal(await opening, slot)
  assert.deepEqual([slot.resource, slot.failure?.error, slot.failure?.timedOut], [undefined, error, false])
  await engine.close(slot)
  assert.deepEqual([destroy.calls, errors], [0, []])
})

test('a create that takes too long fails with its time, and what arrives later is closed unless somebody owns it', async () => {
  for (const isOwned of [false, true]) {
    const { clock, engine, create, destroy, slotOf, owned, errors } = engineOf()
    const slot = slotOf()
    const opening = engine.open(slot)
    const call = await create.call()
    await clock.advance(1000)
    await opening
    assert.deepEqual(
      [codeOf(slot), slot.failure?.timedOut, call.signal?.aborted],
      ['POOL_CONNECT_FAILED', true, true],
    )
    const late = { id: 9 }
    if (isOwned) owned.add(late)
    call.ok(late)
    await clock.advance(0)
    assert.deepEqual([destroy.calls, errors.length], isOwned ? [0, 1] : [1, 0])
  }
})

test('a connection is closed once, however often it is asked for, and the close ends with its deadline', async () => {
  const { clock, engine, create, destroy, slotOf, errors } = engineOf()
  const slot = slotOf()
  const opening = engine.open(slot)
  ;(await create.call()).ok()
  await opening
  const closes = [engine.close(slot), engine.close(slot)]
  assert.equal(destroy.calls, 1)
  ;(await destroy.call()).ok()
  await Promise.all(closes)
  const next = slotOf()
  const again = engine.open(next)
  ;(await create.call()).ok()
  await again
  const hanging = engine.close(next)
  await clock.advance(500)
  await hanging
  // generic-pool does not know a slot that it has given up before, and says so.
  assert.match(String(errors.at(-1)), /destroy timed out after 500 ms/)
})

test('slots that have ended are kept by nobody, not by generic-pool either', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { engine, create, destroy, slotOf } = engineOf()
  const refs: WeakRef<Slot<Made>>[] = []
  for (let count = 0; count < 100; count += 1) {
    const slot = slotOf()
    refs.push(new WeakRef(slot))
    const opening = engine.open(slot)
    const call = await create.call()
    if (count % 2 === 0) call.reject(new Error('no'))
    else call.ok()
    await opening
    const closing = engine.close(slot)
    if (count % 2 === 1) (await destroy.call()).ok()
    await closing
  }
  await settle()
  collect()
  const kept = refs.filter(ref => ref.deref() !== undefined).length
  assert.ok(kept < 20, `${kept} of 100 slots are still there`)
})

test('a destroy that fails is told with its own error', async () => {
  const { engine, destroy, errors } = engineOf()
  const error = new Error('no')
  const closing = engine.discard({ id: 1 })
  ;(await destroy.call()).reject(error)
  await closing
  assert.deepEqual(errors, [error])
  const fine = engine.discard({ id: 2 })
  ;(await destroy.call()).ok()
  await fine
  assert.equal(errors.length, 1)
})

test('a connection is prepared before it counts as made, and closed if that fails', async () => {
  const prepare = new Hook<Made, void>(() => {}).always('held')
  const { engine, create, destroy, slotOf } = engineOf({
    prepare: (resource: Made, signal: AbortSignal) => prepare.run(resource, signal),
  })
  const good = slotOf()
  const opening = engine.open(good)
  ;(await create.call()).ok()
  ;(await prepare.call()).ok()
  await opening
  assert.deepEqual([good.resource, destroy.calls], [{ id: 1 }, 0])
  const bad = slotOf()
  const failing = engine.open(bad)
  ;(await create.call()).ok()
  const error = new Error('not prepared')
  ;(await prepare.call()).reject(error)
  await failing
  assert.deepEqual([bad.failure?.error, bad.resource, destroy.calls], [error, undefined, 1])
})

test('a create that is aborted while it is prepared fails with the reason, and its connection is closed', async () => {
  const prepare = new Hook<Made, void>(() => {}).always('held')
  const { engine, create, destroy, slotOf } = engineOf({
    prepare: (resource: Made, signal: AbortSignal) => prepare.run(resource, signal),
  })
  const slot = slotOf()
  const { createAbort } = slot
  const opening = engine.open(slot)
  ;(await create.call()).ok()
  await prepare.call()
  const reason = new Error('the pool is closed')
  createAbort?.abort(reason)
  await opening
  assert.deepEqual([slot.failure?.error, slot.resource, destroy.calls], [reason, undefined, 1])
})

test('what is late is neither prepared nor kept', async () => {
  const prepare = new Hook<Made, void>(() => {}).always('held')
  const { clock, engine, create, destroy, slotOf } = engineOf({
    prepare: (resource: Made, signal: AbortSignal) => prepare.run(resource, signal),
  })
  const late = slotOf()
  const opening = engine.open(late)
  const call = await create.call()
  await clock.advance(1000)
  await opening
  call.ok()
  await clock.advance(0)
  assert.deepEqual([prepare.calls, destroy.calls], [0, 1])
  const hanging = slotOf()
  const preparing = engine.open(hanging)
  ;(await create.call()).ok()
  const prepared = await prepare.call()
  await clock.advance(1000)
  await preparing
  assert.deepEqual(
    [codeOf(hanging), destroy.calls],
    ['POOL_CONNECT_FAILED', 2],
    'closed while it is prepared',
  )
  prepared.ok()
  await clock.advance(0)
  assert.equal(destroy.calls, 2)
})

test('a time of expiry decides when it retires, and one that is none or past fails the create', async () => {
  for (const [expiresAt, wanted] of [
    [undefined, 'never'],
    [FAR, 'retires'],
    [1000, 'POOL_CONNECT_FAILED'],
    [Number.NaN, 'POOL_BAD_OPTIONS'],
    ['tomorrow', 'POOL_BAD_OPTIONS'],
  ] as const) {
    const { clock, engine, create, destroy, slotOf } = engineOf({ expiresAt: () => expiresAt })
    const slot = slotOf()
    const opening = engine.open(slot)
    ;(await create.call()).ok()
    await opening
    assert.equal(codeOf(slot), wanted.startsWith('POOL') ? wanted : undefined)
    assert.equal(destroy.calls, wanted.startsWith('POOL') ? 1 : 0)
    const left = slot.retireAt - clock.now()
    if (wanted === 'never') assert.equal(left, Number.POSITIVE_INFINITY)
    if (wanted === 'retires') assert.ok(left > FAR / 2 && left < FAR, `${left}`)
    if (wanted === 'POOL_CONNECT_FAILED')
      assert.match(String(slot.failure?.error), /had expired \d+ ms before/)
    assert.equal(isPoolError(slot.failure?.error), wanted.startsWith('POOL'))
  }
})

test('who subscribes to creates hears of each, how long it took, and how it ended', async () => {
  const heard: string[] = []
  const subscribers = {
    start: () => void heard.push('start'),
    end: () => {},
    asyncStart: () => {},
    asyncEnd: (message: object) => {
      const { connection, millis, error } = message as Record<string, unknown>
      heard.push(`${connection} ${millis} ${error}`)
    },
    error: () => void heard.push('error'),
  }
  createChannel.subscribe(subscribers as never)
  try {
    const { clock, engine, create, slotOf } = engineOf()
    const opening = engine.open(slotOf())
    await clock.advance(30)
    ;(await create.call()).ok()
    await opening
    assert.deepEqual(heard.splice(0), ['start', '1 30 undefined'])
    const failing = engine.open(slotOf())
    ;(await create.call()).reject(new Error('no'))
    await failing
    assert.deepEqual(heard, ['start', 'error', '2 0 Error: no'])
  } finally {
    createChannel.unsubscribe(subscribers as never)
  }
  await settle()
})
