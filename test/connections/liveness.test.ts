/* What a pool believes of its sockets, with a scripted kernel and a loop that turns when the test says so. */

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import type { Factory } from '../../src/api/factory.ts'
import type { ResolvedOptions } from '../../src/api/options/resolve-options.ts'
import { HANDLES } from '../../src/connections/handles.ts'
import { Liveness } from '../../src/connections/liveness.ts'
import type { ServerIdleTimeout } from '../../src/connections/server-idle-timeout.ts'
import { type Fault, Slot } from '../../src/connections/slot.ts'
import { PoolEmitter } from '../../src/runtime/emitter.ts'
import type { EventLoop } from '../../src/runtime/time/clock.ts'
import { type SocketCheck, simulateKernel } from '../../src/sockets/conn-check.ts'
import { pollPhaseOf } from '../../src/sockets/poll-phase.ts'
import { FakeClock, settle } from '../support/clock.ts'

/** A socket whose kernel side the test scripts. */
class ScriptedSocket extends Duplex {
  _handle: object | null = {}
  kernel: SocketCheck = 'healthy'
  checks = 0
  constructor() {
    super({ allowHalfOpen: false })
    simulateKernel(this as never, () => {
      this.checks += 1
      return this.kernel
    })
  }
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

/** The same with TLS. */
class SecureSocket extends ScriptedSocket {
  readonly encrypted = true
}

class Emitter extends PoolEmitter<Resource> {
  identity() {
    return { pool: 'scripted' } as never
  }
}

interface Resource {
  readonly socket: ScriptedSocket
}

const NEVER = Number.NEGATIVE_INFINITY

/** A loop of which each turn has something to poll, so that no turn counts as quiet. */
class ScriptedLoop implements EventLoop {
  readonly #marks = new Set<() => void>()
  turns = 0
  joins = 0
  get isMarked(): boolean {
    return this.#marks.size > 0
  }
  eachTurn(run: () => void): () => void {
    this.joins += 1
    this.#marks.add(run)
    return () => void this.#marks.delete(run)
  }
  metrics() {
    return { loopCount: this.turns, events: this.turns }
  }
  turn(): void {
    this.turns += 1
    for (const run of [...this.#marks]) run()
  }
}

interface Setup {
  readonly factory?: Partial<Factory<Resource>> & { readonly [HANDLES]?: unknown }
  readonly halfClose?: 'on' | 'off'
}

function livenessOf({ factory = {}, halfClose = 'on' }: Setup = {}) {
  const loop = new ScriptedLoop()
  const clock = Object.assign(new FakeClock(), { loop })
  const closes: number[] = []
  const idleTimeout = { closed: (idle: number) => closes.push(idle) } as unknown as ServerIdleTimeout
  const events = new Emitter()
  const announced: { readonly state: string; readonly detail: string; readonly idleMillis?: number }[] = []
  events.on('half-close', message => void announced.push(message))
  const hooks = { socket: ({ socket }: Resource) => socket as unknown as Socket, ...factory }
  const options = { name: 'scripted', halfClose } as ResolvedOptions
  const liveness = new Liveness<Resource>(
    hooks as unknown as Factory<Resource>,
    options,
    clock,
    events,
    idleTimeout,
  )
  const suspicions: string[] = []
  liveness.onSuspicion = kind => void suspicions.push(kind)
  const faults: Fault[] = []
  let slots = 0
  /** A connection that is idle since now, after so many loans. */
  const connect = ({ loans = 1, socket = new ScriptedSocket() } = {}) => {
    slots += 1
    const slot = new Slot<Resource>(slots, 0, clock.now())
    slot.resource = { socket }
    slot.state = 'idle'
    slot.loan = loans
    slot.idleSince = clock.now()
    const wrong = liveness.watch(slot, fault => void faults.push(fault))
    return { slot, socket, wrong }
  }
  const check = (slot: Slot<Resource>, settledAt = NEVER) => liveness.check(slot, clock.now(), settledAt)
  /** Uses up the checks for connections that have just answered. */
  const exhaustChecks = (): void => {
    while (pollPhaseOf(clock).needed(NEVER, clock.now(), clock.now()) === 'check');
  }
  return { loop, clock, liveness, connect, check, exhaustChecks, closes, announced, suspicions, faults }
}

test('a socket is watched only where the factory has sockets and the option is on', () => {
  for (const setup of [
    { halfClose: 'off' },
    { factory: { socket: undefined } },
    { factory: { socket: () => undefined } },
    { factory: { socket: () => null } },
  ] as unknown as Setup[]) {
    const { liveness, connect, check, loop } = livenessOf(setup)
    const { slot, wrong } = connect()
    assert.deepEqual([wrong, slot.watch, slot.socket], [undefined, undefined, undefined])
    assert.equal(check(slot), undefined)
    assert.equal(liveness.inspect(slot, 0), undefined)
    liveness.becameIdle(slot, 0)
    liveness.lost(slot, { reason: 'broken', detail: undefined }, 'idle', 0)
    liveness.unwatch(slot)
    assert.deepEqual([liveness.watched, loop.joins, liveness.counts.kernel], [0, 0, 'off'])
  }
})

test('a factory that answers with something else than a socket, or throws, has made a broken connection', () => {
  const other = { on: () => {}, readable: 1 }
  for (const [socket, wanted] of [
    [() => ({}), /neither a socket nor another Duplex stream/],
    [() => other, /neither a socket nor another Duplex stream/],
    [() => ({ readable: true }), /neither a socket nor another Duplex stream/],
    [
      () => {
        throw new Error('no socket today')
      },
      /factory\.socket or factory\.unsolicited failed: no socket today/,
    ],
  ] as const) {
    const { liveness, connect } = livenessOf({ factory: { socket } as never })
    const { slot, wrong } = connect()
    assert.equal(wrong?.reason, 'broken')
    assert.match(wrong?.detail ?? '', wanted)
    assert.deepEqual([slot.watch, liveness.watched], [undefined, 0])
  }
})

test('what the factory says decides who reads, and whether the kernel can be asked', () => {
  for (const [setup, wanted] of [
    [{}, { lentRaw: false, unsolicited: false, greets: true }],
    [{ factory: { unsolicited: () => true } }, { lentRaw: false, unsolicited: true, greets: true }],
    [{ factory: { unsolicited: () => 'yes' } }, { lentRaw: false, unsolicited: false, greets: true }],
    [{ factory: { [HANDLES]: {} } }, { lentRaw: false, unsolicited: false, greets: false }],
    [{ factory: { socket: (it: unknown) => it } }, { lentRaw: true, unsolicited: false, greets: true }],
  ] as unknown as [Setup, object][]) {
    const { liveness, clock } = livenessOf(setup)
    const socket = new ScriptedSocket()
    const slot = new Slot<Resource>(1, 0, clock.now())
    // A resource that is its own socket has itself under this name.
    slot.resource = Object.assign(socket, { socket })
    const isRaw = 'lentRaw' in wanted && wanted.lentRaw
    if (!isRaw) slot.resource = { socket }
    liveness.watch(slot, () => {})
    assert.deepEqual({ ...slot.watch?.traits }, wanted)
    const isPush = 'unsolicited' in wanted && wanted.unsolicited
    assert.equal(liveness.counts.kernel, isPush ? 'unavailable' : 'on')
  }
})

test('the loop is watched from the first socket to the last, and traffic is counted from the handshake on', () => {
  const { liveness, loop, connect } = livenessOf()
  const socket = Object.assign(new ScriptedSocket(), { bytesRead: 7, bytesWritten: 5 })
  const [first, second] = [connect({ socket }), connect()]
  assert.equal(first.slot.socket, socket as unknown)
  assert.deepEqual(first.slot.traffic.made, { read: 7, written: 5 })
  assert.deepEqual([liveness.watched, loop.joins, loop.isMarked], [2, 1, true])
  liveness.unwatch(first.slot)
  assert.deepEqual([liveness.watched, loop.isMarked], [1, true])
  liveness.unwatch(second.slot)
  assert.deepEqual([liveness.watched, loop.isMarked], [0, false])
  socket.emit('end')
  assert.equal(first.slot.fault, undefined, 'its watch has ended')
})

test('an idle socket flows from the end of the turn on, if it is still idle and nobody else reads', () => {
  const { clock, liveness, loop, connect } = livenessOf()
  const [still, lent, fresh] = [connect(), connect(), connect({ loans: 0 })]
  const flows = ({ socket }: { socket: ScriptedSocket }): number => socket.listenerCount('data')
  for (const { slot } of [still, lent, fresh, still]) liveness.becameIdle(slot, clock.now())
  assert.deepEqual(
    [still, lent, fresh].map(each => each.slot.awaitsFlow),
    [true, true, false],
  )
  lent.slot.state = 'lent'
  assert.deepEqual([still, lent, fresh].map(flows), [0, 0, 0])
  loop.turn()
  assert.deepEqual(
    [still, lent, fresh].map(flows),
    [1, 0, 0],
    'what comes before the first loan may be a greeting',
  )
  assert.deepEqual(
    [still, lent].map(each => each.slot.awaitsFlow),
    [false, false],
  )
  lent.slot.state = 'idle'
  loop.turn()
  assert.deepEqual([still, lent, fresh].map(flows), [1, 0, 0], 'nobody has said that it is idle again')
  liveness.becameIdle(lent.slot, clock.now())
  liveness.becameIdle(still.slot, clock.now())
  assert.equal(still.slot.awaitsFlow, false, 'it flows already')
  loop.turn()
  assert.deepEqual([still, lent].map(flows), [1, 1])
})

test('nothing flows that is not watched any more when the turn ends', () => {
  const { clock, liveness, loop, connect } = livenessOf()
  const gone = connect()
  liveness.becameIdle(gone.slot, clock.now())
  liveness.unwatch(gone.slot)
  const next = connect()
  loop.turn()
  assert.deepEqual(
    [gone, next].map(({ socket }) => socket.listenerCount('data')),
    [0, 0],
  )
})

test('the kernel decides whether a connection may be lent, and each find is counted', () => {
  for (const [kernel, wanted, found, looks] of [
    ['healthy', undefined, 0, 1],
    ['fin', 'half-closed', 1, 1],
    ['reset', 'broken', 1, 1],
    ['data', 'dirty', 1, 1],
    ['unknown', 'barrier', 0, 0],
  ] as const) {
    const { liveness, connect, check, clock } = livenessOf()
    const { slot, socket } = connect()
    clock.compute(100)
    socket.kernel = kernel
    const result = check(slot)
    assert.equal(typeof result === 'object' ? result.reason : result, wanted)
    assert.equal(liveness.counts.found.borrow, found)
    assert.deepEqual([liveness.counts.looks, liveness.counts.gateSkips], [looks, 0])
    assert.equal(slot.watch?.deferredAt, NEVER, 'it was not put off')
    assert.equal(liveness.counts.kernel, kernel === 'unknown' ? 'unavailable' : 'on')
    assert.equal(slot.lookedAt, kernel === 'healthy' ? clock.now() : 0)
    if (kernel !== 'unknown') continue
    assert.equal(check(slot, slot.idleSince), undefined, 'it has waited for a poll phase since it was idle')
    assert.equal(check(slot, slot.idleSince - 1), 'barrier')
  }
})

test('a connection that was looked at in this very step is lent without another look', () => {
  const { liveness, connect, check, clock } = livenessOf()
  const { slot, socket } = connect()
  clock.compute(100)
  assert.deepEqual([check(slot), check(slot)], [undefined, undefined])
  assert.equal(socket.checks, 1)
  assert.equal(liveness.counts.gateSkips, 1)
  clock.compute(1)
  check(slot)
  assert.equal(socket.checks, 2, 'the thread may have been blocked since')
})

test('a thread that shows activity all the time was not blocked, and a check is no blockage', () => {
  const { liveness, connect, check, clock } = livenessOf()
  const [one, other] = [connect(), connect()]
  other.slot.state = 'lent'
  clock.compute(100)
  Object.defineProperty(one.socket, 'kernel', {
    get() {
      clock.compute(0.5)
      return 'healthy'
    },
  })
  check(one.slot)
  assert.deepEqual([check(one.slot), one.socket.checks], [undefined, 1], 'the check itself took so long')
  for (const activity of [
    () => other.socket.emit('data', Buffer.from('x')),
    () => liveness.becameIdle(other.slot, clock.now()),
  ]) {
    clock.compute(0.01)
    activity()
    clock.compute(0.01)
    assert.deepEqual([check(one.slot), one.socket.checks], [undefined, 1])
  }
})

test('one that has just answered waits for a poll phase where the checks are used up, once', () => {
  const { connect, check, clock, exhaustChecks } = livenessOf()
  const { slot, socket } = connect()
  clock.compute(100)
  slot.state = 'lent'
  socket.emit('data', Buffer.from('answer'))
  slot.state = 'idle'
  slot.idleSince = clock.now()
  exhaustChecks()
  assert.equal(check(slot), 'barrier')
  assert.equal(slot.watch?.deferredAt, clock.now())
  assert.equal(socket.checks, 0)
  assert.equal(check(slot, slot.idleSince), undefined)
  assert.equal(check(slot, slot.idleSince - 1), 'barrier')
  clock.compute(1.5)
  assert.equal(check(slot, clock.now()), undefined)
  const { checks } = socket
  const deferredAt = slot.watch?.deferredAt ?? 0
  clock.compute(3)
  check(slot, deferredAt + 2)
  assert.equal(socket.checks, checks + 1, 'the poll phase lies too far back from when it was put off')
})

test('a suspect connection is asked of the kernel, or waits for a poll phase that ends after the suspicion', () => {
  const { connect, check, clock, liveness, exhaustChecks } = livenessOf()
  const { slot, socket } = connect()
  const dead = connect()
  clock.compute(100)
  assert.equal(check(slot), undefined)
  const { checks } = socket
  clock.compute(1)
  liveness.lost(dead.slot, { reason: 'broken', detail: 'reset' }, 'idle', clock.now())
  exhaustChecks()
  const { watch } = slot
  if (watch !== undefined) watch.deferredAt = clock.now()
  assert.equal(check(slot, clock.now()), undefined)
  assert.equal(socket.checks, checks + 1, 'though a poll phase has passed')
  clock.compute(2000)
  liveness.lost(dead.slot, { reason: 'broken', detail: 'reset' }, 'idle', clock.now())
  socket.kernel = 'unknown'
  assert.equal(check(slot, clock.now() - 1), 'barrier')
  assert.equal(check(slot, clock.now()), undefined)
})

test('a lost connection closes its socket where nobody needs it, and makes others suspect where the peer is gone', async () => {
  const own = 'its socket was closed on this side, by its borrower or its client'
  const cases: [fault: Fault, from: 'idle' | 'lent', closed: boolean, suspicion: string[], told: number][] = [
    [{ reason: 'half-closed', detail: 'FIN' }, 'idle', true, ['closed'], 1],
    [{ reason: 'broken', detail: 'RST' }, 'lent', true, ['closed'], 1],
    [{ reason: 'broken', detail: own }, 'idle', true, [], 0],
    [{ reason: 'invalid', detail: 'no answer' }, 'idle', false, ['silent'], 0],
    [{ reason: 'stuck', detail: 'no answer' }, 'lent', true, ['silent'], 0],
    [{ reason: 'dirty', detail: 'unread' }, 'idle', true, [], 0],
    [{ reason: 'dirty', detail: 'MULTI' }, 'lent', false, [], 0],
    [{ reason: 'idle', detail: undefined }, 'idle', false, [], 0],
  ]
  for (const [fault, from, closed, suspicion, told] of cases) {
    const { clock, liveness, connect, announced, suspicions, closes } = livenessOf()
    const { slot, socket } = connect()
    slot.traffic.quietSince = clock.now() - 40
    clock.compute(10)
    liveness.lost(slot, fault, from, clock.now())
    await settle()
    const name = `${fault.reason} from ${from}`
    assert.equal(socket.destroyed, closed, name)
    assert.deepEqual(suspicions, suspicion, name)
    assert.equal(liveness.counts.suspicions, suspicion.length, name)
    assert.equal(announced.length, told, name)
    assert.deepEqual(closes, told === 1 && from === 'idle' ? [50] : [], name)
    if (told === 0) continue
    assert.equal(announced[0]?.detail, fault.detail)
    assert.equal(announced[0]?.idleMillis, from === 'idle' ? 10 : undefined, name)
    liveness.announceHalfClose(slot, 'lent')
    liveness.lost(slot, fault, from, clock.now())
    await settle()
    assert.equal(announced.length, 1, 'once for each connection')
    assert.equal(suspicions.length, 1, 'once for each wave')
  }
})

test('the sweep finds what events have not told, and what JavaScript knows counts before the kernel', () => {
  const { clock, liveness, connect } = livenessOf()
  const inspect = ({ slot }: { slot: Slot<Resource> }) => liveness.inspect(slot, clock.now())
  const found = () => liveness.counts.found.sweep
  const healthy = connect()
  assert.deepEqual([inspect(healthy), healthy.socket.checks, found()], [undefined, 1, 0])
  healthy.socket.kernel = 'unknown'
  assert.deepEqual([inspect(healthy), found()], [undefined, 0])
  const dead = connect()
  dead.socket.kernel = 'fin'
  assert.deepEqual([inspect(dead)?.reason, found()], ['half-closed', 1])
  const unread = connect()
  unread.socket.push('data')
  assert.deepEqual([inspect(unread)?.reason, unread.socket.checks, found()], ['dirty', 0, 1])
  const greeted = connect({ loans: 0 })
  greeted.socket.push('welcome')
  assert.deepEqual(
    [inspect(greeted), greeted.socket.checks],
    [undefined, 0],
    'a greeting is for the first borrower',
  )
  const own = connect()
  own.socket.destroy()
  assert.deepEqual([inspect(own)?.reason, found()], ['broken', 1])
  const closed = connect()
  closed.socket._handle = null
  assert.deepEqual([inspect(closed)?.reason, found()], ['half-closed', 2])
})

test('the kernel is not asked where the question would take a byte that is for somebody else', () => {
  let isBusy = false
  const handles = { [HANDLES]: {}, busy: () => isBusy }
  const asks = (set: ReturnType<typeof livenessOf>, given: ReturnType<typeof set.connect>): boolean => {
    const { checks } = given.socket
    set.clock.compute(10)
    set.liveness.inspect(given.slot, set.clock.now())
    return given.socket.checks > checks
  }
  const plain = livenessOf()
  assert.equal(asks(plain, plain.connect()), true)
  assert.equal(asks(plain, plain.connect({ loans: 0 })), false, 'a greeting')
  const pushing = livenessOf({ factory: { unsolicited: () => true } })
  assert.equal(asks(pushing, pushing.connect()), false, 'the server pushes')
  const secure = plain.connect({ socket: new SecureSocket() })
  secure.slot.createdAt = plain.clock.now()
  const young = plain.connect()
  young.slot.createdAt = plain.clock.now()
  plain.clock.compute(900)
  assert.deepEqual([asks(plain, secure), asks(plain, young)], [false, true], 'session tickets')
  plain.clock.compute(69)
  assert.deepEqual([asks(plain, secure), plain.clock.now() - secure.slot.createdAt], [false, 999])
  plain.clock.compute(-9)
  assert.deepEqual([asks(plain, secure), plain.clock.now() - secure.slot.createdAt], [true, 1000])
  const socket = new ScriptedSocket()
  Reflect.deleteProperty(socket, '_handle')
  const without = plain.connect({ socket })
  assert.equal(asks(plain, without), false, 'there is no kernel socket')
  assert.equal(plain.check(without.slot), undefined)
  assert.equal(plain.liveness.counts.kernel, 'on')
  const withHandles = livenessOf({ factory: handles })
  const [fresh, used] = [withHandles.connect({ loans: 0 }), withHandles.connect({ loans: 1 })]
  isBusy = true
  assert.equal(asks(withHandles, fresh), false, 'the answer to a command of the handshake')
  assert.equal(asks(withHandles, used), true)
  isBusy = false
  assert.equal(asks(withHandles, fresh), true)
})

test('a barrier waits a turn longer where data may lie before a FIN', async () => {
  const turnsOf = async (set: ReturnType<typeof livenessOf>, slot: Slot<Resource>): Promise<number> => {
    const { clock, liveness } = set
    let turns = 0
    clock.beforeTurns = () => {
      turns += 1
    }
    const barriers = liveness.counts.barriers
    liveness.barrier(slot, () => {
      clock.beforeTurns = () => {}
    })
    await clock.advance(0)
    assert.equal(liveness.counts.barriers, barriers + 1)
    return turns
  }
  const plain = livenessOf()
  const { slot } = plain.connect()
  assert.equal(await turnsOf(plain, slot), 2)
  assert.equal(await turnsOf(plain, new Slot<Resource>(9, 0, 0)), 2, 'there is no socket')
  slot.state = 'validating'
  assert.equal(await turnsOf(plain, slot), 3, 'the answer to a check')
  assert.equal(await turnsOf(plain, plain.connect({ loans: 0 }).slot), 3, 'a greeting')
  for (const other of [
    livenessOf({ factory: { unsolicited: () => true } }),
    livenessOf({ factory: { socket: () => new SecureSocket() as unknown as Socket } }),
  ])
    assert.equal(await turnsOf(other, other.connect().slot), 3)
})

test('the first fault of a connection counts, none once it is being closed, and not as found where this side closed', () => {
  const { liveness, connect, faults, clock } = livenessOf()
  const { slot, socket } = connect()
  socket.emit('error', new Error('ECONNRESET'))
  socket.emit('close')
  assert.deepEqual(
    faults.map(({ detail }) => detail),
    ['ECONNRESET'],
  )
  assert.equal(slot.fault, faults[0])
  assert.equal(liveness.counts.found.events, 1)
  assert.equal(socket.destroyed, true, 'it was idle')
  const closing = connect()
  closing.slot.state = 'closing'
  closing.socket.emit('close')
  assert.equal(closing.slot.fault, undefined)
  const own = connect()
  own.slot.state = 'lent'
  own.socket.destroy()
  own.socket.emit('close')
  assert.equal(own.slot.fault?.reason, 'broken')
  assert.equal(liveness.counts.found.events, 1)
  const heard = connect()
  clock.compute(5)
  heard.socket.emit('data', Buffer.from('x'))
  assert.equal(heard.slot.watch?.heardAt, clock.now())
  assert.equal(heard.slot.fault?.reason, 'dirty')
})
