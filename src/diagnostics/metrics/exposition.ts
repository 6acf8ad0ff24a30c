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
export interface Sample {
  /** In a histogram, with the suffix `_bucket`, `_sum` or `_count`. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A metric family in Prometheus's sense. */
export interface Family {
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

const labelsOf = (attributes: PoolAttributes): Record<string, string> =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [underscored(name), String(value)]))

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
  const samples = reading.points.map(({ attributes, value }) => ({
    name,
    labels: labelsOf(attributes),
    value,
  }))
  return { ...description, samples }
}

/** In Prometheus, each bucket includes the lower ones. */
function buckets(name: string, { attributes, value }: PointOf<Spread>): Sample[] {
  const labels = labelsOf(attributes)
  let below = 0
  const bounded = BOUNDS_IN_SECONDS.map((bound, index) => {
    below += value.counts[index] ?? 0
    return { name: `${name}_bucket`, labels: { ...labels, le: String(bound) }, value: below }
  })
  return [
    ...bounded,
    { name: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: value.count },
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
    for (const sample of samples) lines.push(`${sample.name}${inBraces(sample.labels)} ${sample.value}`)
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}

function inBraces(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
