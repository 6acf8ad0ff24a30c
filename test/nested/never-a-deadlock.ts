/*
 * `never(danger, case)`: a test of what must not be taken for a deadlock, a thousand times at once.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endings, tally, World } from './pools-on-one-clock.ts'

export const TIMES = 1000

type Case = (world: World, run: number) => Promise<unknown>

/**
 * What must never be taken for a deadlock. The case runs many times at once on one clock, each time on pools of its
 * own, with sleeps that differ from run to run.
 */
export function never(
  danger: string,
  oneCase: Case,
  { time = 3000, times = TIMES, nested }: { time?: number; times?: number; nested?: number } = {},
) {
  test(danger, async () => {
    const world = new World()
    const ended = endings(Array.from({ length: times }, (_, run) => oneCase(world, run)))
    await world.clock.advance(time)
    assert.deepEqual(tally(await ended), { done: times })
    assert.deepEqual(world.deadlocks, [])
    if (nested !== undefined) assert.equal(world.nested, nested)
  })
}
