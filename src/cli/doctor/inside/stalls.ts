import type { ProcessState } from '../../inspect/pools-of.ts'
import type { BusiestStretch } from '../../inspect/profile.ts'
import { count, type Finding, percent } from '../finding.ts'

/*
 * An event loop that is blocked again and again, and runs in between, as pools of this package notice it.
 */

const MINUTE_MILLIS = 60_000
/** Stalls that add up to less than this in a minute are usual, and so is a single one that is shorter. Milliseconds. */
const MUCH_MILLIS = 250
/** From this share of the time on, stalls are a finding. */
const MUCH = 0.1

/** What the pools of a process noticed lately: all of them see the same event loop. */
function stallsWithin({ pools }: ProcessState, millis: number): number[] {
  const all = pools.map(({ json }) => json?.stalls.filter(({ agoMillis }) => agoMillis < millis) ?? [])
  const sum = (stalls: (typeof all)[number]): number =>
    stalls.reduce((total, stall) => total + stall.millis, 0)
  return (all.sort((a, b) => sum(b) - sum(a))[0] ?? []).map(stall => stall.millis)
}

const total = (all: readonly number[]): number => all.reduce((sum, millis) => sum + millis, 0)

/** Is it worth finding out where? */
export const hasStalled = (state: ProcessState): boolean =>
  total(stallsWithin(state, MINUTE_MILLIS)) >= MUCH_MILLIS

/** A stretch in one function that is shorter than this blocks nobody for long. Milliseconds. */
const LONG_STRETCH_MILLIS = 100

/**
 * @param stretch - the longest time in its own code, if samples were taken. Without it, the stalls may be those of a
 * machine that gives the process no processor.
 */
export function stalls(after: ProcessState, seconds: number, stretch: BusiestStretch | undefined): Finding[] {
  const millis = seconds * 1000
  const found = stallsWithin(after, millis)
  const blocked = total(found)
  if (stretch === undefined || stretch.millis < LONG_STRETCH_MILLIS) return []
  // On a machine with too little processor time there are many short ones.
  if (Math.max(...found, 0) < MUCH_MILLIS || blocked < MUCH * millis) return []
  const round = Math.round
  return [
    {
      pattern: 'blocked-loop',
      title: `The event loop is blocked again and again: ${percent(Math.min(blocked / millis, 1))} of the time.`,
      evidence: [
        `${count(found.length, 'time')} in the last ${round(millis)} ms, ${round(Math.max(...found))} ms at the longest`,
        `for ${round(stretch.millis)} ms of processor time without a pause it was in one function, mostly here:`,
        ...stretch.stack,
      ],
      next: ['Move long computations to a worker thread, or split them.'],
    },
  ]
}
