import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import { leasesOfUse } from '../nested/process-wide.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'

/** The most pools that are named for one deep nesting. */
const MOST_NAMED = 4

/**
 * The stack of the acquire call of a lease or a waiter, if it was recorded and may be shown. Under `captureStacks:
 * 'off'`, the pool still records some for its own use.
 */
export function whereTaken(
  { trace }: { readonly trace: StackTrace | undefined },
  { captureStacks }: Pick<ResolvedOptions, 'captureStacks'>,
): string | undefined {
  if (trace === undefined || captureStacks === 'off') return undefined
  return trace.text === '' ? undefined : trace.text
}

/** The line of a stack that names the user's own file. */
export function callSite(stack: string | undefined): string | undefined {
  const frames = stack?.split('\n').filter(line => line.trimStart().startsWith('at ')) ?? []
  return (frames.find(line => !/\/node_modules\/|\(node:/.test(line)) ?? frames[0])?.trim()
}

/** The pools whose `use` leases, still held, surround this acquire call, from the innermost outwards. */
export function nestedUnder(asked: StackTrace | undefined): string[] | undefined {
  if (asked === undefined || asked.leases.length === 0) return undefined
  const held = leasesOfUse(asked).map(({ pool }) => `'${pool.name}'`)
  if (held.length > MOST_NAMED)
    held.splice(MOST_NAMED - 1, held.length, `${held.length - MOST_NAMED + 1} more`)
  return held.length === 0 ? undefined : held
}
