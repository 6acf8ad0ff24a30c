import type { ResolvedOptions } from '../api/resolve-options.ts'
import { heldFrom, type Scope } from '../nested/scope.ts'
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

/** The pools of which a context held a lease already, from the innermost outwards. */
export function nestedUnder(outer: Scope | undefined): string[] | undefined {
  const held: string[] = []
  let more = 0
  for (let scope = heldFrom(outer); scope !== undefined; scope = heldFrom(scope.parent)) {
    if (held.length === MOST) more += 1
    else held.push(scope.exact ? `'${scope.member?.name}'` : `'${scope.member?.name}' (as its context says)`)
  }
  if (more > 0) held.splice(MOST - 1, 1, `${more + 1} more`)
  return held.length === 0 ? undefined : held
}
