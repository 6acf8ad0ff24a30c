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

/** What concerns every pool: of these, each alone and each pair is tried with three tasks, too. */
const CORE: readonly Fault[] = ['abort', 'expiry', 'death', 'invalid', 'close', 'resize', 'purge']

export const CORE_OF_THREE: readonly Setup[] = configurations(3).filter(({ faults }) =>
  faults.every(fault => CORE.includes(fault)),
)

/** Combinations of three that past faults needed. */
export const TRIPLES: readonly Setup[] = (
  [
    ['create hangs', 'close', 'stall'],
    ['abort', 'create hangs', 'close'],
    ['death', 'create fails', 'stall'],
  ] as const
).map(faults => ({ max: 2, min: 0, tasks: ['acquire', 'use'], faults, timers: 1 }))

/** These keep connections while nobody asks. */
export const WITH_MIN: readonly Setup[] = (['create fails', 'create hangs', 'death', 'purge'] as const).map(
  fault => ({ max: 2, min: 2, tasks: ['use'], faults: [fault], timers: 2 }),
)

/** Faults that strike in one step with another event. */
export const BURSTS: readonly Setup[] = configurations(2)
  .filter(({ faults }) => faults.length === 1)
  .map(setup => ({ ...setup, bursts: true }))

/** With one of these alone there are too many states for `npm test`: only `npm run simulate -- --exhaustive` tries all. */
const LARGE: readonly Fault[] = ['fin', 'invalid', 'purge', 'stall', 'reset fails', 'unnoticed death']

export const isLarge = ({ faults }: Setup): boolean => faults.some(fault => LARGE.includes(fault))

/** All that are tried with up to so many tasks. */
export const setsOf = (tasks: number): readonly Setup[] =>
  tasks === 3 ? CORE_OF_THREE : [...configurations(tasks), ...WITH_MIN, ...TRIPLES, ...BURSTS]

export const nameOf = ({ faults, tasks, max, min, bursts }: Setup): string => {
  const what = faults.length === 0 ? 'no fault' : faults.join(' + ')
  return `${what} (${tasks.length} tasks, max ${max}, min ${min}${bursts ? ', in one step' : ''})`
}
