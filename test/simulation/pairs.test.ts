import { describe, test } from 'node:test'
import { BURSTS, configurations, nameOf, TRIPLES, WITH_MIN } from './configurations.ts'
import { explore } from './explorer.ts'
import { SmallWorld } from './small-world.ts'

/** So many orders are tried here; all of them by `npm run simulate -- --exhaustive`. */
const ORDERS = Number(process.env.LIFEGUARD_ORDERS ?? 30)

const pairs = configurations(2).filter(({ faults }) => faults.length > 1)

describe('many orders of events with several faults keep the invariants, and come to a good end', () => {
  for (const [setups, limit] of [
    [pairs, ORDERS],
    [[...WITH_MIN, ...TRIPLES, ...BURSTS], 5 * ORDERS],
  ] as const) {
    for (const setup of setups)
      test(nameOf(setup), async t => {
        const { states, orders } = await explore(() => new SmallWorld(setup), { orders: limit })
        t.diagnostic(`${states} states, ${orders} orders${orders === limit ? ' of more' : ''}`)
      })
  }
})
