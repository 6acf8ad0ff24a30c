/*
 * `never(danger, case)`: a test of what must not be taken for a deadlock, a thousand times at once.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endings, World } from './pools-on-one-clock.ts'

export const TIMES = 50

type Case = (world: World, run: number) => Promise<unknown>

/**
 * What must never be taken for a deadlock. The case runs many times, with sleeps that differ from run to run, each time
 * in a world of its own: at once, the runs would be taken for each other's.
 */
export function never(
  danger: string,
  oneCase: Case,
  { times = TIMES, nested }: { times?: number; nested?: number } = {},
) {
  test(danger, async () => {
    for (let run = 0; run < times; run += 1) {
      const world = new World()
      let isOver = false
      const ended = endings([oneCase(world, run)]).finally(() => {
        isOver = true
      })
      await world.clock.advance(60_000, () => isOver)
      assert.deepEqual([await ended, world.deadlocks], [['done'], []], `run ${run}`)
      if (nested !== undefined) assert.equal(world.nested, nested, `run ${run}`)
      await world.end()
    }
  })
}
