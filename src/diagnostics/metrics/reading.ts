import type { PoolStats } from '../../api/stats.ts'
import {
  NUMBERS,
  type NumberMetric,
  type Point,
  PROCESS_NUMBERS,
  type Spread,
  spreadOf,
  TIMES,
  type TimesMetric,
} from './metric-table.ts'
import {
  attributesOf,
  keyOf,
  type Observable,
  observablePools,
  type PoolAttributes,
  reportable,
} from './observed-pools.ts'

/** One value of a metric, for one pool or for the whole process. */
export interface PointOf<V> {
  /** An object that stands for that pool, without keeping it alive. */
  readonly key: object
  /** The attributes of the pool, the same object for all of its metrics. */
  readonly attributes: PoolAttributes
  /** Attributes of this point beyond those of the pool. */
  readonly own?: Readonly<Record<string, string>>
  readonly value: V
}

/** A metric and what was read for it. Every output format is written from these. */
export type Reading =
  | { readonly kind: 'number'; readonly metric: NumberMetric; readonly points: PointOf<number>[] }
  | { readonly kind: 'times'; readonly metric: TimesMetric; readonly points: PointOf<Spread>[] }

/**
 * Reads each of these pools once. A pool that cannot be read is left out of all metrics: a faulty pool, or one from a
 * copy of this package with other stats, must not hide the numbers of the others.
 *
 * @returns metrics in the order of the tables, without those that have no points
 */
export function readPools(
  pools: readonly Observable[] = observablePools(),
  onError: (error: unknown) => void = () => {},
): Reading[] {
  const numbers = NUMBERS.map(metric => ({
    kind: 'number' as const,
    metric,
    points: [] as PointOf<number>[],
  }))
  const times = TIMES.map(metric => ({ kind: 'times' as const, metric, points: [] as PointOf<Spread>[] }))
  let any: PoolStats | undefined
  for (const pool of reportable(pools)) {
    try {
      const stats = pool.stats()
      const own = { key: keyOf(pool), attributes: attributesOf(pool) }
      const values = numbers.map(({ metric }) => metric.read(stats).map(point => pointOf(own, point)))
      const spreads = times.map(({ metric }) => ({ ...own, value: spreadOf(stats.times[metric.what]) }))
      for (const [index, { points }] of numbers.entries()) points.push(...(values[index] ?? []))
      for (const [index, { points }] of times.entries()) points.push(...spreads.slice(index, index + 1))
      any ??= stats
    } catch (error) {
      onError(error)
    }
  }
  const ofProcess = PROCESS_NUMBERS.map(metric => {
    const read = any === undefined ? [] : metric.read(any)
    return { kind: 'number' as const, metric, points: read.map(point => pointOf(PROCESS, point)) }
  })
  return [...numbers, ...times, ...ofProcess].filter(({ points }) => points.length > 0)
}

const PROCESS = { key: {}, attributes: {} }

const pointOf = (
  { key, attributes }: Pick<PointOf<never>, 'key' | 'attributes'>,
  { value, attributes: own }: Point,
): PointOf<number> => (own === undefined ? { key, attributes, value } : { key, attributes, own, value })

/** All attributes of a point. */
export const attributesOfPoint = ({ attributes, own }: PointOf<unknown>): PoolAttributes =>
  own === undefined ? attributes : { ...attributes, ...own }
