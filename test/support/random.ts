import { Chance as RepeatableChance } from '../../src/testing/chance.ts'

/** Repeatable chance for tests that print their seed. */
export class Chance extends RepeatableChance {
  readonly seed: number

  constructor(seed: number) {
    super(seed)
    this.seed = seed
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    return Math.floor(this.next() * below)
  }

  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }

  pick<E>(from: readonly E[]): E {
    if (from.length === 0) throw new Error('nothing to pick from')
    return from[this.below(from.length)] as E
  }
}

/** The seed from the environment, to repeat a failure, or a new one. */
export function seedFrom(variable: string): number {
  const given = process.env[variable]
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
}
