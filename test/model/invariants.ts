/*
 * The numbered invariants of docs/architecture.md, asserted on the parts of a pool after every step of the model test.
 */

import assert from 'node:assert/strict'
import type { SlotState } from '../../src/api/stats.ts'
import type { Pool } from '../../src/pool/pool.ts'
import { MAX_GRACE_MILLIS } from '../../src/runtime/time/stalls.ts'
import { insidesOf } from '../support/insides.ts'
import type { Connection, World } from './scripted-server.ts'

const STATES: readonly SlotState[] = [
  'connecting',
  'idle',
  'validating',
  'lent',
  'resetting',
  'closing',
  'closed',
]

/** The numbered invariants of the pool, as they stand in slots.ts, connector.ts and lending.ts. */
export function assertInvariants(pool: Pool<Connection>, world: World, mostHeld: number, now: number): void {
  const { slots, queue, connector, options, stalls } = insidesOf(pool)
  const all = [...slots.all]
  for (const state of STATES) {
    const counted = all.filter(slot => slot.state === state).length
    assert.equal(
      slots.counts[state],
      counted,
      `1: the counts say ${slots.counts[state]} ${state}, there are ${counted}`,
    )
  }
  const idle = slots.idleSlots()
  assert.equal(idle.length, slots.counts.idle, '2: the idle list holds the idle slots')
  assert.ok(
    idle.every(slot => slot.state === 'idle'),
    '2: and nothing else',
  )
  assert.ok(
    idle.every((slot, index) => index === 0 || (idle[index - 1]?.idleSince ?? 0) <= slot.idleSince),
    '2: longest idle first',
  )
  for (const slot of all) {
    const known = slot.resource !== undefined && slots.lentSlot(slot.resource) === slot
    assert.equal(
      known,
      slot.state === 'lent',
      `3: slot ${slot.id} is ${slot.state} and known as lent: ${known}`,
    )
  }
  assert.ok(slots.permitsInUse <= mostHeld, `4: ${slots.permitsInUse} permits held, ${mostHeld} allowed`)
  const { capacity } = connector
  for (const { id, state, generation } of capacity.connects)
    assert.ok(
      state === 'connecting' && generation === connector.generation,
      `5: connect #${id} is counted on, but is ${state}, of generation ${generation}`,
    )
  for (const { id, state } of capacity.checks)
    assert.ok(
      state === 'validating' || state === 'resetting' || connector.isStopped,
      `5: check of #${id} is counted on, but is ${state}`,
    )
  if (queue.waiting > 0) {
    const fit = idle.filter(slot => slot.fault === undefined && slot.generation === connector.generation)
    // Where the kernel cannot be asked, the idle ones wait for the next poll phase, and for nobody else.
    assert.ok(
      fit.length === 0 || capacity.incoming >= queue.waiting || capacity.awaitsEventLoop,
      `5: ${queue.waiting} wait although ${fit.length} are idle`,
    )
    const served = queue.waiting - capacity.incoming <= 0 || capacity.freePermits <= 0
    const paused = connector.breaker.failures > 0 || connector.isPausing || !capacity.hasRoomToConnect
    assert.ok(
      served || paused,
      `5: ${queue.waiting} wait, ${capacity.incoming} on their way, ${capacity.freePermits} permits free`,
    )
  }
  // After a stall, those whose time ran out meanwhile may be let wait on for a moment.
  const stalled = now - (stalls.last?.until ?? Number.NEGATIVE_INFINITY) < MAX_GRACE_MILLIS + 5
  for (const waiter of queue.waiters()) {
    const deadline = waiter.deadline
    assert.ok(deadline > now || stalled, `6: a waiter is still there ${now - deadline} ms after its deadline`)
  }
  const connected = all.filter(slot => ['idle', 'validating', 'lent', 'resetting'].includes(slot.state))
  assert.equal(world.opened - world.closed, connected.length, '7: opened = closed + owned')
  assert.ok(options.max >= 1)
}
