import { type Budget, isBudget } from '../budget.ts'
import type { PromiseClass } from './options.ts'
import { isRecord, readRecord, show } from './read-input.ts'

/*
 * The rules for the values of a pool's options, and how violations are worded.
 */

/** The longest delay of a Node timer, about 24.8 days. A longer one would fire after one millisecond. */
export const LONGEST_MILLIS = 2 ** 31 - 1

/** Each priority has its own list, created with the pool, and a search goes through all of them. */
const MOST_PRIORITIES = 1000

/** Which values one option accepts. */
export interface Rule {
  /** Describes the right values: "a whole number ≥ 1". */
  readonly want: string
  readonly ok: (value: unknown) => boolean
}

export const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value)
export const whole = (least: number): Rule => ({
  want: `a whole number ≥ ${least}`,
  ok: value => isNumber(value) && Number.isInteger(value) && value >= least,
})
export const wholeTo = (least: number, most: number): Rule => ({
  want: `a whole number from ${least} to ${most}`,
  ok: value => whole(least).ok(value) && (value as number) <= most,
})
/** Milliseconds that are passed to a Node timer unchanged. */
export const millis = (least: number): Rule => ({
  want: `milliseconds from ${least} to ${LONGEST_MILLIS}`,
  ok: value => isNumber(value) && value >= least && value <= LONGEST_MILLIS,
})
/** Milliseconds for the pool's own deadlines, which may be longer than a Node timer allows. `Infinity` means never. */
export const time = (least: number): Rule => ({
  want: `milliseconds ≥ ${least}`,
  ok: value => typeof value === 'number' && value >= least,
})
const oneOf = (...values: readonly unknown[]): Rule => ({
  want: values.map(show).join(' or '),
  ok: value => values.includes(value),
})
const either = (a: Rule, b: Rule): Rule => ({
  want: `${a.want} or ${b.want}`,
  ok: value => a.ok(value) || b.ok(value),
})
export const flag = oneOf(true, false)
export const text: Rule = {
  want: 'a non-empty string',
  ok: value => typeof value === 'string' && value !== '',
}

/** What a pool knows about one option: which values are right, and its default. */
interface Option<T> {
  readonly rule: Rule
  readonly fallback: T
  /** Is it one of generic-pool's? Then it may be odd in the ways that `genericPoolQuirks` lists. */
  readonly isGeneric: boolean
}
const generic = <T>(rule: Rule, fallback: T): Option<T> => ({ rule, fallback, isGeneric: true })
const own = <T>(rule: Rule, fallback: T): Option<T> => ({ rule, fallback, isGeneric: false })

const NEVER = Number.POSITIVE_INFINITY

/** Every option. See `PoolOptions` for their meanings. */
export const OPTIONS = {
  max: generic(whole(1), 1),
  min: generic(whole(0), 0),
  maxWaitingClients: generic(either(whole(0), oneOf(NEVER)), NEVER),
  priorityRange: generic(wholeTo(1, MOST_PRIORITIES), 1),
  fifo: generic(flag, true),
  autostart: generic(flag, true),
  testOnBorrow: generic(flag, false),
  testOnReturn: generic(flag, false),
  evictionRunIntervalMillis: generic(time(0), 0),
  numTestsPerEvictionRun: generic(either(whole(1), oneOf(NEVER)), 3),
  softIdleTimeoutMillis: generic(either(time(1), oneOf(-1)), -1),
  /** As in generic-pool, applies only if it or an eviction interval is given: see `withDefaults`. */
  idleTimeoutMillis: generic(time(1), 30_000),
  acquireTimeoutMillis: generic<number | false>(either(time(1), oneOf(false)), 5000),
  destroyTimeoutMillis: generic(time(1), 2000),
  Promise: generic<PromiseClass | null | undefined>(
    { want: 'a Promise class, with a static resolve', ok: isPromiseClass },
    undefined,
  ),
  createTimeoutMillis: own(time(1), 5000),
  /** If left out: half of `acquireTimeoutMillis`, at least a second. */
  unhealthyAfterMillis: own(time(0), 2500),
  maxConnecting: own(whole(1), 4),
  validateTimeoutMillis: own(time(1), 1000),
  resetTimeoutMillis: own(time(1), 1000),
  drainTimeoutMillis: own(time(1), 10_000),
  maxLifetimeMillis: own(time(1), NEVER),
  lifetimeJitter: own(
    { want: 'a number from 0 to 1', ok: value => isNumber(value) && value >= 0 && value <= 1 },
    0.25,
  ),
  maxUses: own(either(whole(0), oneOf(NEVER)), NEVER),
  serverIdleTimeoutMillis: own<number | 'auto' | 'none'>(either(time(1), oneOf('auto', 'none')), 'auto'),
  validateAfterIdleMillis: own(time(0), NEVER),
  keepWarm: own(flag, false),
  halfCloseGraceMillis: own(time(1), 5000),
  halfClose: own<'on' | 'off'>(oneOf('on', 'off'), 'on'),
  nested: own<'detect' | 'forbid' | 'reuse' | 'allow'>(oneOf('detect', 'forbid', 'reuse', 'allow'), 'detect'),
  deadlockGraceMillis: own(time(0), 50),
  leakThresholdMillis: own(time(0), 0),
  leakReclaim: own(flag, false),
  stuckMillis: own(time(0), 0),
  captureStacks: own<'off' | 'sampled' | 'all'>(oneOf('off', 'sampled', 'all'), 'sampled'),
  earlyRefusal: own(flag, false),
  shedding: own<Shedding | undefined>(
    {
      want: '{ targetMillis, intervalMillis }, both milliseconds ≥ 1, the target below the interval, order "fifo" or "lifo"',
      ok: isShedding,
    },
    undefined,
  ),
  name: own(text, ''),
  budget: own<Budget | undefined>({ want: 'made by createBudget({ max })', ok: isBudget }, undefined),
} as const

/** The defaults inside `shedding`, once it is given. */
export const SHEDDING: Shedding = { targetMillis: 50, intervalMillis: 2000, order: 'lifo' }

interface Shedding {
  readonly targetMillis: number
  readonly intervalMillis: number
  readonly order: 'fifo' | 'lifo'
}

export type OptionName = keyof typeof OPTIONS
export type OptionValue<K extends OptionName> = (typeof OPTIONS)[K] extends Option<infer T> ? T : never

/** The names of all options. */
export const KNOWN: ReadonlySet<string> = new Set(Object.keys(OPTIONS))

export const isOption = (name: string): name is OptionName => Object.hasOwn(OPTIONS, name)

/** What is wrong with the value of an option. */
export const wrongWith = (name: OptionName, value: unknown): string[] =>
  breaches(OPTIONS[name].rule, name, value)

/** What is wrong with a value by this rule; empty if nothing is. */
export const breaches = ({ want, ok }: Rule, name: string, value: unknown): string[] =>
  ok(value) ? [] : [`${name} must be ${want}, got ${show(value)}`]

/** Pairs of options that are right on their own but contradict each other. */
export function contradictions(input: Readonly<Record<string, unknown>>): string[] {
  const { softIdleTimeoutMillis: soft, idleTimeoutMillis: idle, maxLifetimeMillis: lifetime } = input
  const {
    serverIdleTimeoutMillis: server,
    validateTimeoutMillis: validate,
    acquireTimeoutMillis: acquire,
  } = input
  const issues: string[] = []
  if (input.leakReclaim === true && !input.leakThresholdMillis) {
    issues.push('leakReclaim needs a leakThresholdMillis')
  }
  const above = (a: string, x: unknown, b: string, y: unknown, why: string): void => {
    if (isNumber(x) && isNumber(y) && x > y) issues.push(`${a} (${x}) must not be above ${b} (${y}): ${why}`)
  }
  above('softIdleTimeoutMillis', soft, 'idleTimeoutMillis', idle, 'it would never apply')
  above('idleTimeoutMillis', idle, 'maxLifetimeMillis', lifetime, 'it would never apply')
  above('idleTimeoutMillis', idle, 'serverIdleTimeoutMillis', server, 'the server closes first')
  above(
    'validateTimeoutMillis',
    validate,
    'acquireTimeoutMillis',
    acquire,
    'the acquire would time out first',
  )
  if (input.keepWarm === true && server === 'none') {
    issues.push(
      "keepWarm has no meaning with serverIdleTimeoutMillis 'none': there is no limit to stay below",
    )
  }
  if (isNumber(input.min) && isNumber(input.max) && input.max < 1 && input.min > input.max) {
    issues.push(`min (${input.min}) must not be above max (${input.max})`)
  }
  if (isBudget(input.budget)) {
    const { min = 0, max = 1 } = input
    const issue = isNumber(min) && isNumber(max) ? input.budget.minIssue(Math.min(min, max)) : undefined
    if (issue !== undefined) issues.push(issue)
  }
  return issues
}

function isShedding(value: unknown): boolean {
  if (!isRecord(value)) return false
  const issues: string[] = []
  const options = readRecord(value, undefined, issues)
  const { targetMillis, intervalMillis, order, ...unknown } = { ...SHEDDING, ...options }
  return (
    issues.length === 0 &&
    Object.keys(unknown).length === 0 &&
    time(1).ok(targetMillis) &&
    time(1).ok(intervalMillis) &&
    targetMillis < intervalMillis &&
    (order === 'fifo' || order === 'lifo')
  )
}

function isPromiseClass(value: unknown): boolean {
  if (value === null) return true
  return typeof value === 'function' && typeof (value as { resolve?: unknown }).resolve === 'function'
}
