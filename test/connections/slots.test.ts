import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SlotState } from '../../src/api/stats.ts'
import type { Handles } from '../../src/connections/handles.ts'
import { Grant, isCurrent, type Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { Chance, seedFrom } from '../support/random.ts'

const STATES = ['connecting', 'idle', 'validating', 'lent', 'resetting', 'closing', 'closed'] as const

/** The moves that there are. */
const MOVES: Record<SlotState, readonly SlotState[]> = {
  connecting: ['idle', 'validating', 'closing', 'closed'],
  idle: ['lent', 'validating', 'closing'],
  validating: ['idle', 'closing'],
  lent: ['idle', 'resetting', 'closing'],
  resetting: ['idle', 'closing'],
  closing: ['closed'],
  closed: [],
}

test('after any moves: the counts are a recount, the idle stand by age, a resource is known while it may be used', () => {
  const chance = new Chance(seedFrom('LIFEGUARD_SEED'))
  const slots = new Slots<object>()
  const all: Slot<object>[] = []
  let firstIdle = 0
  slots.onFirstIdle = () => {
    firstIdle += 1
  }
  for (let step = 0; step < 3000; step += 1) {
    if (all.length < 10 || chance.oneIn(6)) {
      all.push(slots.add(0, step))
      continue
    }
    const slot = chance.pick(all)
    if (slot.state === 'closed') continue
    const to = chance.pick(MOVES[slot.state])
    const wasIdle = slots.counts.idle
    if (slot.state === 'connecting' && to !== 'closed') slots.register(slot, { id: slot.id })
    firstIdle = 0
    // Validated while idle: its age stays, and it goes back to its place. In the same millisecond: behind its like.
    if (to === 'idle' && (slot.state !== 'validating' || chance.oneIn(3))) slot.idleSince = step >> 2
    slots.move(slot, to)
    assert.equal(firstIdle, to === 'idle' && wasIdle === 0 ? 1 : 0)
    check(`seed ${chance.seed}, step ${step}`)
  }

  function check(message: string): void {
    const count = (state: SlotState): number => all.filter(slot => slot.state === state).length
    for (const state of STATES)
      assert.equal(slots.counts[state], state === 'closed' ? 0 : count(state), `${state}, ${message}`)
    const open = all.filter(({ state }) => state !== 'closing' && state !== 'closed')
    assert.equal(slots.size, open.length, message)
    assert.equal(slots.permitsInUse, open.length + count('closing'), message)
    assert.equal(slots.open, open.length - count('connecting'), message)
    assert.deepEqual(
      [...slots.all].map(({ id }) => id),
      all.filter(({ state }) => state !== 'closed').map(({ id }) => id),
    )
    const idle = slots.idleSlots()
    assert.equal(idle.length, count('idle'), message)
    for (const [index, slot] of idle.entries()) {
      assert.equal(slot.state, 'idle', message)
      assert.ok(index === 0 || (idle[index - 1] as Slot<object>).idleSince <= slot.idleSince, message)
    }
    assert.equal(slots.nextIdle(true), idle[0], message)
    assert.equal(slots.nextIdle(false), idle.at(-1), message)
    for (const slot of all) {
      if (slot.resource === undefined) continue
      const isKnown = slot.state !== 'closing' && slot.state !== 'closed'
      assert.equal(slots.owns(slot.resource), isKnown, message)
      assert.equal(slots.slotOf(slot.resource), isKnown ? slot : undefined, message)
      assert.equal(slots.lentSlot(slot.resource), slot.state === 'lent' ? slot : undefined, message)
      if (slot.state !== 'idle') assert.deepEqual([slot.next, slot.previous], [undefined, undefined], message)
    }
  }
})

test('of two that became idle in the same millisecond, the first stays the first', () => {
  const slots = new Slots<object>()
  const added = [slots.add(0, 0), slots.add(0, 0), slots.add(0, 0)]
  for (const slot of added) {
    slot.idleSince = 5
    slots.move(slot, 'idle')
  }
  assert.deepEqual(slots.idleSlots(), added)
})

test('a move that does not exist is refused, and changes nothing', () => {
  for (const from of STATES)
    for (const to of STATES) {
      const slots = new Slots<object>()
      const slot = slots.add(0, 0)
      slots.register(slot, {})
      slot.state = from
      slots.counts.connecting = 0
      slots.counts[from] = 1
      if (MOVES[from].includes(to)) continue
      assert.throws(() => slots.move(slot, to), /lifeguard-pool bug/)
      assert.equal(slot.state, from)
      assert.equal(slots.counts[from], 1)
    }
})

test('others are told of each move, but not of the two of every loan', () => {
  const slots = new Slots<object>()
  const told: string[] = []
  slots.onMove = (slot, from) => told.push(`${from} to ${slot.state}`)
  const slot = slots.add(0, 0)
  slots.register(slot, {})
  for (const to of [
    'idle',
    'lent',
    'idle',
    'validating',
    'idle',
    'lent',
    'resetting',
    'idle',
    'closing',
    'closed',
  ] as const)
    slots.move(slot, to)
  assert.deepEqual(told, [
    'undefined to connecting',
    'connecting to idle',
    'idle to validating',
    'validating to idle',
    'lent to resetting',
    'resetting to idle',
    'idle to closing',
    'closing to closed',
  ])
})

test('a resource that create returns a second time does not get a second record', () => {
  const slots = new Slots<object>()
  const resource = {}
  const [first, second] = [slots.add(0, 0), slots.add(0, 0)]
  assert.notEqual(first.id, second.id)
  assert.equal(slots.register(first, resource), true)
  assert.equal(slots.register(second, resource), false)
  assert.equal(second.resource, undefined)
  assert.equal(slots.slotOf(resource), first)
})

/** Handles that are plain objects, with their owner beside them. */
function handlesOf() {
  const owners = new Map<object, object>()
  const unlent: object[] = []
  const handles: Handles<object> = {
    lend(resource, owner) {
      const handle = { of: resource }
      owners.set(handle, owner)
      return handle
    },
    ownerOf: handle => owners.get(handle),
    unlend(handle) {
      owners.delete(handle)
      unlent.push(handle)
      return { left: 'transaction', detail: 'a MULTI' }
    },
  }
  return { handles, owners, unlent }
}

test('where loans have handles, only the handle of this loan returns the connection', () => {
  const { handles, owners, unlent } = handlesOf()
  const slots = new Slots<object>(handles)
  const slot = slots.add(0, 0)
  const resource = {}
  slots.register(slot, resource)
  assert.equal(slot.lent, undefined, 'nothing is lent yet')
  assert.equal(slot.served, undefined)
  const lend = (): object => {
    slots.move(slot, 'lent')
    slots.beginLoan(slot)
    return slot.lent as object
  }
  slots.move(slot, 'idle')
  const first = lend()
  assert.equal(slots.lentSlot(first), slot)
  assert.equal(slots.slotOf(resource), slot)
  assert.equal(slots.lentSlot(resource), undefined, 'the connection behind it is not for the borrower')
  assert.equal(slots.slotOf(Object.create(first)), undefined)
  assert.equal(slots.endLoan(slot)?.left, 'transaction')
  assert.equal(slots.endLoan(slot), undefined, 'once')
  slots.move(slot, 'idle')
  const second = lend()
  assert.equal(slots.lentSlot(first), undefined, 'of the loan before')
  // A handle that still names its owner, though another loan has begun.
  owners.set(first, slot)
  assert.equal(slots.slotOf(first), undefined)
  assert.equal(slots.lentSlot(second), slot)
  unlent.splice(0)
  slots.move(slot, 'closing')
  assert.deepEqual(unlent, [second], 'a forced close ends the loan')
  owners.set(second, slot)
  assert.equal(slots.slotOf(second), undefined, 'its connection is not known any more')
})

test('a handle whose slot belongs to another pool returns nothing here', () => {
  const { handles } = handlesOf()
  const [here, there] = [new Slots<object>(handles), new Slots<object>(handles)]
  const slot = there.add(0, 0)
  there.register(slot, {})
  there.move(slot, 'idle')
  there.move(slot, 'lent')
  there.beginLoan(slot)
  assert.equal(here.slotOf(slot.lent as object), undefined)
  assert.equal(there.slotOf(slot.lent as object), slot)
})

test('without handles the resource itself is lent, and its promise is made once', async () => {
  const slots = new Slots<object>()
  assert.equal(slots.hasHandles, false)
  assert.equal(new Slots<object>(handlesOf().handles).hasHandles, true)
  const slot = slots.add(0, 0)
  const resource = {}
  slots.register(slot, resource)
  assert.equal(slot.lent, resource)
  assert.equal(await slot.served, resource)
  slots.beginLoan(slot)
  assert.equal(slot.lent, resource)
  assert.equal(slots.endLoan(slot), undefined)
})

test('nothing is held against a connection before its first loan', () => {
  const slot = new Slots<object>().add(0, 0)
  assert.deepEqual([slot.isDoubtful, slot.isLeakSuspect, slot.isHalfCloseAnnounced], [false, false, false])
})

test('a grant is good for its own loan only, and only while that lasts', () => {
  const slots = new Slots<object>()
  const slot = slots.add(0, 0)
  slots.register(slot, {})
  slots.move(slot, 'idle')
  slots.move(slot, 'lent')
  slot.loan = 1
  const { loan } = new Grant(slot)
  assert.equal(isCurrent(slot, loan), true)
  slots.move(slot, 'idle')
  assert.equal(isCurrent(slot, loan), false)
  slots.move(slot, 'lent')
  slot.loan = 2
  assert.equal(isCurrent(slot, loan), false)
})
