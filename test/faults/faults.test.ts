/* A part of the fault matrix: each fault at a few moments. The whole: `npm run test:faults`. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { withRedis } from '../support/redis.ts'
import { runCell } from './cell.ts'
import { FAULTS } from './faults.ts'
import { openNetwork } from './network.ts'
import { PHASES } from './phases.ts'
import { type FaultWorld, TRANSPORTS } from './world.ts'

const { skip, stop } = await withRedis()
await stop()

/** So many moments of each fault. */
const MOMENTS = 3
/** What a machine that pauses adds to any fault. */
const LATE = /timed out|within \d+ ms|DRAIN_TIMEOUT/

describe('a fault on a real server: nothing hangs, leaks or stays broken, and the error says why', {
  skip,
  concurrency: 4,
}, () => {
  FAULTS.forEach((fault, index) => {
    for (let moment = 0; moment < MOMENTS; moment += 1) {
      const phase = PHASES[(index + moment * 3) % PHASES.length] as (typeof PHASES)[number]
      const transport = fault.inNetwork ? 'plain' : (TRANSPORTS[(index + moment) % 3] as 'plain')
      test(`${fault.name}, ${phase.name}, ${transport}`, async t => {
        const { skipped, wrong } = await runCell(fault, phase, transport)
        if (skipped !== undefined) t.skip(skipped)
        assert.deepEqual(
          wrong.filter(each => !(each.startsWith('false error') && LATE.test(each))),
          [],
        )
      })
    }
  })
})

describe('a fault that lasts longer than its network touches it no more, and ends', { skip }, () => {
  for (const { name, strike, lift } of FAULTS.filter(({ inNetwork }) => inNetwork))
    test(name, async t => {
      const network = await openNetwork()
      if (typeof network === 'string') return t.skip(network)
      const world = { network } as FaultWorld
      await strike(world)
      network.stop()
      await assert.doesNotReject(async () => await lift?.(world))
    })
})
