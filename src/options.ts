import { PoolError } from './errors.ts'
import type { PoolOptions } from './types.ts'

/** The options of a pool after the defaults: what the rest of the code reads. `Infinity` stands for "no limit". */
export interface ResolvedOptions {
  max: number
  min: number
  readonly maxWaitingClients: number
  readonly priorityRange: number
  readonly fifo: boolean
  readonly autostart: boolean
  readonly testOnBorrow: boolean
  readonly testOnReturn: boolean
  readonly evictionRunIntervalMillis: number
  readonly numTestsPerEvictionRun: number
  readonly softIdleTimeoutMillis: number
  readonly idleTimeoutMillis: number
  readonly acquireTimeoutMillis: number
  readonly createTimeoutMillis: number
  readonly validateTimeoutMillis: number
  readonly resetTimeoutMillis: number
  readonly destroyTimeoutMillis: number
  readonly drainTimeoutMillis: number
  readonly maxLifetimeMillis: number
  readonly lifetimeJitter: number
  readonly serverIdleTimeoutMillis: number | 'auto' | 'none'
  readonly validateAfterIdleMillis: number
  readonly keepWarm: boolean
  readonly halfCloseGraceMillis: number
  readonly halfClose: 'on' | 'off'
  readonly nested: 'detect' | 'forbid' | 'reuse' | 'allow'
  readonly deadlockGraceMillis: number
  readonly leakThresholdMillis: number
  readonly captureStacks: 'off' | 'sampled' | 'all'
  readonly leakReclaim: boolean
  readonly shedding:
    | { readonly targetMillis: number; readonly intervalMillis: number; readonly order: 'fifo' | 'lifo' }
    | undefined
  readonly earlyRefusal: boolean
  readonly name: string
}

/** The longest delay of a Node timer, about 24.8 days; a longer one would fire after a millisecond. */
export const LONGEST_MILLIS = 2 ** 31 - 1

interface Rule {
  /** Which values are right, in words: "a whole number ≥ 1". */
  readonly want: string
  readonly ok: (value: unknown) => boolean
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
const whole = (least: number): Rule => ({
  want: `a whole number ≥ ${least}`,
  ok: value => isNumber(value) && Number.isInteger(value) && value >= least,
})
const millis = (least: number): Rule => ({
  want: `milliseconds from ${least} to ${LONGEST_MILLIS}`,
  ok: value => isNumber(value) && value >= least && value <= LONGEST_MILLIS,
})
const oneOf = (...values: readonly unknown[]): Rule => ({
  want: values.map(value => JSON.stringify(value)).join(' or '),
  ok: value => values.includes(value),
})
const either = (a: Rule, b: Rule): Rule => ({
  want: `${a.want} or ${b.want}`,
  ok: value => a.ok(value) || b.ok(value),
})
const flag = oneOf(true, false)
const text: Rule = { want: 'a non-empty string', ok: value => typeof value === 'string' && value !== '' }

/** generic-pool's own options. Only they may be odd in the ways that {@link oddities} lists. */
const GENERIC: Readonly<Record<string, Rule>> = {
  max: whole(1),
  min: whole(0),
  maxWaitingClients: either(whole(0), oneOf(Number.POSITIVE_INFINITY)),
  priorityRange: whole(1),
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

const OURS: Readonly<Record<string, Rule>> = {
  createTimeoutMillis: millis(1),
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
  captureStacks: oneOf('off', 'sampled', 'all'),
  earlyRefusal: flag,
  shedding: {
    want: '{ targetMillis, intervalMillis }, both milliseconds ≥ 1, the target below the interval, order "fifo" or "lifo"',
    ok: isShedding,
  },
  name: text,
}

/** Names that generic-pool 2 knew, or its own examples still carry; generic-pool 3 ignores them. */
const LEGACY = new Set(['log', 'promise', 'refreshidle', 'returntohead', 'reapintervalmillis'])
const LOWER_CASE_NAMES = new Map(Object.keys(GENERIC).map(name => [name.toLowerCase(), name]))

let poolsMade = 0

/**
 * Checks the options and fills the defaults in.
 *
 * @param dropIn - the options may be meant for generic-pool: what its own test suite passes is then tolerated as it
 *   does there, with one process warning, as long as nothing else is wrong and only generic-pool's names are used
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong
 */
export function resolveOptions(given: unknown, dropIn: boolean): ResolvedOptions {
  if (given !== undefined && given !== null && (typeof given !== 'object' || Array.isArray(given))) {
    throw badOptions([`options must be an object, got ${show(given)}`])
  }
  const input = Object.fromEntries(
    Object.entries((given ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined),
  )
  const odd = oddities(input)
  const oddNames = new Set(odd.map(oddity => oddity.name))
  const issues = [
    ...Object.entries(input).flatMap(([name, value]) => (oddNames.has(name) ? [] : wrongWith(name, value))),
    ...contradictions(input),
  ]
  if (odd.length > 0) {
    const onlyGeneric = Object.keys(input).every(name => !Object.hasOwn(OURS, name))
    if (!dropIn || issues.length > 0 || !onlyGeneric) {
      throw badOptions([...odd.map(oddity => oddity.issue), ...issues])
    }
    process.emitWarning(
      `options taken as generic-pool takes them: ${odd.map(oddity => oddity.issue).join('; ')}`,
      { type: 'LifeguardPoolWarning', code: 'LIFEGUARD_POOL_ODD_OPTIONS' },
    )
    for (const { name, instead } of odd) {
      if (instead === undefined) delete input[name]
      else input[name] = instead
    }
    if (isNumber(input.min)) input.min = Math.min(input.min, isNumber(input.max) ? input.max : 1)
  }
  if (issues.length > 0) throw badOptions(issues)
  return withDefaults(input as PoolOptions)
}

function withDefaults(input: PoolOptions): ResolvedOptions {
  poolsMade += 1
  const max = input.max ?? 1
  const idleCheckAsked = input.idleTimeoutMillis !== undefined || (input.evictionRunIntervalMillis ?? 0) > 0
  return {
    max,
    min: input.min ?? 0,
    maxWaitingClients: input.maxWaitingClients ?? Number.POSITIVE_INFINITY,
    priorityRange: input.priorityRange ?? 1,
    fifo: input.fifo ?? true,
    autostart: input.autostart ?? true,
    testOnBorrow: input.testOnBorrow ?? false,
    testOnReturn: input.testOnReturn ?? false,
    evictionRunIntervalMillis: input.evictionRunIntervalMillis ?? 0,
    numTestsPerEvictionRun: input.numTestsPerEvictionRun ?? 3,
    softIdleTimeoutMillis: input.softIdleTimeoutMillis ?? -1,
    idleTimeoutMillis: idleCheckAsked ? (input.idleTimeoutMillis ?? 30_000) : Number.POSITIVE_INFINITY,
    acquireTimeoutMillis: noLimit(input.acquireTimeoutMillis ?? 5000),
    createTimeoutMillis: input.createTimeoutMillis ?? 5000,
    validateTimeoutMillis: input.validateTimeoutMillis ?? 1000,
    resetTimeoutMillis: input.resetTimeoutMillis ?? 1000,
    destroyTimeoutMillis: input.destroyTimeoutMillis ?? 2000,
    drainTimeoutMillis: input.drainTimeoutMillis ?? 10_000,
    maxLifetimeMillis: input.maxLifetimeMillis ?? Number.POSITIVE_INFINITY,
    lifetimeJitter: input.lifetimeJitter ?? 0.25,
    serverIdleTimeoutMillis: input.serverIdleTimeoutMillis ?? 'auto',
    validateAfterIdleMillis: input.validateAfterIdleMillis ?? Number.POSITIVE_INFINITY,
    keepWarm: input.keepWarm ?? false,
    halfCloseGraceMillis: input.halfCloseGraceMillis ?? 5000,
    halfClose: input.halfClose ?? 'on',
    nested: input.nested ?? 'detect',
    deadlockGraceMillis: input.deadlockGraceMillis ?? 50,
    leakThresholdMillis: input.leakThresholdMillis ?? 0,
    captureStacks: input.captureStacks ?? 'sampled',
    shedding: input.shedding && {
      targetMillis: input.shedding.targetMillis ?? 50,
      intervalMillis: input.shedding.intervalMillis ?? 2000,
      order: input.shedding.order ?? 'lifo',
    },
    earlyRefusal: input.earlyRefusal ?? false,
    leakReclaim: input.leakReclaim ?? false,
    name: input.name ?? `pool-${poolsMade}`,
  }
}

/** `false` means no limit. */
export const noLimit = (timeout: number | false): number =>
  timeout === false ? Number.POSITIVE_INFINITY : timeout

/** New bounds for `resize`, checked; what is left out stays as it is. */
export function checkedBounds(
  given: { min?: number; max?: number } | null,
  options: ResolvedOptions,
): { min: number; max: number } {
  const { min = options.min, max = options.max, ...others } = given ?? {}
  const issues = [...wrongWith('max', max), ...wrongWith('min', min)]
  for (const name of Object.keys(others)) issues.push(`${name} is nothing that can be resized`)
  if (issues.length === 0 && min > max) issues.push(`min (${min}) must not be above max (${max})`)
  if (issues.length > 0) throw badOptions(issues, options.name)
  return { min, max }
}

function wrongWith(name: string, value: unknown): string[] {
  const rule = Object.hasOwn(GENERIC, name)
    ? GENERIC[name]
    : Object.hasOwn(OURS, name)
      ? OURS[name]
      : undefined
  if (rule === undefined) return [`${name} is not an option${suggestion(name)}`]
  return rule.ok(value) ? [] : [`${name} must be ${rule.want}, got ${show(value)}`]
}

interface Oddity {
  readonly name: string
  readonly issue: string
  readonly instead?: unknown
}

/** What is wrong, but occurs in generic-pool's own test suite and is harmless there. */
function oddities(input: Readonly<Record<string, unknown>>): Oddity[] {
  const found: Oddity[] = []
  for (const [name, value] of Object.entries(input)) {
    const lower = name.toLowerCase()
    if (LEGACY.has(lower)) {
      found.push({ name, issue: `${name} is an option of generic-pool 2 and has no effect` })
    } else if (LOWER_CASE_NAMES.has(lower) && LOWER_CASE_NAMES.get(lower) !== name) {
      found.push({ name, issue: `${name} is not an option${suggestion(name)}` })
    } else if ((name === 'max' || name === 'min') && typeof value !== 'number') {
      const parsed = Number.parseInt(String(value), 10)
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
function contradictions(input: Readonly<Record<string, unknown>>): string[] {
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
  if (typeof value !== 'object' || value === null) return false
  const {
    targetMillis = 50,
    intervalMillis = 2000,
    order = 'lifo',
    ...unknown
  } = value as Record<string, unknown>
  return (
    Object.keys(unknown).length === 0 &&
    millis(1).ok(targetMillis) &&
    millis(1).ok(intervalMillis) &&
    (targetMillis as number) < (intervalMillis as number) &&
    (order === 'fifo' || order === 'lifo')
  )
}

function suggestion(name: string): string {
  const lower = name.toLowerCase()
  const near = [...Object.keys(GENERIC), ...Object.keys(OURS)].find(
    known => known.toLowerCase() === lower || known.toLowerCase() === `${lower}millis`,
  )
  return near === undefined ? '' : ` (did you mean ${near}?)`
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}

/** One error for everything that is wrong. */
export function badOptions(issues: readonly string[], pool?: string): PoolError {
  const many = issues.length === 1 ? '1 thing is' : `${issues.length} things are`
  return new PoolError(
    'POOL_BAD_OPTIONS',
    `${many} wrong with the options${pool === undefined ? '' : ` of pool '${pool}'`}: ${issues.join('; ')}`,
    pool === undefined ? { issues } : { issues, pool },
  )
}
