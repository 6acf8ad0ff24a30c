import type { ResolvedOptions } from '../api/resolve-options.ts'
import { leasesOfUse } from '../nested/process-wide.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'

/** The most that are named of a deep nesting. */
const MOST = 4

/**
 * The stack with which a lease or a waiting acquire was asked for, if that was noted and may be shown: the pool notes
 * some for itself under `captureStacks: 'off'`, too.
 */
export function whereTaken(
  { trace }: { readonly trace: StackTrace | undefined },
  { captureStacks }: Pick<ResolvedOptions, 'captureStacks'>,
): string | undefined {
  if (trace === undefined || captureStacks === 'off') return undefined
  return trace.text === '' ? undefined : trace.text
}

/** The line of a stack that names the user's file. */
export function callSite(stack: string | undefined): string | undefined {
  const frames = stack?.split('\n').filter(line => line.trimStart().startsWith('at ')) ?? []
  return (frames.find(line => !/\/node_modules\/|\(node:/.test(line)) ?? frames[0])?.trim()
}

/** The pools of which whoever asked there held a lease of `use`, and holds it still, from the innermost outwards. */
export function nestedUnder(asked: StackTrace | undefined): string[] | undefined {
  if (asked === undefined || asked.leases.length === 0) return undefined
  const held = leasesOfUse(asked).map(({ pool }) => `'${pool.name}'`)
  if (held.length > MOST) held.splice(MOST - 1, held.length, `${held.length - MOST + 1} more`)
  return held.length === 0 ? undefined : held
}
