/* Validations and resets beside a pool: what becomes of the connection, with hooks that the test answers. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Connector } from '../../src/connecting/connector.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import type { Fault, Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { Validator } from '../../src/health/validator.ts'
import { createPool } from '../../src/index.ts'
import { newHookDeadlines } from '../../src/runtime/time/attempt.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock } from '../support/clock.ts'
import { Hook } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

const NEVER = Number.POSITIVE_INFINITY

const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })
const statsOf = () => double.stats()

function validatorOf() {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  stalls.start()
  const slots = new Slots<object>()
  const validateHook = new Hook<object, boolean>((_, value) => value ?? true).always('held')
  const resetHook = new Hook<object, void>(() => {}).always('held')
  const seen: string[] = []
  const barriers: (() => void)[] = []
  const factory: Record<string, unknown> = {
    validate: (resource: object) => validateHook.run(resource),
    reset: (resource: object) => resetHook.run(resource),
  }
  const context = {
    ...{ clock, stalls, slots, factory, stats: statsOf },
    hookDeadlines: newHookDeadlines(clock, stalls),
    options: {
      ...{ name: 'validator', maxUses: NEVER, validateTimeoutMillis: 1000, resetTimeoutMillis: 1000 },
      ...{ testOnReturn: false, testOnBorrow: false },
    },
    serverIdleTimeout: {
      retireAfter: NEVER,
      survived: (millis: number) => void seen.push(`survived ${millis}`),
      answered: (limit: unknown) => void seen.push(`limit ${limit}`),
    },
    liveness: { barrier: (_: unknown, run: () => void) => void barriers.push(run) },
    identity: () => ({}),
    onChange: () => void seen.push('change'),
  }
  const checks = new Set<Slot<object>>()
  const connector = {
    generation: 0,
    capacity: { checks, isOversized: false },
    breaker: { unproven: false },
    discard(slot: Slot<object>, reason: string, detail: string, left: string) {
      seen.push(`discard ${reason} ${detail} ${left}`)
      slots.move(slot, 'closing')
    },
    provedUseful: (slot: Slot<object>) => void seen.push(`useful, expected ${checks.has(slot)}`),
    connectMore: () => void seen.push('connect'),
  }
  const validator = new Validator(
    context as unknown as PoolContext<object>,
    connector as unknown as Connector<object>,
  )
  validator.host = {
    makeIdle: slot => {
      seen.push(`idle, expected ${checks.has(slot)}`)
      slots.move(slot, 'idle')
    },
    validated: (slot, _now, idleSince) => {
      seen.push(`validated ${idleSince}, expected ${checks.has(slot)}`)
      slots.move(slot, 'idle')
    },
    serve: () => void seen.push('serve'),
  }
  const add = (state: 'idle' | 'lent' = 'idle'): Slot<object> => {
    const slot = slots.add(0, 0)
    slots.register(slot, { id: slot.id })
    slot.idleSince = clock.now()
    slot.traffic.quietSince = clock.now()
    slots.move(slot, 'idle')
    if (state === 'lent') slots.move(slot, 'lent')
    return slot
  }
  const heard = (): string[] => seen.splice(0)
  return {
    ...{ clock, slots, validator, validateHook, resetHook, context, connector, checks, factory },
    ...{ barriers, add, heard },
  }
}

/** A socket that only counts bytes, and a watch that hears when the borrower's turn begins. */
function socketOf(slot: Slot<object>) {
  const socket = {
    ...{ bytesRead: 0, bytesWritten: 0, destroyed: false, closed: false, readable: true, writable: true },
    ...{ readableEnded: false, writableEnded: false, readableLength: 0 },
  }
  const watch = {
    ...{ yields: 0, unsentBytes: 0, isSending: true },
    yield() {
      watch.yields += 1
    },
    restore: (): Fault | undefined => undefined,
    flushed: (): Promise<boolean> => Promise.resolve(true),
  }
  slot.socket = socket as never
  slot.watch = watch as never
  return { socket, watch }
}

test('a good answer proves the connection, which keeps its idle age, and is passed on before others are served', async () => {
  const { clock, validator, validateHook, add, heard, checks, connector } = validatorOf()
  const slot = add()
  const idleSince = clock.now()
  await clock.advance(50)
  connector.breaker.unproven = true
  const done = validator.validate(slot)
  assert.deepEqual([slot.state, checks.has(slot)], ['validating', true])
  ;(await validateHook.call()).ok()
  await done
  assert.deepEqual(heard(), [
    'survived 50',
    `validated ${idleSince}, expected true`,
    'useful, expected false',
    'serve',
    'change',
  ])
  assert.deepEqual([checks.size, slot.provenAt, slot.traffic.quietSince], [0, clock.now(), clock.now()])
  await clock.advance(1000)
  assert.deepEqual([heard(), clock.pending], [[], 0], 'nobody is served once more')
})

test('a bad answer ends the connection, and proves nothing', async () => {
  const { clock, validator, validateHook, add, heard, checks, connector } = validatorOf()
  const slot = add()
  connector.breaker.unproven = true
  await clock.advance(50)
  const done = validator.validate(slot)
  ;(await validateHook.call()).ok(false)
  await done
  assert.deepEqual(heard(), ['discard invalid factory.validate returned no undefined', 'serve', 'change'])
  assert.deepEqual([checks.size, slot.provenAt], [0, 0])
})

test('a connection that became unfit while it was validated is ended though it has answered', async () => {
  const { validator, validateHook, add, heard, connector } = validatorOf()
  const slot = add()
  const done = validator.validate(slot)
  connector.capacity.isOversized = true
  ;(await validateHook.call()).ok()
  await done
  assert.deepEqual(heard().slice(0, 2), ['survived 0', 'discard surplus undefined undefined'])
})

test('a connection that was ended meanwhile is left alone', async () => {
  const { slots, validator, validateHook, add, heard, checks } = validatorOf()
  const slot = add()
  const done = validator.validate(slot)
  slots.move(slot, 'closing')
  ;(await validateHook.call()).ok()
  await done
  assert.deepEqual([heard(), checks.size], [['serve', 'change'], 0])
})

test('a good answer proves nothing about new connections while these need no proof', async () => {
  const { validator, validateHook, add, heard } = validatorOf()
  const slot = add()
  const done = validator.validate(slot)
  ;(await validateHook.call()).ok()
  await done
  assert.deepEqual(heard(), ['survived 0', `validated ${slot.idleSince}, expected true`, 'serve', 'change'])
})

test('a connection over which the server is asked is counted on meanwhile, as one that is validated', async () => {
  const { clock, validator, add, heard, checks } = validatorOf()
  const slot = add()
  const { idleSince } = slot
  await clock.advance(50)
  let answer: () => void = () => {}
  const asked: object[] = []
  const question = (resource: object): Promise<void> => {
    asked.push(resource)
    return new Promise(resolve => {
      answer = resolve
    })
  }
  const done = validator.ask(slot, [question])
  assert.deepEqual([slot.state, checks.has(slot), asked], ['validating', true, [slot.resource]])
  answer()
  await done
  assert.deepEqual(heard(), ['survived 50', `validated ${idleSince}, expected true`, 'serve', 'change'])
  assert.deepEqual([checks.size, slot.provenAt], [0, clock.now()])
})

test('a connection that was asked without an answer is ended, and one that broke meanwhile, whatever it has answered', async () => {
  const broken: Fault = { reason: 'broken', detail: 'RST' }
  for (const [fault, fails, wanted] of [
    [undefined, true, 'discard invalid the server did not answer when it was asked undefined'],
    [broken, false, 'discard broken RST undefined'],
    [broken, true, 'discard broken RST undefined'],
  ] as const) {
    const { validator, add, heard } = validatorOf()
    const slot = add()
    await validator.ask(slot, [
      async () => {
        slot.fault = fault
        if (fails) throw new Error('no')
      },
    ])
    assert.equal(heard().at(-3), wanted)
  }
})

test('nobody counts for long on a check that takes long, and not at all on one that is not expected to succeed', async () => {
  const { clock, validator, validateHook, add, heard, checks } = validatorOf()
  const [slow, suspect] = [add(), add()]
  const done = [validator.validate(slow), validator.validate(suspect, false)]
  assert.deepEqual([checks.has(slow), checks.has(suspect)], [true, false])
  await clock.advance(99)
  assert.deepEqual([checks.size, heard()], [1, []])
  await clock.advance(1)
  assert.deepEqual([checks.size, heard()], [0, ['serve']])
  for (const _ of done) (await validateHook.call()).ok()
  await Promise.all(done)
})

test('where the loop stood still, what came behind the answer is read before the connection counts as good', async () => {
  for (const [hasSocket, hasStalled] of [
    [true, true],
    [true, false],
    [false, true],
  ]) {
    const { clock, validator, validateHook, add, heard, barriers } = validatorOf()
    const slot = add()
    if (hasSocket) socketOf(slot)
    const done = validator.validate(slot)
    if (hasStalled) await clock.stall(500)
    heard()
    ;(await validateHook.call()).ok()
    await clock.advance(0)
    const waits = hasSocket && hasStalled
    assert.deepEqual([barriers.length, slot.state], [waits ? 1 : 0, waits ? 'validating' : 'idle'])
    for (const run of barriers) run()
    await done
    assert.equal(slot.state, 'idle')
  }
})

test('a reset proves a connection only if the server has said something, and no one where borrowing has to', async () => {
  for (const [hasSocket, reads, testOnBorrow, wanted] of [
    [false, false, false, 'validated undefined, expected true'],
    [true, true, false, 'validated undefined, expected true'],
    [true, false, false, 'idle, expected true'],
    [true, true, true, 'idle, expected true'],
  ] as const) {
    const { validator, resetHook, add, heard, context, connector } = validatorOf()
    connector.breaker.unproven = true
    context.options.testOnBorrow = testOnBorrow
    const slot = add('lent')
    const given = hasSocket ? socketOf(slot) : undefined
    const done = validator.reset(slot, undefined)
    assert.equal(slot.state, 'resetting')
    assert.equal(given?.watch.yields, hasSocket ? 1 : undefined)
    if (given !== undefined && reads) given.socket.bytesRead = 1
    ;(await resetHook.call()).ok()
    await done
    assert.deepEqual(heard(), [wanted, 'serve', 'change'])
  }
})

test('a socket that does not count its bytes proves nothing', async () => {
  const { validator, resetHook, add, heard } = validatorOf()
  const slot = add('lent')
  Object.assign(socketOf(slot).socket, { bytesRead: undefined })
  const done = validator.reset(slot, undefined)
  ;(await resetHook.call()).ok()
  await done
  assert.equal(heard()[0], 'idle, expected true')
})

test('a reset that fails ends the connection with what it left', async () => {
  const { validator, resetHook, add, heard } = validatorOf()
  const done = validator.reset(add('lent'), undefined)
  ;(await resetHook.call()).reject(new Error('no'))
  await done
  assert.equal(heard()[0], 'discard dirty factory.reset failed: no failed reset')
})

test('validations in the background are eight at a time, of those that are still idle', async () => {
  const { slots, validator, validateHook, add, heard } = validatorOf()
  const all = Array.from({ length: 11 }, () => add())
  const [first, gone] = all as [Slot<object>, Slot<object>]
  validator.validateSoon(all)
  validator.validateSoon([first])
  assert.equal(validateHook.calls, 8)
  slots.move(all[8] as Slot<object>, 'closing')
  const call = await validateHook.call()
  call.ok()
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(validateHook.calls, 9, 'the one that was closed is passed over')
  for (let left = 9; left > 1; left -= 1) (await validateHook.call()).ok()
  await new Promise(resolve => setImmediate(resolve))
  ;(await validateHook.call()).ok()
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(validateHook.calls, 11, 'ten, and the first once more as it was asked for again')
  ;(await validateHook.call()).ok()
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(gone.state, 'idle')
  assert.equal(heard().filter(line => line.startsWith('validated')).length, 11)
})

test('suspects are all asked at once, nobody counts on them, and new ones are made meanwhile', () => {
  const { validator, validateHook, add, heard, checks } = validatorOf()
  const all = Array.from({ length: 11 }, () => add())
  const lent = add('lent')
  validator.validateSuspects([...all, lent])
  assert.deepEqual([validateHook.calls, checks.size, lent.state], [11, 0, 'lent'])
  assert.deepEqual(heard(), ['connect'])
})

test('what was written is sent before the reset, and its loan fails if that is not possible', async () => {
  const sent = validatorOf()
  const slot = sent.add('lent')
  socketOf(slot)
  await sent.validator.flush(slot, undefined, undefined)
  ;(await sent.resetHook.call()).ok()
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(sent.heard(), ['idle, expected true', 'serve', 'change'])

  const ending = validatorOf()
  const last = ending.add('lent')
  socketOf(last)
  await ending.validator.flush(last, undefined, { reason: 'user', detail: 'enough' })
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual([ending.heard()[0], ending.resetHook.calls], ['discard user enough undefined', 0])

  const failing = validatorOf()
  const lost = failing.add('lent')
  const given = socketOf(lost)
  given.watch.flushed = () => Promise.resolve(false)
  assert.equal((await rejection(failing.validator.flush(lost, undefined, undefined))).code, 'POOL_UNSENT')
  await new Promise(resolve => setImmediate(resolve))
  assert.match(failing.heard()[0] ?? '', /^discard dirty a stream was still being piped into it: .* unsent$/)

  const dirty = validatorOf()
  const left = dirty.add('lent')
  socketOf(left)
  await dirty.validator.flush(left, { left: 'MULTI', detail: 'MULTI' }, undefined)
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(dirty.heard()[0], 'discard dirty MULTI MULTI')
})

test('the question for the idle limit is a check like another', async () => {
  const { validator, factory, add, heard } = validatorOf()
  factory.serverIdleTimeout = () => 3000
  const slot = add()
  await validator.askIdleTimeout(slot)
  assert.deepEqual(heard().slice(0, 3), [
    'limit 3000',
    'survived 0',
    `validated ${slot.idleSince}, expected true`,
  ])
})
