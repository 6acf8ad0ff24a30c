/* The small configurations whose every order of events is tried. */

import { type Call, FAULTS, type Fault, type Setup } from './small-world.ts'

const CALLS: readonly Call[] = ['acquire', 'use', 'lease']

/** One fault, each pair of faults, and none; for so many tasks. */
export function configurations(tasks: number, { max = 2, min = 0, timers = 1 } = {}): Setup[] {
  const pairs = FAULTS.flatMap((fault, index) =>
    FAULTS.slice(index + 1).map(other => [fault, other] as const),
  )
  const sets: (readonly Fault[])[] = [[], ...FAULTS.map(fault => [fault] as const), ...pairs]
  return sets.map(faults => ({ max, min, tasks: CALLS.slice(0, tasks), faults, timers }))
}

export const nameOf = ({ faults, tasks, max, min }: Setup): string =>
  `${faults.length === 0 ? 'no fault' : faults.join(' + ')} (${tasks.length} tasks, max ${max}, min ${min})`
