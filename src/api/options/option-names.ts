import { isNumber, isOption, LONGEST_MILLIS, OPTIONS, type OptionName } from './option-table.ts'
import { isRecord, show } from './read-input.ts'

/*
 * Names that are not options, and odd values: what was probably meant, and what is accepted anyway.
 */

/** Names that generic-pool 2 knew, or that its examples still contain. generic-pool 3 ignores them. */
const LEGACY: ReadonlySet<string> = new Set(['log', 'refreshIdle', 'returnToHead', 'reapIntervalMillis'])
/** A misspelling in generic-pool's own test suite. Any other name close to that of an option is a mistake. */
const SLIP = 'idletimeoutMillis'

/** The names that other pools use for these options. */
const ALIASES: Readonly<Record<string, string>> = {
  poolsize: 'max',
  size: 'max',
  limit: 'max',
  maximum: 'max',
  maxsize: 'max',
  maxpoolsize: 'max',
  maxconnections: 'max',
  connectionlimit: 'max',
  connections: 'max',
  minimum: 'min',
  minsize: 'min',
  minidle: 'min',
  minpoolsize: 'min',
  minconnections: 'min',
  maxwaiting: 'maxWaitingClients',
  maxqueue: 'maxWaitingClients',
  maxqueuesize: 'maxWaitingClients',
  queuelimit: 'maxWaitingClients',
  queuemax: 'maxWaitingClients',
  timeout: 'acquireTimeoutMillis',
  waittimeout: 'acquireTimeoutMillis',
  queuetimeout: 'acquireTimeoutMillis',
  acquire: 'acquireTimeoutMillis',
  connectiontimeout: 'acquireTimeoutMillis',
  connecttimeout: 'createTimeoutMillis',
  idle: 'idleTimeoutMillis',
  maxidletime: 'idleTimeoutMillis',
  maxage: 'maxLifetimeMillis',
  maxlife: 'maxLifetimeMillis',
  maxrequests: 'maxUses',
  maxrequestsperclient: 'maxUses',
  maxqueries: 'maxUses',
  maxloans: 'maxUses',
  maxusecount: 'maxUses',
  lifo: 'fifo: false',
}

/** The end of a name that gives its unit of time. */
const UNIT = /(?:in)?(?:millis(?:econds)?|ms|sec(?:ond)?s?)$/

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '')
const stem = (name: string): string => plain(name).replace(UNIT, '')

/** The option that a wrong name was probably meant for; undefined if none is close. */
function meantBy(name: string): string | undefined {
  const alias = ALIASES[plain(name)] ?? ALIASES[stem(name)]
  if (alias !== undefined) return alias
  return nearest(name, [...Object.keys(OPTIONS), ...LEGACY])
}

/** The name that this one was probably meant for; undefined if none is close. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const same = names.find(known => plain(known) === plain(name) || stem(known) === stem(name))
  if (same !== undefined) return same
  // Long names may differ by two letters, short ones by one.
  const most = stem(name).length > 6 ? 2 : 1
  return stem(name).length < 4 ? undefined : names.find(known => isWithin(stem(known), stem(name), most))
}

/** Can at most this many insertions, deletions and replacements turn one into the other? */
function isWithin(a: string, b: string, most: number): boolean {
  if (Math.abs(a.length - b.length) > most) return false
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let line = 1; line <= a.length; line += 1) {
    const next = [line]
    for (let column = 1; column <= b.length; column += 1) {
      const replaced = (row[column - 1] as number) + (a[line - 1] === b[column - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[column] as number) + 1, (next[column - 1] as number) + 1))
    }
    row = next
  }
  return (row[b.length] as number) <= most
}

const suggestion = (meant: string | undefined): string =>
  meant === undefined ? '' : ` (did you mean ${meant}?)`

export const noOption = (name: string): string => `${name} is not an option${suggestion(meantBy(name))}`

/** The same for the options of a call. */
export function noOptionOf(call: string, name: string, known: ReadonlySet<string>): string {
  const wrong = stem(name)
  const near = [...known].find(each => stem(each) === wrong || isWithin(stem(each), wrong, 2))
  return `${name} is not an option of ${call}${suggestion(near)}`
}

/** Sorts names that are not options by how a drop-in pool treats them. */
export function sortNames(
  names: readonly string[],
): Record<'legacy' | 'slips' | 'misnamed' | 'unknown', string[]> {
  const sorted: ReturnType<typeof sortNames> = { legacy: [], slips: [], misnamed: [], unknown: [] }
  for (const name of names) {
    if (LEGACY.has(name)) sorted.legacy.push(name)
    else if (name === SLIP) sorted.slips.push(name)
    else if (!isOption(name)) sorted[meantBy(name) === undefined ? 'unknown' : 'misnamed'].push(name)
  }
  return sorted
}

interface Quirk {
  readonly name: OptionName
  readonly issue: string
  readonly instead?: number
}

/** Its numbers that a service may have as text, out of its environment. */
const NUMBERS = [
  'maxWaitingClients',
  'priorityRange',
  'evictionRunIntervalMillis',
  'numTestsPerEvictionRun',
  'softIdleTimeoutMillis',
  'idleTimeoutMillis',
  'acquireTimeoutMillis',
  'destroyTimeoutMillis',
] as const

/** Values that are wrong, but that generic-pool takes without harm: bounds of its own test suite, numbers as text. */
export function genericPoolQuirks(input: Readonly<Record<string, unknown>>): Quirk[] {
  const found: Quirk[] = []
  for (const name of ['max', 'min'] as const) {
    const value = input[name]
    if (value === undefined || typeof value === 'number') continue
    const parsed = isRecord(value) ? Number.NaN : Number.parseInt(String(value), 10)
    const issue = `${name} must be ${OPTIONS[name].rule.want}, got ${show(value)}`
    const instead = Math.max(parsed, name === 'max' ? 1 : 0)
    found.push(Number.isNaN(parsed) ? { name, issue } : { name, issue, instead })
  }
  for (const name of NUMBERS) {
    const value = input[name]
    if (typeof value !== 'string' || !/^\s*-?\d+\s*$/.test(value)) continue
    const { rule } = OPTIONS[name]
    const instead = Number(value)
    if (rule.ok(instead))
      found.push({ name, issue: `${name} must be ${rule.want}, got ${show(value)}`, instead })
  }
  const { min, max } = input
  if (isNumber(min) && isNumber(max) && min > max && max >= 1) {
    found.push({ name: 'min', issue: `min (${min}) must not be above max (${max})`, instead: max })
  } else if (isNumber(min) && min > 1 && max === undefined) {
    found.push({ name: 'min', issue: `min (${min}) must not be above max (1, the default)`, instead: 1 })
  }
  return found
}

const TIMES: readonly OptionName[] = [
  'acquireTimeoutMillis',
  'createTimeoutMillis',
  'validateTimeoutMillis',
  'resetTimeoutMillis',
  'destroyTimeoutMillis',
  'drainTimeoutMillis',
  'idleTimeoutMillis',
  'maxLifetimeMillis',
]
/** A time below this looks like seconds. A deadline above a day looks wrong. Milliseconds. */
const SHORT_MILLIS = 100
const DAY_MILLIS = 86_400_000

/** Questions about times that seem to be in another unit. */
export function doubtfulTimes(
  input: Readonly<Record<string, unknown>>,
): [name: OptionName, question: string][] {
  return TIMES.flatMap((name): [OptionName, string][] => {
    const value = input[name]
    // The longest time that Node's timers take is a usual way to say never.
    if (!isNumber(value) || value >= LONGEST_MILLIS) return []
    if (value < SHORT_MILLIS) {
      return [[name, `${name} is ${value} ms: were seconds meant? Then say ${value * 1000}`]]
    }
    const isDeadline = name !== 'idleTimeoutMillis' && name !== 'maxLifetimeMillis'
    if (!isDeadline || value <= DAY_MILLIS) return []
    const days = Math.round((value / DAY_MILLIS) * 10) / 10
    return [
      [
        name,
        `${name} is ${value} ms, which is ${days} days: times are in milliseconds; for never say Infinity`,
      ],
    ]
  })
}
