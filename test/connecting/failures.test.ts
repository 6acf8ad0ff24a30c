import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { messageOf, PoolError } from '../../src/api/errors.ts'
import type { DestroyReason, SlotState } from '../../src/api/stats.ts'
import { connectFailure } from '../../src/connecting/connect-failure.ts'
import { isEarlyDeath } from '../../src/connecting/early-death.ts'
import { Slot } from '../../src/connections/slot.ts'
import { CLOSED_HERE } from '../../src/sockets/socket-state.ts'

const LIMITS = { validateTimeoutMillis: 300, resetTimeoutMillis: 20 }

interface End {
  readonly loan?: number
  readonly reason?: DestroyReason
  readonly detail?: string
  readonly from?: SlotState
  readonly age?: number
  readonly isDoubtful?: boolean
  readonly socket?: Socket
}

function isEarly({
  loan = 0,
  reason = 'half-closed',
  detail,
  from = 'idle',
  age = 0,
  isDoubtful = false,
  socket,
}: End) {
  const slot = Object.assign(new Slot<object>(1, 0, 0), { createdAt: 5000, loan, isDoubtful, socket })
  return isEarlyDeath(slot, { reason, detail }, from, 5000 + age, LIMITS)
}

/** A stream that is open, or ended by its peer, or closed here. */
const open = (): Socket => new PassThrough() as unknown as Socket
const endedByPeer = async (): Promise<Socket> => {
  const stream = new PassThrough()
  stream.end()
  stream.resume()
  await new Promise(resolve => stream.once('close', resolve))
  return stream as unknown as Socket
}

describe('a connection that died young', () => {
  test('counts as a failed connect within a second, and within the time of the check that found it dead', () => {
    assert.deepEqual([isEarly({ age: 999 }), isEarly({ age: 1000 })], [true, false])
    assert.deepEqual(
      [1299, 1300].map(age => isEarly({ reason: 'invalid', age })),
      [true, false],
    )
    assert.deepEqual(
      [1019, 1020].map(age => isEarly({ loan: 1, from: 'resetting', age })),
      [true, false],
    )
    assert.deepEqual(
      [1319, 1320].map(age => isEarly({ reason: 'invalid', from: 'resetting', age })),
      [true, false],
    )
  })

  test('that was never lent does so unless the pool ended it for reasons of its own', () => {
    for (const reason of ['half-closed', 'broken', 'invalid', 'invalidated', 'dirty'] as const)
      assert.equal(isEarly({ reason }), true, reason)
    for (const reason of ['idle', 'lifetime', 'surplus', 'generation', 'drain'] as DestroyReason[])
      assert.equal(isEarly({ reason }), false, reason)
  })

  test('in its first loan does so if the peer ended it, and not if its borrower did', async () => {
    const loan = { loan: 1, from: 'lent' } as const
    assert.equal(isEarly({ ...loan, reason: 'half-closed' }), true)
    assert.equal(isEarly({ ...loan, reason: 'broken', detail: 'ECONNRESET' }), true)
    assert.equal(isEarly({ ...loan, reason: 'broken', detail: CLOSED_HERE }), false)
    assert.equal(isEarly({ ...loan, reason: 'dirty' }), false, 'it cannot be seen')
    assert.equal(isEarly({ ...loan, reason: 'dirty', socket: open() }), false, 'it is open')
    assert.equal(isEarly({ ...loan, reason: 'dirty', socket: await endedByPeer() }), true)
    assert.equal(isEarly({ ...loan, reason: 'user', socket: await endedByPeer() }), true)
    const closedHere = Object.assign(open(), { _handle: null }).destroy()
    assert.equal(isEarly({ ...loan, reason: 'user', socket: closedHere }), false, 'its borrower closed it')
    assert.equal(isEarly({ ...loan, loan: 2 }), false, 'the first loan ended well')
  })

  test('does so after a failed function if nothing proves it good, and its end fits', () => {
    const reset = { loan: 1, from: 'resetting', isDoubtful: true, reason: 'invalid' } as const
    assert.equal(isEarly(reset), true)
    assert.equal(isEarly({ ...reset, isDoubtful: false }), false)
    assert.equal(isEarly({ ...reset, from: 'lent' }), false)
    assert.equal(isEarly({ ...reset, reason: 'lifetime' }), false)
  })

  test('does not if it has answered', () => {
    const counts = { bytesRead: 0, bytesWritten: 0 }
    const socket = counts as unknown as Socket
    const slot = Object.assign(new Slot<object>(1, 0, 0), { createdAt: 5000, socket })
    slot.traffic.start(socket)
    const fault = { reason: 'half-closed', detail: undefined } as const
    assert.equal(isEarlyDeath(slot, fault, 'idle', 5000, LIMITS), true)
    Object.assign(counts, { bytesRead: 5, bytesWritten: 5 })
    assert.equal(isEarlyDeath(slot, fault, 'idle', 5000, LIMITS), false)
  })
})

const coded = (code: string | undefined, cause?: unknown): Error =>
  Object.assign(new Error('no', cause === undefined ? {} : { cause }), code === undefined ? {} : { code })
const kindOf = (error: unknown, timedOut = false): string =>
  connectFailure({ error, timedOut }, undefined).kind

describe('a failed connect', () => {
  test('is that of a server that nobody reached only if no error of the chain says otherwise', () => {
    for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'EMFILE', undefined])
      assert.equal(kindOf(coded(code)), 'unreachable', code)
    assert.equal(kindOf(coded('ECONNRESET')), 'turned-away')
    assert.equal(kindOf(coded(undefined, coded('ECONNRESET'))), 'turned-away')
    assert.equal(kindOf(coded('ECONNREFUSED', coded('EPROTO'))), 'turned-away')
    assert.equal(kindOf(coded('ECONNREFUSED', coded('ENOTFOUND'))), 'unreachable')
    assert.equal(kindOf('a string'), 'unreachable')
    assert.equal(kindOf(undefined), 'unreachable')
  })

  test('costs the server nothing where it timed out, whatever its error says', () => {
    assert.equal(kindOf(coded('ECONNRESET'), true), 'unreachable')
  })

  test('is permanent with a code that trying again does not change, also deep in the chain', () => {
    const deep = coded(undefined, coded(undefined, coded(undefined, coded(undefined, coded('28P01')))))
    assert.equal(kindOf(deep), 'permanent')
    assert.equal(kindOf(coded(undefined, deep)), 'unreachable', 'the chain is read five errors deep')
    assert.match(connectFailure({ error: coded('3D000') }, undefined).advice ?? '', /database/)
    assert.match(connectFailure({ error: coded('CERT_HAS_EXPIRED') }, undefined).advice ?? '', /certificate/)
  })

  test('is a bug where create refers to what does not exist, but not where fetch wraps an outage', () => {
    assert.equal(kindOf(new ReferenceError('x is not defined')), 'permanent')
    assert.equal(kindOf(new TypeError('x is not a function')), 'permanent')
    assert.equal(kindOf(new TypeError('fetch failed', { cause: coded('ECONNREFUSED') })), 'unreachable')
    assert.equal(kindOf(new RangeError('no')), 'unreachable')
    assert.equal(kindOf({ name: 'ReferenceError' }), 'permanent', 'of another realm')
  })

  test('is permanent where the function that makes clients has made something else', () => {
    const error = new PoolError('POOL_BAD_OPTIONS', 'not a client')
    const { kind, advice } = connectFailure({ error }, undefined)
    assert.deepEqual([kind, /cannot be pooled/.test(advice ?? '')], ['permanent', true])
  })

  test('is what isPermanent says, in its words; one that says nothing or throws is not asked again', () => {
    const error = coded('ECONNREFUSED')
    const said = (isPermanent: (error: unknown) => boolean | string) => connectFailure({ error }, isPermanent)
    assert.deepEqual(
      said(() => 'Pay the bill.'),
      { error, kind: 'permanent', advice: 'Pay the bill' },
    )
    assert.equal(said(() => true).kind, 'permanent')
    assert.match(said(() => true).advice ?? '', /credentials/)
    for (const nothing of [
      () => false,
      () => '',
      () => {
        throw new Error('no')
      },
    ])
      assert.deepEqual(said(nothing), { error, kind: 'unreachable' })
    assert.deepEqual(
      said(each => each !== error),
      { error, kind: 'unreachable' },
      'it is given the error',
    )
  })

  test('is told from errors of another realm as well: where Jest runs the tests, those of Node are such', () => {
    const foreign = (code: string): unknown => runInNewContext(code)
    const of = (code: string) => connectFailure({ error: foreign(code) }, undefined)
    assert.equal(of('new ReferenceError("x")').kind, 'permanent')
    assert.equal(of('new TypeError("x is no function")').kind, 'permanent')
    assert.equal(of('Object.assign(new Error("reset"), { code: "ECONNRESET" })').kind, 'turned-away')
    assert.equal(of('Object.assign(new Error("refused"), { code: "ECONNREFUSED" })').kind, 'unreachable')
    const deep = 'new Error("outer", { cause: Object.assign(new Error("inner"), { code: "ECONNRESET" }) })'
    assert.equal(of(deep).kind, 'turned-away')
    assert.equal(messageOf(foreign('new Error("in its own words")')), 'in its own words')
    for (const error of [undefined, null, 'down', 7])
      assert.equal(connectFailure({ error }, undefined).kind, 'unreachable')
  })

  test('whose error throws when it is read is an outage', () => {
    const error = new Proxy(new Error('no'), {
      get() {
        throw new Error('do not touch')
      },
    })
    assert.equal(connectFailure({ error }, undefined).kind, 'unreachable')
  })
})
