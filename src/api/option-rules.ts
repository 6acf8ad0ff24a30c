import { isRecord, readRecord, show } from './read-input.ts'

/* What is right and wrong with the options of a pool, in words. */

/** The longest delay of a Node timer, about 24.8 days; a longer one would fire after a millisecond. */
export const LONGEST_MILLIS = 2 ** 31 - 1

/** Each priority has a line of its own, made with the pool, and a search passes all of them. */
const MOST_PRIORITIES = 1000

/** What one option may be. */
export interface Rule {
  /** Which values are right, in words: "a whole number ≥ 1". */
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
export const millis = (least: number): Rule => ({
  want: `milliseconds from ${least} to ${LONGEST_MILLIS}`,
  ok: value => isNumber(value) && value >= least && value <= LONGEST_MILLIS,
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

/** generic-pool's own options. Only they may be odd in the ways that {@link genericPoolQuirks} lists. */
const GENERIC: Readonly<Record<string, Rule>> = {
  max: whole(1),
  min: whole(0),
  maxWaitingClients: either(whole(0), oneOf(Number.POSITIVE_INFINITY)),
  priorityRange: wholeTo(1, MOST_PRIORITIES),
  fifo: flag,
  autostart: flag,
  testOnBorrow: flag,
  testOnReturn: flag,
  evictionRunIntervalMillis: millis(0),
  numTestsPerEvictionRun: whole(1),
  softIdleTimeoutMillis: either(millis(1), oneOf(-1)),
  idleTimeoutMillis: millis(1),
  acquireTimeoutMillis: either(millis(1), oneOf(false)),
  destroyTimeoutMillis: millis(1),
}

/** Options that generic-pool does not have. */
export const OURS: Readonly<Record<string, Rule>> = {
  createTimeoutMillis: millis(1),
  unhealthyAfterMillis: either(millis(0), oneOf(Number.POSITIVE_INFINITY)),
  maxConnecting: whole(1),
  validateTimeoutMillis: millis(1),
  resetTimeoutMillis: millis(1),
  drainTimeoutMillis: millis(1),
  maxLifetimeMillis: millis(1),
  lifetimeJitter: { want: 'a number from 0 to 1', ok: value => isNumber(value) && value >= 0 && value <= 1 },
  serverIdleTimeoutMillis: either(millis(1), oneOf('auto', 'none')),
  validateAfterIdleMillis: millis(0),
  keepWarm: flag,
  halfCloseGraceMillis: millis(1),
  halfClose: oneOf('on', 'off'),
  nested: oneOf('detect', 'forbid', 'reuse', 'allow'),
  deadlockGraceMillis: millis(0),
  leakThresholdMillis: millis(0),
  leakReclaim: flag,
  stuckMillis: millis(0),
  captureStacks: oneOf('off', 'sampled', 'all'),
  earlyRefusal: flag,
  shedding: {
    want: '{ targetMillis, intervalMillis }, both milliseconds ≥ 1, the target below the interval, order "fifo" or "lifo"',
    ok: isShedding,
  },
  name: text,
}

/** Names that generic-pool 2 knew, or its own examples still carry; generic-pool 3 ignores them. */
const LEGACY = new Set(['log', 'Promise', 'refreshIdle', 'returnToHead', 'reapIntervalMillis'])
/** A slip of generic-pool's own test suite, and the only one. Any other name that is not known is a mistake. */
const SLIP = 'idletimeoutMillis'

/** The names of all options. */
export const KNOWN: ReadonlySet<string> = new Set([...Object.keys(GENERIC), ...Object.keys(OURS)])

export function wrongWith(name: string, value: unknown): string[] {
  const rule = Object.hasOwn(GENERIC, name)
    ? GENERIC[name]
    : Object.hasOwn(OURS, name)
      ? OURS[name]
      : undefined
  if (rule === undefined) return [`${name} is not an option${suggestion(name)}`]
  return breaches(rule, name, value)
}

/** Nothing, or what is wrong with that option. */
export const breaches = ({ want, ok }: Rule, name: string, value: unknown): string[] =>
  ok(value) ? [] : [`${name} must be ${want}, got ${show(value)}`]

export interface Oddity {
  readonly name: string
  readonly issue: string
  readonly instead?: unknown
}

/** What is wrong, but occurs in generic-pool's own test suite and is harmless there. */
export function genericPoolQuirks(input: Readonly<Record<string, unknown>>): Oddity[] {
  const found: Oddity[] = []
  for (const [name, value] of Object.entries(input)) {
    if (LEGACY.has(name)) {
      found.push({ name, issue: `${name} is an option of generic-pool 2 and has no effect` })
    } else if (name === SLIP) {
      found.push({ name, issue: `${name} is not an option${suggestion(name)}` })
    } else if ((name === 'max' || name === 'min') && typeof value !== 'number') {
      const parsed = isRecord(value) ? Number.NaN : Number.parseInt(String(value), 10)
      const instead = Number.isNaN(parsed) ? undefined : Math.max(parsed, name === 'max' ? 1 : 0)
      const issue = `${name} must be ${GENERIC[name]?.want}, got ${show(value)}`
      found.push(instead === undefined ? { name, issue } : { name, issue, instead })
    }
  }
  const { min, max } = input
  if (isNumber(min) && isNumber(max) && min > max && max >= 1) {
    found.push({ name: 'min', issue: `min (${min}) must not be above max (${max})`, instead: max })
  } else if (isNumber(min) && min > 1 && max === undefined) {
    found.push({ name: 'min', issue: `min (${min}) must not be above max (1, the default)`, instead: 1 })
  }
  return found
}

/** Pairs of options of which each is right and both together are not. */
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
  above('validateTimeoutMillis', validate, 'acquireTimeoutMillis', acquire, 'no acquire would live to see it')
  if (input.keepWarm === true && server === 'none') {
    issues.push(
      "keepWarm has no meaning with serverIdleTimeoutMillis 'none': there is no limit to stay below",
    )
  }
  if (isNumber(input.min) && isNumber(input.max) && input.max < 1 && input.min > input.max) {
    issues.push(`min (${input.min}) must not be above max (${input.max})`)
  }
  return issues
}

function isShedding(value: unknown): boolean {
  if (!isRecord(value)) return false
  const issues: string[] = []
  const options = readRecord(value, undefined, issues)
  const { targetMillis = 50, intervalMillis = 2000, order = 'lifo', ...unknown } = options
  return (
    issues.length === 0 &&
    Object.keys(unknown).length === 0 &&
    millis(1).ok(targetMillis) &&
    millis(1).ok(intervalMillis) &&
    (targetMillis as number) < (intervalMillis as number) &&
    (order === 'fifo' || order === 'lifo')
  )
}

function suggestion(name: string): string {
  const lower = name.toLowerCase()
  const near = [...KNOWN].find(
    known => known.toLowerCase() === lower || known.toLowerCase() === `${lower}millis`,
  )
  return near === undefined ? '' : ` (did you mean ${near}?)`
}
