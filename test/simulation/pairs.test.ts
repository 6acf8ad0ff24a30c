import { describe, test } from 'node:test'
import { BURSTS, configurations, isLarge, nameOf, TRIPLES, WITH_MIN } from './configurations.ts'
import { explore } from './explorer.ts'
import { SmallWorld } from './small-world.ts'
import { figuresOf } from './state-graph.ts'

/** So many runs are tried here; all orders by `npm run simulate -- --exhaustive`. */
const RUNS = Number(process.env.LIFEGUARD_RUNS ?? 3)

const all = configurations(2)
const pairs = all.filter(({ faults }) => faults.length > 1)
const large = all.filter(setup => setup.faults.length === 1 && isLarge(setup))

describe('many orders of events, where there are too many to try all, keep the invariants, and come to a good end', () => {
  for (const [setups, limit] of [
    [pairs, RUNS],
    [[...large, ...WITH_MIN, ...TRIPLES, ...BURSTS], 5 * RUNS],
  ] as const) {
    for (const setup of setups)
      test(nameOf(setup), async t => {
        const { states, isWhole } = figuresOf(await explore(() => new SmallWorld(setup), { runs: limit }))
        t.diagnostic(`${states} states${isWhole ? '' : ' of more'}`)
      })
  }
})
