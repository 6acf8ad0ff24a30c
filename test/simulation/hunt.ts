/* One search with a limited budget, for a mutant: small configurations, then random programs. Ends at the first find. */

import { configurations, nameOf, TRIPLES, WITH_MIN } from './configurations.ts'
import { explore } from './explorer.ts'
import { programOf } from './program.ts'
import { runProgram } from './run-program.ts'
import { type Setup, SmallWorld } from './small-world.ts'

export interface Budget {
  /** Orders of each pair of faults. */
  readonly orders: number
  readonly seeds: number
}

export const BUDGET: Budget = { orders: 300, seeds: 800 }

/** A single configuration has fewer, but for those with `min`. */
const MOST_ORDERS = 4000

/** @returns how it was found; undefined if it was not */
export async function hunt({ orders, seeds }: Budget): Promise<string | undefined> {
  const say = (where: string, error: unknown): string =>
    `${where}: ${((error as Error).message.split('\n')[0] ?? '').slice(0, 110)}`
  const program = async (seed: number): Promise<string | undefined> => {
    try {
      await runProgram(programOf(seed))
      return undefined
    } catch (error) {
      return say(`random, seed ${seed}`, error)
    }
  }
  const search = async (setup: Setup, limit: number): Promise<string | undefined> => {
    try {
      await explore(() => new SmallWorld(setup), { orders: limit })
      return undefined
    } catch (error) {
      return say(`exhaustive, ${nameOf(setup)}`, error)
    }
  }
  const few = Math.min(seeds, 30)
  for (let seed = 1; seed <= few; seed += 1) {
    const found = await program(seed)
    if (found !== undefined) return found
  }
  const all = configurations(2)
  for (const setup of [...all.filter(({ faults }) => faults.length < 2), ...WITH_MIN, ...TRIPLES]) {
    const found = await search(setup, MOST_ORDERS)
    if (found !== undefined) return found
  }
  for (let seed = few + 1; seed <= seeds; seed += 1) {
    const found = await program(seed)
    if (found !== undefined) return found
  }
  for (const setup of all.filter(({ faults }) => faults.length === 2)) {
    const found = await search(setup, orders)
    if (found !== undefined) return found
  }
  return undefined
}
