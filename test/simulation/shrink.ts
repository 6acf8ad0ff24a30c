/* Delta debugging: the least program that still fails in the same way. */

import type { Program, Step } from './program.ts'

/** How a program fails, without numbers and texts that change; undefined if it does not. */
export type Failing = (program: Program) => Promise<string | undefined>

export const kindOf = (error: unknown): string =>
  ((error as Error).message.split('\n')[0] ?? '').replaceAll(/\d+(?:\.\d+)?/g, 'n').slice(0, 160)

/** @param most - how many programs may be run */
export async function shrink(program: Program, failing: Failing, most = 600): Promise<Program> {
  const kind = await failing(program)
  let best = program
  let runs = 0
  const isStill = async (candidate: Program): Promise<boolean> => {
    runs += 1
    if (runs > most || (await failing(candidate)) !== kind) return false
    best = candidate
    return true
  }
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.steps.length; ) {
      const steps = best.steps.filter((_, index) => index < at || index >= at + size)
      if (!(await isStill({ ...best, steps }))) at += size
    }
  }
  for (const name of Object.keys(best.options)) {
    const { [name as 'max']: _, ...options } = best.options
    await isStill({ ...best, options })
  }
  for (const trait of ['lazy', 'blind', 'greets', 'resets'] as const)
    await isStill({ ...best, [trait]: false })
  for (let at = 0; at < best.steps.length; at += 1) {
    const [op, a, b] = best.steps[at] as Step
    for (const simpler of [
      [op, 0, 0],
      [op, a, 0],
      [op, Math.round(a / 100) * 100, b],
    ] as Step[])
      if (await isStill({ ...best, steps: best.steps.with(at, simpler) })) break
  }
  return best
}
