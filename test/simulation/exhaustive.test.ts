import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { configurations, nameOf } from './configurations.ts'
import { type Explored, explore, Found } from './explorer.ts'
import { SmallWorld } from './small-world.ts'

/** So many orders of each are tried here; all of them by `npm run simulate -- --exhaustive`. */
const ORDERS = Number(process.env.LIFEGUARD_ORDERS ?? 600)

describe('every order of events keeps the invariants, and comes to a good end once the faults cease', () => {
  for (const setup of configurations(2)) {
    if (setup.faults.length > 1) continue
    test(nameOf(setup), async t => {
      const { states, orders, longest } = await explore(() => new SmallWorld(setup), { orders: ORDERS })
      t.diagnostic(`${states} states, ${orders} orders, ${longest} events`)
    })
  }
})

describe('the search', () => {
  test('finds the only bad order of three events, and repeats it', async () => {
    const make = (): Explored => {
      const done: string[] = []
      return {
        enabled: () => ['a', 'b', 'c'].filter(event => !done.includes(event)),
        take: async event => {
          done.push(event)
          assert.notEqual(done.join(''), 'cab')
        },
        state: () => done.join(''),
        finish: async () => {},
      }
    }
    await assert.rejects(explore(make), (error: Found) => {
      assert.ok(error instanceof Found)
      assert.deepEqual(error.events, ['c', 'a', 'b'])
      return true
    })
  })

  test('reaches the same states without its memory of states', async () => {
    for (const faults of [['abort'], ['create fails']] as const) {
      const setup = { max: 1, min: 0, tasks: ['acquire', 'use'], faults, timers: 0 } as const
      const [hashed, plain] = [
        await explore(() => new SmallWorld(setup)),
        await explore(() => new SmallWorld(setup), { withoutHash: true }),
      ]
      assert.equal(hashed.states, plain.states)
      assert.ok(plain.orders > hashed.orders)
    }
  })
})
