/* The checks of a connection at its boundaries, with hooks and a socket that the test scripts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Factory } from '../../src/api/factory.ts'
import type { Connector } from '../../src/connecting/connector.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import { type Fault, Slot } from '../../src/connections/slot.ts'
import {
  askIdleTimeout,
  flush,
  leftBehind,
  leftUnsent,
  reset,
  unfitReason,
  validate,
} from '../../src/health/checks.ts'
import { createPool, isPoolError } from '../../src/index.ts'
import { validateChannel } from '../../src/runtime/channels.ts'
import { newHookDeadlines } from '../../src/runtime/time/attempt.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock } from '../support/clock.ts'

const NEVER = Number.POSITIVE_INFINITY
const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })
const statsOf = () => double.stats()

let pools = 0

function checksOf(factory: Partial<Record<keyof Factory<object>, unknown>> = {}, hasHandles = false) {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  const answers: unknown[] = []
  pools += 1
  const context = {
    ...{ clock, stalls, factory, slots: { hasHandles }, stats: statsOf },
    hookDeadlines: newHookDeadlines(clock, stalls),
    options: {
      ...{ name: `checks ${pools}`, maxUses: 3, validateTimeoutMillis: 100, resetTimeoutMillis: 200 },
      testOnReturn: false,
    },
    serverIdleTimeout: { retireAfter: NEVER, answered: (limit: unknown) => void answers.push(limit) },
    identity: () => ({ pool: `checks ${pools}` }),
  }
  const slot = new Slot<object>(7, 0, 0)
  slot.resource = {}
  return { clock, context: context as unknown as PoolContext<object>, given: context, slot, answers }
}

/** A watch whose socket has so many bytes to send. */
function watchOf(slot: Slot<object>) {
  const watch = {
    ...{ unsentBytes: 0, isSending: false, fault: undefined as Fault | undefined, restored: 0 },
    flushed: (_clock: unknown, _signal: AbortSignal): Promise<boolean> => Promise.resolve(true),
    restore: () => {
      watch.restored += 1
      return watch.fault
    },
  }
  slot.watch = watch as never
  return watch
}

test('a connection is unfit for its fault, its age, its socket or one connection too many, in this order', () => {
  const { context, given, slot } = checksOf()
  const connector = { generation: 0, purgeReason: 'because', capacity: { isOversized: false } }
  const why = (): Fault | undefined =>
    unfitReason(slot, 0, context, connector as unknown as Connector<object>)
  assert.equal(why(), undefined)
  connector.capacity.isOversized = true
  assert.deepEqual(why(), { reason: 'surplus', detail: undefined })
  const socket = {
    ...{ destroyed: false, closed: false, readable: true, writable: true, readableEnded: false },
    ...{ writableEnded: false, readableLength: 0, errored: null, _handle: {} },
  }
  slot.socket = socket as never
  assert.equal(why()?.reason, 'surplus')
  socket.readableLength = 1
  assert.equal(why()?.reason, 'surplus', 'a greeting is for the first borrower')
  slot.loan = 1
  assert.deepEqual([why()?.reason, why()?.left], ['dirty', 'unread'])
  slot.loan = 0
  socket.readable = false
  assert.equal(why()?.reason, 'half-closed')
  slot.loan = 3
  assert.deepEqual(why(), { reason: 'uses', detail: undefined })
  connector.generation = 1
  assert.deepEqual(why(), { reason: 'generation', detail: 'because' })
  given.options.maxUses = 9
  const fault: Fault = { reason: 'broken', detail: 'RST' }
  slot.fault = fault
  assert.equal(why(), fault)
})

test('only a yes within its time means that a connection is valid', async () => {
  for (const [hook, wanted] of [
    [() => true, undefined],
    [async () => 1, undefined],
    [() => false, /^factory\.validate returned no$/],
    [() => undefined, /^factory\.validate returned no$/],
    [() => Promise.reject(new Error('gone')), /^factory\.validate failed: gone$/],
    [() => new Promise(() => {}), /^factory\.validate failed: .*timed out after 100 ms/],
  ] as const) {
    const { clock, context, slot } = checksOf({ validate: hook })
    const checking = validate(context, slot)
    await clock.advance(99)
    await clock.advance(1)
    const fault = await checking
    if (wanted === undefined) assert.equal(fault, undefined)
    else {
      assert.equal(fault?.reason, 'invalid')
      assert.match(fault?.detail ?? '', wanted)
    }
  }
})

test('an event of the socket meanwhile is the real reason of a failed validation, and none of a good one', async () => {
  const { context, given, slot } = checksOf({ validate: () => false })
  const fault: Fault = { reason: 'half-closed', detail: 'FIN' }
  slot.fault = fault
  assert.equal(await validate(context, slot), fault)
  given.factory.validate = () => true
  assert.equal(await validate(context, slot), undefined)
})

test('a validate that returns undefined is told of once for each pool, others are not', async () => {
  const warnings: string[] = []
  const hear = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', hear)
  try {
    for (const answer of [false, undefined, undefined]) {
      const { context, slot } = checksOf({ validate: () => answer })
      await validate(context, slot)
      await validate(context, slot)
    }
    const failing = checksOf({ validate: () => Promise.reject(new Error('gone')) })
    await validate(failing.context, failing.slot)
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(warnings.filter(text => text.includes('returned undefined, which means no')).length, 2)
  } finally {
    process.off('warning', hear)
  }
})

test('who subscribes to validations hears of each, how long it took, and how it ended', async () => {
  const heard: string[] = []
  const subscribers = {
    start: () => void heard.push('start'),
    end: () => void heard.push('end'),
    asyncStart: () => {},
    asyncEnd: (message: object) => {
      const { connection, millis, valid, error } = message as Record<string, unknown>
      heard.push(`${connection} ${millis} ${valid} ${error}`)
    },
    error: () => void heard.push('error'),
  }
  validateChannel.subscribe(subscribers as never)
  try {
    for (const [hook, wanted] of [
      [() => true, ['start', 'end', '7 10 true undefined']],
      [() => 0, ['start', 'end', '7 10 false undefined']],
      [() => Promise.reject(new Error('gone')), ['start', 'end', 'error', '7 10 false Error: gone']],
    ] as const) {
      const { clock, context, slot } = checksOf({
        validate: () => {
          clock.compute(10)
          return hook()
        },
      })
      await validate(context, slot)
      assert.deepEqual(heard.splice(0), wanted)
    }
  } finally {
    validateChannel.unsubscribe(subscribers as never)
  }
})

test('what was written is waited for, and what is not sent in time is lost with its loan', async () => {
  const { context, slot } = checksOf()
  assert.equal(await flush(context, slot), undefined, 'there is no socket')
  const watch = watchOf(slot)
  assert.equal(await flush(context, slot), undefined)
  watch.unsentBytes = 5
  watch.flushed = () => {
    // Once the socket is closed, nothing can be sent any more.
    watch.unsentBytes = 0
    return Promise.resolve(false)
  }
  const lost = await flush(context, slot)
  assert.deepEqual([lost?.reason, lost?.left], ['dirty', 'unsent'])
  assert.equal(lost?.detail, '5 of the bytes written were not sent: the connection was lost before that')
  assert.ok(isPoolError(lost?.error, 'POOL_UNSENT'))
  slot.fault = { reason: 'half-closed', detail: 'FIN' }
  const ended = await flush(context, slot)
  assert.deepEqual(
    [ended?.reason, ended?.detail, isPoolError(ended?.error, 'POOL_UNSENT')],
    ['half-closed', 'FIN', true],
  )
})

test('a pipe or bytes that take longer than the option says are named with that time', async () => {
  for (const [bytes, later, wanted] of [
    [0, 0, 'a stream was still being piped into it: it had 200 ms for that after the loan'],
    [9, 4, '4 of the bytes written were not sent: it had 200 ms for that after the loan'],
  ] as const) {
    const { clock, context, slot } = checksOf()
    const watch = watchOf(slot)
    watch.unsentBytes = bytes
    watch.flushed = () => new Promise(() => {})
    const flushing = flush(context, slot)
    watch.unsentBytes = later
    await clock.advance(200)
    assert.equal((await flushing)?.detail, wanted)
  }
})

test('a returned connection has its leftovers undone, is reset, and validated where that was asked for', async () => {
  const steps: string[] = []
  const { context, given, slot } = checksOf({
    reset: () => void steps.push('reset'),
    validate: () => {
      steps.push('validate')
      return false
    },
  })
  const left = { left: 'WATCH', detail: 'left behind: WATCH', undo: async () => void steps.push('undo') }
  assert.equal(await reset(context, slot, left), undefined)
  assert.deepEqual(steps.splice(0), ['undo', 'reset'])
  given.options.testOnReturn = true
  assert.equal((await reset(context, slot, undefined))?.reason, 'invalid')
  assert.deepEqual(steps.splice(0), ['reset', 'validate'])
  given.factory.reset = undefined
  given.options.testOnReturn = false
  assert.equal(await reset(context, slot, { left: 'WATCH', detail: '' }), undefined)
  const failing = { ...left, undo: () => Promise.reject(new Error('gone')) }
  assert.deepEqual(await reset(context, slot, failing), {
    reason: 'dirty',
    left: 'WATCH',
    detail: 'left behind: WATCH, not undone: gone',
  })
  given.factory.reset = () => Promise.reject(new Error('no'))
  assert.deepEqual(await reset(context, slot, undefined), {
    reason: 'dirty',
    left: 'failed reset',
    detail: 'factory.reset failed: no',
  })
})

test('a refusal of the question for the idle limit is an answer, silence is not', async () => {
  for (const [hook, answer, isSilent] of [
    [() => 3000, 3000, false],
    [() => Promise.reject(new Error('ERR')), undefined, false],
    [() => new Promise(() => {}), undefined, true],
  ] as const) {
    const { clock, context, slot, answers } = checksOf({ serverIdleTimeout: hook })
    const asking = askIdleTimeout(context, slot)
    await clock.advance(100)
    assert.equal((await asking)?.reason, isSilent ? 'invalid' : undefined)
    assert.deepEqual(answers, [answer])
  }
  const without = checksOf()
  assert.equal(await askIdleTimeout(without.context, without.slot), undefined)
})

test('unsent bytes matter unless the use failed or an adapter sees each command', () => {
  for (const [isSending, isDoubtful, hasHandles, wanted] of [
    [true, false, false, true],
    [false, false, false, false],
    [true, true, false, false],
    [true, false, true, false],
  ] as const) {
    const { context, slot } = checksOf({}, hasHandles)
    assert.equal(leftUnsent(context, slot), false, 'there is no socket')
    watchOf(slot).isSending = isSending
    slot.isDoubtful = isDoubtful
    assert.equal(leftUnsent(context, slot), wanted)
  }
})

test('after a failed use somebody has to vouch for the connection: an adapter, or a reset', () => {
  for (const [factory, hasHandles, isDoubtful, wanted] of [
    [{}, false, true, 'failed use'],
    [{}, false, false, undefined],
    [{}, true, true, undefined],
    [{ reset: () => {} }, false, true, undefined],
  ] as const) {
    const { context, slot } = checksOf(factory, hasHandles)
    slot.isDoubtful = isDoubtful
    assert.equal(leftBehind(context, slot, undefined, false)?.left, wanted)
  }
})

test('what cannot be undone costs the connection, as do a changed socket and work without an answer', () => {
  let busy: () => unknown = () => false
  const { context, given, slot } = checksOf({ busy: () => busy() })
  const left = (undo?: () => Promise<void>) =>
    leftBehind(context, slot, { left: 'MULTI', detail: 'MULTI', ...(undo && { undo }) }, false)
  assert.deepEqual(left(), { reason: 'dirty', left: 'MULTI', detail: 'MULTI' })
  assert.equal(
    left(async () => {}),
    undefined,
  )
  busy = () => 'GET'
  assert.equal(left(async () => {})?.left, 'unanswered')
  busy = () => {
    throw new Error('what?')
  }
  assert.equal(left(async () => {})?.detail, 'factory.busy threw: what?')
  const watch = watchOf(slot)
  assert.equal(leftBehind(context, slot, undefined, true), undefined, 'it is looked at once all is sent')
  assert.equal(watch.restored, 0)
  watch.fault = { reason: 'dirty', left: 'pipe', detail: 'a pipe' }
  assert.equal(leftBehind(context, slot, undefined, false), watch.fault)
  given.factory.busy = undefined
  assert.equal(leftBehind(context, slot, undefined, false), watch.fault)
  watch.fault = undefined
  assert.equal(leftBehind(context, slot, undefined, false), undefined)
  assert.equal(watch.restored, 3)
})
