/* Stacks that a test writes down, of acquires in line 1 of a function. */

import type { Lease } from '../../src/nested/host.ts'
import { PlainLeases } from '../../src/nested/plain-leases.ts'
import type { Frame, StackTrace } from '../../src/runtime/stack-trace.ts'

export const frameOf = (func: string, position: number): Frame => ({
  ...{ func, position, place: `${func}:${position}`, text: func },
  ...{ async: true, begun: true, joins: false, lease: undefined },
})

export const stackOf = (...frames: Frame[]): StackTrace =>
  ({ frames, owners: undefined }) as unknown as StackTrace

/** The stack of an acquire in line 1 of this function, handed over to the same function. */
export const takenIn = (func: string): StackTrace =>
  Object.assign(stackOf(frameOf(func, 1)), { owners: stackOf(frameOf(func, 1)) })

/** Does a run of this function that waits in line 9 look as if it held the connection that it took in line 1? */
export function looksLikeHolder(func: string): boolean {
  const leases = new PlainLeases()
  leases.add({ connection: { trace: takenIn(func) }, loan: 1, isPlain: true } as unknown as Lease)
  return leases.matches([frameOf(func, 9)]).length > 0
}
