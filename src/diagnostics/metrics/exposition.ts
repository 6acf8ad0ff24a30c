import {
  BOUNDS_IN_SECONDS,
  NUMBERS,
  type NumberMetric,
  PROCESS_NUMBERS,
  type Spread,
  TIMES,
  type TimesMetric,
} from './metric-table.ts'
import type { Observable, PoolAttributes } from './observed-pools.ts'
import { type PointOf, type Reading, readPools } from './reading.ts'

/** One line of the exposition format. */
interface Sample {
  /** In a histogram, with the suffix `_bucket`, `_sum` or `_count`. */
  readonly name: string
  /** The labels of the pool. */
  readonly labels: Labels
  /** Labels beyond those of the pool. */
  readonly own?: Labels
  readonly value: number
}

type Labels = Readonly<Record<string, string>>

/** A metric family in Prometheus's sense. */
interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter' | 'histogram'
  readonly samples: readonly Sample[]
}

const underscored = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_]/g, '_')

/**
 * Translates names as OpenTelemetry does: dots become underscores, the unit becomes a suffix, counters get `_total`.
 */
export function prometheusName({ name, unit, kind }: { name: string; unit: string; kind: string }): string {
  const suffix = unit === 's' ? '_seconds' : ''
  return `${underscored(name)}${suffix}${kind === 'counter' ? '_total' : ''}`
}

/** Attributes as labels. Those of a pool are the same object each time, and occur in dozens of samples. */
const knownLabels = new WeakMap<PoolAttributes, Labels>()

function labelsOf(attributes: PoolAttributes): Labels {
  const known = knownLabels.get(attributes)
  if (known !== undefined) return known
  const pairs = Object.entries(attributes).map(([name, value]) => [underscored(name), String(value)])
  const labels = Object.fromEntries(pairs) as Labels
  knownLabels.set(attributes, labels)
  return labels
}

/** Every family that can occur. */
export const DESCRIPTIONS: readonly Omit<Family, 'samples'>[] = [
  ...NUMBERS,
  ...TIMES,
  ...PROCESS_NUMBERS,
].map(describe)

function describe(metric: NumberMetric | TimesMetric): Omit<Family, 'samples'> {
  const type = metric.kind === 'upDownCounter' ? 'gauge' : metric.kind
  return { name: prometheusName(metric), help: metric.description, type }
}

/** The metrics of these pools in Prometheus's terms. */
export const families = (pools?: readonly Observable[]): Family[] => readPools(pools).map(family)

function family(reading: Reading): Family {
  const description = describe(reading.metric)
  const { name } = description
  if (reading.kind === 'times')
    return { ...description, samples: reading.points.flatMap(point => buckets(name, point)) }
  const samples = reading.points.map(
    ({ attributes, own, value }): Sample => ({
      ...{ name, labels: labelsOf(attributes), value },
      ...(own === undefined ? {} : { own: labelsOf(own) }),
    }),
  )
  return { ...description, samples }
}

/** In Prometheus, each bucket includes the lower ones. */
function buckets(name: string, { attributes, value }: PointOf<Spread>): Sample[] {
  const labels = labelsOf(attributes)
  let below = 0
  const bounded = BOUNDS_IN_SECONDS.map((bound, index) => {
    below += value.counts[index] ?? 0
    return { name: `${name}_bucket`, labels, own: { le: String(bound) }, value: below }
  })
  return [
    ...bounded,
    { name: `${name}_bucket`, labels, own: { le: '+Inf' }, value: value.count },
    { name: `${name}_sum`, labels, value: value.sum },
    { name: `${name}_count`, labels, value: value.count },
  ]
}

/** The `Content-Type` of {@link exposition}. */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Renders families in Prometheus's text format, version 0.0.4. */
export function exposition(all: readonly Family[] = families()): string {
  const lines: string[] = []
  for (const { name, help, type, samples } of all) {
    lines.push(
      `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
      `# TYPE ${name} ${type}`,
    )
    for (const sample of samples) lines.push(`${sample.name}${inBraces(sample)} ${sample.value}`)
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}

function inBraces({ labels, own }: Sample): string {
  const text = [labelsText(labels), own === undefined ? '' : joined(own)]
    .filter(each => each !== '')
    .join(',')
  return text === '' ? '' : `{${text}}`
}

const knownTexts = new WeakMap<Labels, string>()

/** The text of labels that occur again and again. */
function labelsText(labels: Labels): string {
  const known = knownTexts.get(labels)
  if (known !== undefined) return known
  const text = joined(labels)
  knownTexts.set(labels, text)
  return text
}

const joined = (labels: Labels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',')

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
