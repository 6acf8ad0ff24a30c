/* One search with a limited budget, for a mutant: small configurations, then random programs. Ends at the first find. */

import { configurations, nameOf, TRIPLES, WITH_MIN } from './configurations.ts'
import { CORPUS } from './corpus.ts'
import { explore } from './explorer.ts'
import { type Program, programOf } from './program.ts'
import { runProgram } from './run-program.ts'
import { type Setup, SmallWorld } from './small-world.ts'

export interface Budget {
  /** Runs of each pair of faults. */
  readonly runs: number
  readonly seeds: number
}

export const BUDGET: Budget = { runs: 100, seeds: 600 }

/** Of each single fault. */
const MOST_RUNS = 1500
const FEW_SEEDS = 60
const FEW_RUNS = 200

/** @returns how it was found; undefined if it was not */
export async function hunt({ runs, seeds }: Budget): Promise<string | undefined> {
  const say = (where: string, error: unknown): string =>
    `${where}: ${((error as Error).message.split('\n')[0] ?? '').slice(0, 110)}`
  const attempt = async (name: string, program: Program): Promise<string | undefined> => {
    try {
      await runProgram(program)
      return undefined
    } catch (error) {
      return say(name, error)
    }
  }
  const search = async (setup: Setup, limit: number): Promise<string | undefined> => {
    try {
      await explore(() => new SmallWorld(setup), { runs: limit })
      return undefined
    } catch (error) {
      return say(`exhaustive, ${nameOf(setup)}`, error)
    }
  }
  const known = async (): Promise<string | undefined> => {
    for (const each of Object.values(CORPUS)) {
      const found = await attempt('a program of the corpus', each)
      if (found !== undefined) return found
    }
    return undefined
  }
  const programs = async (from: number, until: number): Promise<string | undefined> => {
    for (let seed = from; seed <= Math.min(until, seeds); seed += 1) {
      const found = await attempt(`random, seed ${seed}`, programOf(seed))
      if (found !== undefined) return found
    }
    return undefined
  }
  const searches = async (setups: readonly Setup[], limit: number): Promise<string | undefined> => {
    for (const setup of setups) {
      const found = await search(setup, limit)
      if (found !== undefined) return found
    }
    return undefined
  }
  const all = configurations(2)
  const small = [...all.filter(({ faults }) => faults.length < 2), ...WITH_MIN, ...TRIPLES]
  // What is quick comes first.
  return (
    (await known()) ??
    (await programs(1, FEW_SEEDS)) ??
    (await searches(small, FEW_RUNS)) ??
    (await searches(TRIPLES, MOST_RUNS)) ??
    (await programs(FEW_SEEDS + 1, seeds)) ??
    (await searches(small, MOST_RUNS)) ??
    (await searches(
      all.filter(({ faults }) => faults.length === 2),
      runs,
    ))
  )
}
