import type { Clock } from '../runtime/clock.ts'

/** @internal What tests put in place of time and chance. */
export interface Environment {
  readonly clock: Clock
  readonly random: () => number
}
