import type { Scenario } from '../scenario.ts'
import * as closing from './closing.ts'
import * as creating from './creating.ts'
import * as lending from './lending.ts'
import * as timeouts from './timeouts.ts'
import * as validating from './validating.ts'

/** All scenarios, by the names of their functions. */
export const scenarios = { ...closing, ...creating, ...lending, ...timeouts, ...validating } satisfies Record<
  string,
  Scenario
>

export type ScenarioName = keyof typeof scenarios
