import { PoolError } from './errors.ts'
import { contradictions, genericPoolQuirks, isNumber, KNOWN, OURS, wrongWith } from './option-rules.ts'
import type { PoolOptions } from './options.ts'
import { isRecord, readRecord, show } from './read-input.ts'
import type { PoolStats } from './stats.ts'

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
  readonly unhealthyAfterMillis: number
  readonly maxConnecting: number
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
  readonly stuckMillis: number
  readonly shedding:
    | { readonly targetMillis: number; readonly intervalMillis: number; readonly order: 'fifo' | 'lifo' }
    | undefined
  readonly earlyRefusal: boolean
  readonly name: string
}

let poolsMade = 0

/** What somebody gave as the options of a pool. */
export interface GivenOptions {
  /** Those that were given, right or wrong. */
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
 * Checks the options and fills the defaults in.
 *
 * @param dropIn - the options may be meant for generic-pool: what its own test suite passes is then tolerated as it
 *   does there, with one process warning, as long as nothing else is wrong and only generic-pool's names are used
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong
 */
export function resolveOptions(given: GivenOptions, dropIn: boolean): ResolvedOptions {
  const input = { ...given.input }
  const odd = genericPoolQuirks(input)
  const oddNames = new Set(odd.map(oddity => oddity.name))
  const issues = [
    ...given.issues,
    ...Object.entries(input).flatMap(([name, value]) => (oddNames.has(name) ? [] : wrongWith(name, value))),
    ...contradictions(input),
  ]
  if (odd.length > 0) {
    const onlyGeneric = Object.keys(input).every(name => !Object.hasOwn(OURS, name))
    if (!dropIn || issues.length > 0 || !onlyGeneric) {
      throw badOptions([...odd.map(oddity => oddity.issue), ...issues], nameIn(input))
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
  if (issues.length > 0) throw badOptions(issues, nameIn(input))
  return withDefaults(input as PoolOptions)
}

/** The name that a pool was to have, for the error that says why there is none. */
export function nameIn({ name }: GivenOptions['input']): string | undefined {
  return typeof name === 'string' && name !== '' ? name : undefined
}

function withDefaults(input: PoolOptions): ResolvedOptions {
  poolsMade += 1
  const max = input.max ?? 1
  const acquireTimeoutMillis = noLimit(input.acquireTimeoutMillis ?? 5000)
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
    acquireTimeoutMillis,
    createTimeoutMillis: input.createTimeoutMillis ?? 5000,
    unhealthyAfterMillis: input.unhealthyAfterMillis ?? Math.max(acquireTimeoutMillis / 2, 1000),
    maxConnecting: input.maxConnecting ?? 8,
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
    stuckMillis: input.stuckMillis ?? 0,
    name: input.name ?? `pool-${poolsMade}`,
  }
}

/** `false` means no limit. */
export const noLimit = (timeout: number | false): number =>
  timeout === false ? Number.POSITIVE_INFINITY : timeout

/** New bounds for `resize`, checked; what is left out stays as it is. */
export function checkedBounds(
  given: { min?: number | undefined; max?: number | undefined },
  options: ResolvedOptions,
  stats: () => PoolStats,
): { min: number; max: number } {
  if (!isRecord(given)) {
    throw badOptions([`resize needs { min, max }, or one of them, got ${show(given)}`], options.name, stats())
  }
  const { min = options.min, max = options.max, ...others } = given
  const issues = [...wrongWith('max', max), ...wrongWith('min', min)]
  for (const name of Object.keys(others)) issues.push(`${name} is nothing that can be resized`)
  if (issues.length === 0 && min > max) issues.push(`min (${min}) must not be above max (${max})`)
  if (issues.length > 0) throw badOptions(issues, options.name, stats())
  return { min, max }
}

/** One error for everything that is wrong. */
export function badOptions(issues: readonly string[], pool?: string, stats?: PoolStats): PoolError {
  const many = issues.length === 1 ? '1 thing is' : `${issues.length} things are`
  return new PoolError(
    'POOL_BAD_OPTIONS',
    `${many} wrong with the options${pool === undefined ? '' : ` of pool '${pool}'`}: ${issues.join('; ')}`,
    { issues, ...(pool === undefined ? {} : { pool }), ...(stats === undefined ? {} : { stats }) },
  )
}
