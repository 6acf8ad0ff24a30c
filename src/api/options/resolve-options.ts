import { PoolError } from '../errors.ts'
import { isNews, warn } from '../messages/warnings.ts'
import { firstFew } from '../messages/wording.ts'
import type { PoolStats } from '../stats.ts'
import { doubtfulTimes, genericPoolQuirks, noOption, sortNames } from './option-names.ts'
import {
  contradictions,
  isNumber,
  isOption,
  KNOWN,
  OPTIONS,
  type OptionName,
  type OptionValue,
  SHEDDING,
  wrongWith,
} from './option-table.ts'
import type { PoolOptions } from './options.ts'
import { isRecord, readRecord, show } from './read-input.ts'

/** The options of a pool with the defaults filled in. All other code reads these. `Infinity` means no limit. */
export type ResolvedOptions = {
  readonly [K in Exclude<OptionName, 'max' | 'min' | 'acquireTimeoutMillis'>]: OptionValue<K>
} & { max: number; min: number; readonly acquireTimeoutMillis: number }

/** At most this many names are listed in a warning. */
const MOST_NAMES = 8

let poolsMade = 0

/** The options argument of a pool, as it was given. */
export interface GivenOptions {
  /** The options that were given, right or wrong. */
  readonly input: Readonly<Record<string, unknown>>
  /** What is wrong with the object itself. */
  readonly issues: readonly string[]
}

export function readOptions(given: unknown): GivenOptions {
  if (given === undefined || given === null) return { input: {}, issues: [] }
  if (!isRecord(given)) return { input: {}, issues: [`options must be an object, got ${show(given)}`] }
  const issues: string[] = []
  return { input: readRecord(given, KNOWN, issues), issues }
}

/**
 * Checks the options and fills in the defaults.
 *
 * @param dropIn - the options may be meant for generic-pool. Then values that its own test suite uses are accepted as
 * generic-pool accepts them, as long as nothing else is wrong and only its names are used. Unknown names are ignored.
 * Each of these causes a process warning.
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong
 */
export function resolveOptions(given: GivenOptions, dropIn: boolean): ResolvedOptions {
  const input = { ...given.input }
  const { legacy, slips, misnamed, unknown } = sortNames(Object.keys(input))
  const quirks = genericPoolQuirks(input)
  const odd = new Set<string>(quirks.map(quirk => quirk.name))
  const issues = [
    ...given.issues,
    ...Object.entries(input).flatMap(([name, value]) =>
      isOption(name) && !odd.has(name) ? wrongWith(name, value) : [],
    ),
    ...misnamed.map(noOption),
    ...contradictions(input),
  ]
  const oddities = [
    ...legacy.map(name => `${name} is an option of generic-pool 2 and has no effect`),
    ...slips.map(noOption),
  ]
  const isOurs = Object.keys(input).some(name => isOption(name) && !OPTIONS[name].isGeneric)
  const mayBeOdd = dropIn && issues.length === 0 && !(isOurs && quirks.length > 0)
  if (!mayBeOdd) issues.unshift(...oddities, ...quirks.map(({ issue }) => issue))
  if (!dropIn || issues.length > 0) issues.push(...unknown.map(noOption))
  if (issues.length > 0) throw badOptions(issues, nameIn(input))
  const taken = quirks.map(({ name, issue, instead }) => {
    const value = instead ?? `${OPTIONS[name].fallback}, the default`
    return `${issue}, taken as ${value}`
  })
  warnOf([...oddities, ...taken], unknown, input)
  for (const { name, instead } of quirks) {
    if (instead === undefined) delete input[name]
    else input[name] = instead
  }
  if (isNumber(input.min)) input.min = Math.min(input.min, isNumber(input.max) ? input.max : 1)
  return withDefaults(input as PoolOptions)
}

function warnOf(oddities: readonly string[], unknown: readonly string[], input: GivenOptions['input']): void {
  if (oddities.length > 0) {
    warn('ODD_OPTIONS', `odd options are taken as generic-pool takes them: ${oddities.join('; ')}`)
  }
  const strange = unknown.filter(isNews)
  if (strange.length > 0) {
    warn(
      'UNKNOWN_OPTIONS',
      `createPool does not know the option ${firstFew(strange, MOST_NAMES)}: it has no effect, as in generic-pool. If it ` +
        'belongs to another library, it can stay. If it is meant for the pool, see PoolOptions for the names',
    )
  }
  const questions = doubtfulTimes(input).filter(([name]) => isNews(`${name} in ms`))
  if (questions.length > 0) warn('TIME', questions.map(([, question]) => question).join('; '))
}

/** The name that the pool would have had, for the error that says why there is none. */
export function nameIn({ name }: GivenOptions['input']): string | undefined {
  return typeof name === 'string' && name !== '' ? name : undefined
}

function withDefaults(input: PoolOptions): ResolvedOptions {
  poolsMade += 1
  const fallbacks = Object.entries(OPTIONS).map(([name, { fallback }]) => [name, fallback])
  const resolved = { ...Object.fromEntries(fallbacks), ...input } as Record<OptionName, unknown>
  const { idleTimeoutMillis, evictionRunIntervalMillis = 0, acquireTimeoutMillis, shedding } = input
  const isIdleCheckAsked = idleTimeoutMillis !== undefined || evictionRunIntervalMillis > 0
  if (!isIdleCheckAsked) resolved.idleTimeoutMillis = Number.POSITIVE_INFINITY
  if (acquireTimeoutMillis === false) resolved.acquireTimeoutMillis = Number.POSITIVE_INFINITY
  if (input.unhealthyAfterMillis === undefined)
    resolved.unhealthyAfterMillis = Math.max((resolved.acquireTimeoutMillis as number) / 2, 1000)
  if (resolved.maxUses === 0) resolved.maxUses = Number.POSITIVE_INFINITY
  if (shedding !== undefined) resolved.shedding = { ...SHEDDING, ...shedding }
  if (input.name === undefined) resolved.name = `pool-${poolsMade}`
  // This value is a usual way to say never.
  for (const name of Object.keys(resolved) as OptionName[])
    if (resolved[name] === Number.MAX_SAFE_INTEGER) resolved[name] = Number.POSITIVE_INFINITY
  return resolved as unknown as ResolvedOptions
}

/** `false` means no limit. */
export const noLimit = (timeout: number | false): number =>
  timeout === false ? Number.POSITIVE_INFINITY : timeout

/** Checks the new bounds for `resize`. A bound that is left out stays as it is. */
export function checkedBounds(
  given: { min?: number | undefined; max?: number | undefined },
  options: Pick<ResolvedOptions, 'min' | 'max' | 'name'>,
  stats: () => PoolStats,
  share: { minIssue(min: number): string | undefined } | undefined,
): { min: number; max: number } {
  if (!isRecord(given)) {
    throw badOptions(
      [`resize needs { min, max }, or one of them, got ${show(given)}`],
      options.name,
      stats(),
      'the arguments',
    )
  }
  const { min = options.min, max = options.max, ...others } = given
  const issues = [...wrongWith('max', max), ...wrongWith('min', min)]
  for (const name of Object.keys(others)) issues.push(`${name} cannot be resized`)
  if (issues.length === 0 && min > max) issues.push(`min (${min}) must not be above max (${max})`)
  const issue = issues.length === 0 ? share?.minIssue(min) : undefined
  if (issue !== undefined) issues.push(issue)
  if (issues.length > 0) throw badOptions(issues, options.name, stats(), 'the bounds for resize')
  return { min, max }
}

/**
 * Combines everything that is wrong in one error.
 *
 * @param what - what was read, if not the options of a pool: the arguments of a call, or what a hook returned
 */
export function badOptions(
  issues: readonly string[],
  pool?: string,
  stats?: PoolStats,
  what = 'the options',
): PoolError {
  const many = issues.length === 1 ? '1 thing is' : `${issues.length} things are`
  return new PoolError(
    'POOL_BAD_OPTIONS',
    `${many} wrong with ${what}${pool === undefined ? '' : ` of pool '${pool}'`}: ${issues.join('; ')}`,
    { issues, ...(pool === undefined ? {} : { pool }), ...(stats === undefined ? {} : { stats }) },
  )
}
