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
  /** With `_bucket`, `_sum` or `_count` in a histogram. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A metric as Prometheus knows it. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter' | 'histogram'
  readonly samples: readonly Sample[]
}

const underscored = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_]/g, '_')

/** OpenTelemetry's translation: dots to underscores, the unit as a suffix, and `_total` for what only grows. */
export function prometheusName({ name, unit, kind }: { name: string; unit: string; kind: string }): string {
  const suffix = unit === 's' ? '_seconds' : ''
  return `${underscored(name)}${suffix}${kind === 'counter' ? '_total' : ''}`
}

const labelsOf = (attributes: PoolAttributes): Record<string, string> =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [underscored(name), String(value)]))

/** Every family that there can be. */
export const DESCRIPTIONS: readonly Omit<Family, 'samples'>[] = [
  ...NUMBERS,
  ...TIMES,
  ...PROCESS_NUMBERS,
].map(describe)

function describe(metric: NumberMetric | TimesMetric): Omit<Family, 'samples'> {
  const type = metric.kind === 'upDownCounter' ? 'gauge' : metric.kind
  return { name: prometheusName(metric), help: metric.description, type }
}

/** The metrics of these pools, as Prometheus knows them. */
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

/** Prometheus counts whatever lies below a bound, in lower buckets included. */
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

/** Prometheus's text format, version 0.0.4. */
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
