import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import genericPool from 'generic-pool'
import ours from '../../src/index.ts'
import { eventually, turns } from '../support/factories.ts'

/* Differences that docs/migrating.md tells, on both pools: if generic-pool changes, the page must. */

const createOurs = ours.createPool as unknown as typeof genericPool.createPool

function counted(): {
  factory: { create(): Promise<object>; destroy(): Promise<void> }
  made(): number
  ended(): number
} {
  let made = 0
  let ended = 0
  const factory = {
    create: async () => ({ id: ++made }),
    destroy: async () => {
      ended += 1
    },
  }
  return { factory, made: () => made, ended: () => ended }
}

const POOLS = [
  ['generic-pool', genericPool.createPool],
  ['this pool', createOurs],
] as const

describe('what differs from generic-pool, as the page for those who migrate says', () => {
  for (const [name, createPool] of POOLS) {
    const isOurs = name === 'this pool'

    test(`${name}: available after clear`, async () => {
      const { factory, ended } = counted()
      const pool = createPool(factory, { max: 2 })
      await pool.release(await pool.acquire())
      await pool.clear()
      assert.equal(pool.size, 0)
      assert.equal(pool.available, isOurs ? 0 : 1)
      await pool.clear()
      assert.equal(ended(), isOurs ? 1 : 2, 'a second clear')
    })

    test(`${name}: what min still lacks when a drain begins`, async () => {
      const { factory, made } = counted()
      const pool = createPool(factory, { max: 10, min: 10 })
      await pool.drain()
      await turns(20)
      assert.ok(isOurs ? made() <= 4 : made() === 10, String(made()))
      await pool.clear()
    })

    test(`${name}: min is refilled after a clear without a drain`, async () => {
      const { factory, made } = counted()
      const pool = createPool(factory, { max: 2, min: 2 })
      await eventually(() => made() === 2)
      await pool.clear()
      assert.equal(pool.size, isOurs ? 0 : 2, 'as clear resolves')
      await eventually(() => pool.size === 2)
      await pool.drain()
      await pool.clear()
    })

    test(`${name}: ready of a pool whose min is lent`, async () => {
      const { factory } = counted()
      const pool = createPool(factory, { max: 2, min: 1 })
      const lent = await pool.acquire()
      let isReady = false
      const ready = pool.ready().then(() => {
        isReady = true
      })
      if (isOurs) await ready
      else await turns(20)
      assert.equal(isReady, isOurs)
      await pool.release(lent)
      await ready
      await pool.drain()
      await pool.clear()
    })

    test(`${name}: a validate that answers undefined`, async () => {
      const { factory, made } = counted()
      const validate = async (): Promise<boolean> => undefined as unknown as boolean
      const pool = createPool(
        { ...factory, validate },
        { max: 1, testOnBorrow: true, acquireTimeoutMillis: 300 },
      )
      const outcome = await pool.acquire().then(
        resource => pool.release(resource).then(() => 'lent'),
        error => error.name,
      )
      assert.equal(outcome, isOurs ? 'TimeoutError' : 'lent')
      assert.ok(made() >= 1)
      await pool.drain()
      await pool.clear()
    })
  }
})
