import assert from 'node:assert/strict'
import type { SlotState } from '../../src/connections/slot.ts'
import type { Pool } from '../../src/pool/pool.ts'
import { MOST_MILLIS } from '../../src/pool/stall-grace.ts'
import type { Connection, World } from './world.ts'

const STATES: readonly SlotState[] = [
  'connecting',
  'idle',
  'validating',
  'lent',
  'resetting',
  'closing',
  'closed',
]

/** The numbered invariants of the pool, as they stand in roster.ts, supply.ts and lending.ts. */
export function assertInvariants(pool: Pool<Connection>, world: World, mostHeld: number, now: number): void {
  const { roster, gate, supply, options, stalls } = pool._insides
  const slots = [...roster.slots]
  for (const state of STATES) {
    const counted = slots.filter(slot => slot.state === state).length
    assert.equal(
      roster.census[state],
      counted,
      `1: the census says ${roster.census[state]} ${state}, there are ${counted}`,
    )
  }
  const idle = roster.idleSlots()
  assert.equal(idle.length, roster.census.idle, '2: the idle list holds the idle slots')
  assert.ok(
    idle.every(slot => slot.state === 'idle'),
    '2: and nothing else',
  )
  assert.ok(
    idle.every((slot, index) => index === 0 || (idle[index - 1]?.idleSince ?? 0) <= slot.idleSince),
    '2: longest idle first',
  )
  for (const slot of slots) {
    const known = slot.resource !== undefined && roster.lent(slot.resource) === slot
    assert.equal(
      known,
      slot.state === 'lent',
      `3: slot ${slot.id} is ${slot.state} and known as lent: ${known}`,
    )
  }
  assert.ok(roster.held <= mostHeld, `4: ${roster.held} permits held, ${mostHeld} allowed`)
  if (gate.waiting > 0) {
    const fit = idle.filter(slot => slot.fault === undefined && slot.generation === supply.generation)
    assert.ok(
      fit.length === 0 || supply.incoming >= gate.waiting,
      `5: ${gate.waiting} wait although ${fit.length} are idle`,
    )
    const served = gate.waiting - supply.incoming <= 0 || supply.spare <= 0
    const paused = supply.breaker.failures > 0 || supply.isPausing
    assert.ok(
      served || paused,
      `5: ${gate.waiting} wait, ${supply.incoming} on their way, ${supply.spare} permits free`,
    )
  }
  // After a stall, those whose time ran out meanwhile may be let wait on for a moment.
  const stalled = now - (stalls.last?.until ?? Number.NEGATIVE_INFINITY) < MOST_MILLIS + 5
  for (const waiter of gate.waiters()) {
    const deadline = waiter.deadline(options.acquireTimeoutMillis)
    assert.ok(deadline > now || stalled, `6: a waiter is still there ${now - deadline} ms after its deadline`)
  }
  const connected = slots.filter(slot => ['idle', 'validating', 'lent', 'resetting'].includes(slot.state))
  assert.equal(world.opened - world.closed, connected.length, '7: opened = closed + owned')
  assert.ok(options.max >= 1)
}
