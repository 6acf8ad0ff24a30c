/* Runs a random program; a program that fails is made shorter, and told as a test. */

import type { Program } from './program.ts'
import { asTest } from './program.ts'
import { Service } from './service.ts'
import { kindOf, shrink } from './shrink.ts'

/** @returns the hash of all that has happened */
export async function runProgram(program: Program): Promise<string> {
  const service = new Service(program)
  await service.run(program.steps)
  return service.world.hash
}

/** What a program that fails is told by. */
export interface Failure {
  readonly kind: string
  readonly shortest: Program
  readonly text: string
}

const failing = async (program: Program): Promise<string | undefined> => {
  try {
    await runProgram(program)
    return undefined
  } catch (error) {
    return kindOf(error)
  }
}

/** @returns undefined if the program does not fail */
export async function failureOf(program: Program): Promise<Failure | undefined> {
  const kind = await failing(program)
  if (kind === undefined) return undefined
  const shortest = await shrink(program, failing)
  return { kind, shortest, text: asTest(shortest, kind) }
}
