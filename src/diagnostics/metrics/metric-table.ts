import type { PoolStats, TimesOf } from '../../api/stats.ts'

/** One value of a metric, with any attributes beyond those of its pool. */
export interface Point {
  readonly value: number
  readonly attributes?: Readonly<Record<string, string>>
}

interface Described {
  /** The name in OpenTelemetry. */
  readonly name: string
  /** A UCUM unit, with annotations in braces. */
  readonly unit: string
  readonly description: string
}

/** A number that is read from a pool's stats each time, so it cannot drift away from them. */
export interface NumberMetric extends Described {
  readonly kind: 'upDownCounter' | 'gauge' | 'counter'
  read(stats: PoolStats): readonly Point[]
}

/** A distribution of times, in seconds. */
export interface TimesMetric extends Described {
  readonly kind: 'histogram'
  readonly what: keyof PoolStats['times']
}

const CONNECTION = '{connection}'
const one = (value: number | undefined): Point[] => (value === undefined ? [] : [{ value }])
const seconds = (millis: number | undefined): Point[] => one(millis === undefined ? undefined : millis / 1000)
const ofBudget = (budget: PoolStats['budget'], value: number | undefined): Point[] =>
  budget === undefined || value === undefined
    ? []
    : [{ value, attributes: { 'lifeguard.budget.name': budget.name } }]
const split = (attribute: string, values: Readonly<Record<string, number>>): Point[] =>
  Object.entries(values).map(([name, value]) => ({ value, attributes: { [attribute]: name } }))

const metric = (
  name: string,
  kind: NumberMetric['kind'],
  unit: string,
  description: string,
  read: NumberMetric['read'],
): NumberMetric => ({ name, kind, unit, description, read })

/**
 * The pool metrics of OpenTelemetry's semantic conventions, with their names and descriptions. Our own metrics never
 * use the prefix `db.`. A connection counts as `used` while it is lent, validated or reset, that is, open but not free
 * to be lent.
 */
const CONVENTIONAL: readonly NumberMetric[] = [
  metric(
    'db.client.connection.count',
    'upDownCounter',
    CONNECTION,
    'The number of connections that are currently in state described by the `state` attribute.',
    ({ idle, borrowed, validating, resetting }) =>
      split('db.client.connection.state', { idle, used: borrowed + validating + resetting }),
  ),
  metric(
    'db.client.connection.idle.max',
    'upDownCounter',
    CONNECTION,
    'The maximum number of idle open connections allowed.',
    stats => one(stats.max),
  ),
  metric(
    'db.client.connection.idle.min',
    'upDownCounter',
    CONNECTION,
    'The minimum number of idle open connections allowed.',
    stats => one(stats.min),
  ),
  metric(
    'db.client.connection.max',
    'upDownCounter',
    CONNECTION,
    'The maximum number of open connections allowed.',
    stats => one(stats.max),
  ),
  metric(
    'db.client.connection.pending_requests',
    'upDownCounter',
    '{request}',
    'The number of current pending requests for an open connection.',
    stats => one(stats.pending),
  ),
  metric(
    'db.client.connection.timeouts',
    'counter',
    '{timeout}',
    'The number of connection timeouts that have occurred trying to obtain a connection from the pool.',
    stats => one(stats.totals.timeouts),
  ),
]

/** Metrics for which the conventions have no name. */
const OURS: readonly NumberMetric[] = [
  metric(
    'lifeguard.connections',
    'upDownCounter',
    CONNECTION,
    'Connections by the state that the pool has them in.',
    ({ connecting, idle, validating, borrowed: lent, resetting, closing }) =>
      split('lifeguard.connection.state', { connecting, idle, validating, lent, resetting, closing }),
  ),
  metric(
    'lifeguard.connections.closed',
    'counter',
    CONNECTION,
    'Connections that the pool has ended, by reason.',
    stats => split('lifeguard.close.reason', stats.destroyedBy),
  ),
  metric(
    'lifeguard.connections.used.peak',
    'gauge',
    CONNECTION,
    'Most connections lent at a time so far.',
    stats => one(stats.peaks.borrowed),
  ),
  metric(
    'lifeguard.pending_requests.peak',
    'gauge',
    '{request}',
    'Most acquires waiting at a time so far.',
    stats => one(stats.peaks.pending),
  ),
  metric(
    'lifeguard.oldest_wait',
    'gauge',
    's',
    'How long the acquire that has waited longest has waited; 0 if none waits.',
    stats => seconds(stats.oldestWaitMillis),
  ),
  metric(
    'lifeguard.dirty',
    'counter',
    CONNECTION,
    'Connections that were ended because of what was left on them, by what that was.',
    stats => split('lifeguard.left', stats.dirtyBy),
  ),
  metric('lifeguard.create_errors', 'counter', '{error}', 'Creates that failed, by error.', stats =>
    split('error.type', stats.createErrorsBy),
  ),
  metric('lifeguard.aborted', 'counter', '{request}', 'Acquires aborted by their signal.', stats =>
    one(stats.totals.aborted),
  ),
  metric('lifeguard.shed', 'counter', '{request}', 'Acquires refused to shed load.', stats =>
    one(stats.totals.shed),
  ),
  metric(
    'lifeguard.nested',
    'counter',
    '{request}',
    'Acquires made while their context held a connection.',
    stats => one(stats.totals.nested),
  ),
  metric('lifeguard.deadlocks', 'counter', '{deadlock}', 'Deadlocks that were broken.', stats =>
    one(stats.totals.deadlocks),
  ),
  metric('lifeguard.leaks', 'counter', '{lease}', 'Leases that looked forgotten.', stats =>
    one(stats.totals.leaks),
  ),
  metric(
    'lifeguard.half_closed',
    'counter',
    CONNECTION,
    'Connections that were found dead, by what found them.',
    stats => split('lifeguard.found', stats.halfClose.found),
  ),
  metric(
    'lifeguard.breaker.open',
    'gauge',
    '{breaker}',
    '1 while the circuit breaker is open, as connecting fails; else 0.',
    stats => one(stats.breaker === 'open' ? 1 : 0),
  ),
  metric('lifeguard.stalls', 'counter', '{stall}', 'Times that the event loop was blocked.', stats =>
    one(stats.stalls.count),
  ),
  metric('lifeguard.stall.time', 'counter', 's', 'How long the event loop was blocked in all.', stats =>
    seconds(stats.stalls.totalMillis),
  ),
  metric(
    'lifeguard.budget.max',
    'gauge',
    CONNECTION,
    'Most connections of all pools that share the budget of this pool.',
    ({ budget }) => ofBudget(budget, budget?.max),
  ),
  metric(
    'lifeguard.budget.used',
    'gauge',
    CONNECTION,
    'Connections of all pools that share the budget of this pool, those being created or closed included.',
    ({ budget }) => ofBudget(budget, budget?.used),
  ),
  metric(
    'lifeguard.budget.reserved',
    'gauge',
    CONNECTION,
    'Places of the budget that are kept for pools below their min.',
    ({ budget }) => ofBudget(budget, budget?.reserved),
  ),
  metric(
    'lifeguard.server_idle_limit',
    'gauge',
    's',
    'Idle age at which the server closes connections, where that is known.',
    stats => seconds(stats.serverTimeout.limitMillis),
  ),
]

/** The number metrics of each pool. */
export const NUMBERS: readonly NumberMetric[] = [...CONVENTIONAL, ...OURS]

/** Metrics of the whole process. Every pool's stats contain the same values. */
export const PROCESS_NUMBERS: readonly NumberMetric[] = [
  metric(
    'lifeguard.log.dropped',
    'counter',
    '{line}',
    "Lines of the library's own log that were dropped because nobody read them fast enough.",
    stats => one(stats.log.dropped),
  ),
]

export const TIMES: readonly TimesMetric[] = [
  {
    name: 'db.client.connection.create_time',
    kind: 'histogram',
    unit: 's',
    description: 'The time it took to create a new connection.',
    what: 'create',
  },
  {
    name: 'db.client.connection.wait_time',
    kind: 'histogram',
    unit: 's',
    description: 'The time it took to obtain an open connection from the pool.',
    what: 'wait',
  },
  {
    name: 'db.client.connection.use_time',
    kind: 'histogram',
    unit: 's',
    description: 'The time between borrowing a connection and returning it to the pool.',
    what: 'use',
  },
]

/** The bucket bounds of all histograms, in seconds. */
export const BOUNDS_IN_SECONDS: readonly number[] = [
  0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10,
]

/** A histogram in seconds. */
export interface Spread {
  readonly count: number
  readonly sum: number
  readonly max: number
  /** The count of each bucket alone. There is one more than there are bounds. */
  readonly counts: number[]
}

export const spreadOf = ({ count, sumMillis, maxMillis, counts }: TimesOf): Spread => ({
  count,
  sum: sumMillis / 1000,
  max: maxMillis / 1000,
  counts,
})
