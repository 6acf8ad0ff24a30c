/* What reading or searching has found, each as the shortest order of events that shows it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPool } from '../../src/pool/create-pool.ts'
import { settle } from '../support/clock.ts'
import { replay } from './explorer.ts'
import { type Fault, type Setup, SmallWorld } from './small-world.ts'
import { StepClock } from './step-clock.ts'

/** The process is stopped between two instructions: right after it has read the clock so many times more. */
class StoppedClock extends StepClock {
  readsLeft = Number.POSITIVE_INFINITY

  override now(): number {
    const now = super.now()
    this.readsLeft -= 1
    if (this.readsLeft === 0) this.stall(300)
    return now
  }
}

test('a create that hangs is not counted on if the loop stood still between the acquire and its create', async () => {
  for (let reads = 1; reads <= 8; reads += 1)
    assert.equal(await createsOfTwo(reads), 2, `after ${reads} readings`)
})

/** @returns how many creates are made for a caller that waits in vain and the next one, if every create hangs */
async function createsOfTwo(reads: number): Promise<number> {
  const clock = new StoppedClock()
  let creates = 0
  const pool = openPool(
    {
      create: () => {
        creates += 1
        return new Promise<object>(() => {})
      },
      destroy: () => {},
    },
    { max: 2, acquireTimeoutMillis: 1000, createTimeoutMillis: 60_000, nested: 'allow' },
    false,
    { clock, random: () => 0.5 },
  )
  const refused = (promise: Promise<unknown>): void => void promise.catch(() => {})
  await settle()
  clock.readsLeft = reads
  refused(pool.acquire())
  await settle()
  while (pool.pending > 0) {
    if (clock.turnsPending === 0) clock.fire()
    await settle()
    await clock.turnLoop(() => 0)
  }
  refused(pool.acquire())
  return creates
}

const order = (
  faults: readonly Fault[],
  events: readonly string[],
  setup: Partial<Setup> = {},
): Promise<void> =>
  replay(
    new SmallWorld({ max: 2, min: 0, tasks: ['acquire', 'use', 'lease'], timers: 9, faults, ...setup }),
    events,
  )

test('a first connect after an outage that is still watched does not hold up the connects of others', () =>
  order(['stall'], ['start 0', 'timer', 'start 1', 'created 0', 'stall']))
