/*
 * Pools that share one injected clock, and what they have told of deadlocks and nested acquires.
 */

import type { Factory } from '../../src/api/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { createPool, type Pool, type PoolError } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { JumpingClock } from '../support/jumping-clock.ts'

export interface Thing {
  readonly id: number
  busy: boolean
}

/** The grace of all pools here unless a test says otherwise. */
export const GRACE = 50

/** Pools on one clock that the test moves. */
export class World {
  readonly clock = new JumpingClock()
  readonly sleep = this.clock.sleep
  /** Deadlocks that any pool of this world has told of. */
  deadlocks: string[][] = []
  nested = 0
  readonly #pools: Pool<Thing>[] = []
  #made = 0

  factory(): Factory<Thing> {
    return {
      create: async () => {
        this.#made += 1
        return { id: this.#made, busy: false }
      },
      destroy: () => {},
      busy: thing => thing.busy,
    }
  }

  pool(options: PoolOptions = {}, factory: Factory<Thing> = this.factory()): Pool<Thing> {
    const given = { deadlockGraceMillis: GRACE, acquireTimeoutMillis: 60_000, ...options }
    const pool = openPool(factory, given, true, { clock: this.clock, random: Math.random })
    pool.on('deadlock', ({ pools }) => this.deadlocks.push(pools))
    pool.on('nested', () => {
      this.nested += 1
    })
    this.#pools.push(pool)
    return pool
  }

  /** Closes all pools: those of earlier worlds would take part in what later ones do. */
  async end(): Promise<void> {
    let hasEnded = false
    const ended = Promise.all(this.#pools.map(pool => pool.close())).finally(() => {
      hasEnded = true
    })
    await this.clock.advance(60_000, () => hasEnded)
    await ended
  }
}

/** How each ended: its value, or the code of its error. V8 sees that they are awaited, which `then` would hide. */
export async function endings(promises: readonly Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(promises)
  return settled.map(each =>
    each.status === 'fulfilled' ? (each.value ?? 'done') : ((each.reason as PoolError).code ?? each.reason),
  )
}

/** What it fails with; awaited as above. */
export async function failure(promise: Promise<unknown>): Promise<PoolError> {
  try {
    await promise
  } catch (error) {
    return error as PoolError
  }
  throw new Error('it did not fail')
}

/** How many of each. */
export function tally(values: readonly unknown[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[String(value)] = (counts[String(value)] ?? 0) + 1
  return counts
}

export { createPool }
