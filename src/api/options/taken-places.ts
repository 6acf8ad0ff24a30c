import { isUsedUp, raiseLimit, usedUp } from '../budget.ts'
import type { AcquirePhase } from '../errors.ts'
import { adviceFor } from '../messages/connect-advice.ts'
import type { PoolStats } from '../stats.ts'

/** The states in which connections occupy places of the pool, in words, and what to do about each. */
const PLACES = [
  [
    'borrowed',
    'lent',
    'See report() for who holds them; look for a loan that never ends, shorten the work on a connection, or raise max',
  ],
  [
    'resetting',
    'being reset',
    'See whether factory.reset is slow, or whether the server does not accept what was written',
  ],
  ['validating', 'being validated', 'See whether factory.validate is slow'],
  [
    'closing',
    'closing',
    'See whether factory.destroy is slow: a place is free when it has ended, or after destroyTimeoutMillis',
  ],
  ['connecting', 'being created', 'See whether the server is slow to accept, or to log in'],
] as const satisfies readonly (readonly [keyof PoolStats, string, string])[]

/** What occupies the places of the pool now, the most frequent first, and what to do about that. */
function taken(stats: PoolStats): { what: string; next: string } {
  const { budget, size, closing, max } = stats
  if (budget !== undefined && isUsedUp(budget, size + closing, max)) {
    const next = `See its report(); shorten the work done on connections, or ${raiseLimit(budget)}`
    return { what: `No connection may be created: ${usedUp(budget)}`, next }
  }
  const found = PLACES.filter(([state]) => stats[state] > 0).sort(([a], [b]) => stats[b] - stats[a])
  const [first] = found
  const next = first?.[2] ?? 'See report()'
  if (found.length === 1 && first?.[0] === 'borrowed') return { what: 'All connections are lent', next }
  const list = found.map(([state, words]) => `${stats[state]} ${words}`).join(', ')
  return { what: `No connection is available now: ${list || 'there is none'}`, next }
}

/** What an acquire was waiting for, and what to do about it. */
export function nextStep(stats: PoolStats, phase: AcquirePhase, cause: unknown, silence?: string): string {
  // More connections to a server that does not answer would not help.
  if (silence !== undefined && cause === undefined)
    return 'Check the server and the network; stuckMillis ends connections that get no answer'
  if (phase === 'connect')
    return cause === undefined ? `No connection could be made in time. ${adviceFor(cause)}` : adviceFor(cause)
  const { what, next } = taken(stats)
  return `${what}. ${next}`
}

/** Why an acquire that does not wait gets no connection. */
export function inTheWay(stats: PoolStats, phase: AcquirePhase): string {
  if (phase === 'connect') return 'There is no idle connection, and one would have to be created'
  if (stats.idle > 0) return 'The idle connections would have to be validated first'
  return taken(stats).what
}
