/** A lease or a waiting acquire, as far as it is known where it comes from. */
interface Traced {
  readonly trace: { readonly text: string } | undefined
}

/** The stack with which it was asked for, if that was noted. */
export function whereTaken({ trace }: Traced): string | undefined {
  return trace === undefined || trace.text === '' ? undefined : trace.text
}

/** The first line of that which names a file. */
export function callSite(stack: string | undefined): string | undefined {
  return stack
    ?.split('\n')
    .find(line => line.trimStart().startsWith('at '))
    ?.trim()
}

/** The pools of which its context held a lease already, from the innermost outwards. Nobody keeps track of that yet. */
export function nestedUnder(_traced: Traced): string[] | undefined {
  return undefined
}
