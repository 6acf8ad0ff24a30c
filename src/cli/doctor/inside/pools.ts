import { isUsedUp as isBudgetUsedUp } from '../../../api/budget.ts'
import type { ClientsState, PoolState, ProcessState } from '../../inspect/pools-of.ts'
import { count, type Finding, inSeconds } from '../finding.ts'
import { isAllForgotten } from './reported.ts'

/** What pools that were looked at twice show. */
export function poolFindings(before: ProcessState, after: ProcessState, seconds: number): Finding[] {
  const stuck = after.pools.filter(
    pool => isUsedUp(pool) && !isAllForgotten(pool) && before.pools.some(one => isSame(one, pool)),
  )
  const away = after.clients.filter(one => isAway(one, before.clients))
  const silent = silentAmong(before, after)
  const sure = silent.filter(({ waiting }) => waiting > 1)
  return [
    // Whoever holds a connection that a silent server does not answer holds it for that reason.
    ...away.map(one => notConnected(one, seconds)),
    ...sure.map(one => silentServer(one, seconds)),
    ...(silent.length + away.length > 0 ? [] : stuck.map(pool => stoodStill(pool, seconds))),
  ]
}

/** Commands that may be slow: a single client does not tell whether its server is silent. */
export const slowCommands = (before: ProcessState, after: ProcessState, seconds: number): string[] =>
  silentAmong(before, after)
    .filter(({ waiting }) => waiting === 1)
    .map(
      ({ server, unanswered, command }) =>
        `${server} has not sent one byte in ${inSeconds(seconds * 1000)} to a client of ioredis with ${count(unanswered, 'command')} without an answer${command === undefined ? '' : `, the first of them ${command}`}: a slow command, or a silent server; one client does not tell`,
    )

const isUsedUp = ({ lent, size, max, waiting, json }: PoolState): boolean => {
  const budget = json?.stats.budget
  const isLimited = budget !== undefined && isBudgetUsedUp(budget, size, max)
  return waiting > 0 && (lent >= max || (isLimited && lent >= size && lent > 0))
}

/** Nothing of it has moved: no loan has begun or ended. */
const isSame = (one: PoolState, pool: PoolState): boolean =>
  isUsedUp(one) && one.kind === pool.kind && one.name === pool.name && one.moved === pool.moved

/** Waiting acquires that were made by somebody who holds a connection, as pools of this package know it. */
const nestedIn = ({ json }: PoolState): number | undefined =>
  // A pool that only the async context names may belong to a long-lived lease that every request inherits.
  json?.waiters.filter(({ nestedUnder }) => nestedUnder?.some(pool => pool.endsWith("'"))).length

function stoodStill(pool: PoolState, seconds: number): Finding {
  const { kind, name, lent, max, waiting, atWork, report } = pool
  const nested = nestedIn(pool)
  const cause = causeOf(pool, nested)
  return {
    pattern: cause === 'nested' || cause === 'nested or a leak' ? 'pool-used-up' : 'pool-stands-still',
    title: `All connections of ${kind}${name === '' ? '' : ` '${name}'`} are lent, ${waiting} wait for one, and nothing moves.`,
    evidence: [
      `${lent} of ${max} lent, ${waiting} waiting; for at least ${inSeconds(seconds * 1000)} no loan has begun and none has ended`,
      ...(atWork === undefined ? [] : [atWorkInWords(lent, atWork)]),
      CAUSES[cause](nested),
      ...(report === undefined
        ? []
        : report
            .split('\n')
            .filter(line => /^ {4}\S/.test(line))
            .slice(0, 3)
            .map(line => line.trim())),
    ],
    next: [
      ...NEXT[cause],
      kind === 'lifeguard-pool'
        ? 'pool.report() has the call sites of holders and waiters.'
        : 'A pool of lifeguard-pool names the call sites of holders and waiters, and breaks deadlocks.',
    ],
  }
}

const atWorkInWords = (lent: number, atWork: number): string =>
  atWork === lent
    ? `all ${lent} have work under way`
    : `${count(atWork, 'lent connection')} at work: the holders of the other ${lent - atWork} do not use them`

type Cause = 'nested' | 'nested or a leak' | 'leak or elsewhere' | 'at work' | 'unknown'

/** What the numbers show, and no more. */
function causeOf({ json, lent, waiting, atWork }: PoolState, nested: number | undefined): Cause {
  if (nested !== undefined && nested > 0) return 'nested'
  if (atWork !== undefined && atWork * 2 >= lent) return 'at work'
  if (atWork === undefined) return 'unknown'
  return json === undefined && waiting >= lent ? 'nested or a leak' : 'leak or elsewhere'
}

const CAUSES: Readonly<Record<Cause, (nested: number | undefined) => string>> = {
  nested: nested =>
    `${nested} of the waiting acquires were made by somebody who holds a connection already (nested acquires)`,
  'nested or a leak': () =>
    'as many wait as hold a connection, or more: so it is when those who hold one wait for a second (nested acquires), or when connections were never given back (a leak); from outside these look the same',
  'leak or elsewhere': () =>
    'no waiting acquire is known to be nested: some of these connections were never given back (a leak), or their holders wait for something else',
  'at work': () => 'long commands, or a slow server: no leak and no nested acquire is shown',
  unknown: () =>
    'whether their holders use them cannot be seen here: long jobs, a leak, and nested acquires look the same',
}

const NEXT: Readonly<Record<Cause, readonly string[]>> = {
  nested: [
    'Pass the connection on to what is called, instead of acquiring a second one inside; give every acquire a deadline.',
  ],
  'nested or a leak': [
    'Look for an acquire inside of what holds a connection, and pass that connection on instead; then for a path on which one is not given back. Give every acquire a deadline.',
  ],
  'leak or elsewhere': [
    'Look at what their holders wait for, and for a path on which a connection is not given back: an exception, an early return.',
  ],
  'at work': ['Look at these commands and at the server; a larger pool helps only if the server has room.'],
  unknown: [
    'Look at what the holders do. If their jobs are that long, they need more connections, or others for the short ones.',
  ],
}

/** No client has a connection, and commands wait for one. */
function isAway({ server, ready, queued }: ClientsState, before: readonly ClientsState[]): boolean {
  const one = before.find(each => each.server === server)
  return ready === 0 && queued > 0 && one?.ready === 0 && one.queued > 0
}

const notConnected = ({ server, clients, queued }: ClientsState, seconds: number): Finding => ({
  pattern: 'unreachable',
  title: `No client of ioredis has a connection to ${server}.`,
  evidence: [
    `0 of ${count(clients, 'client')} connected, at two looks ${inSeconds(seconds * 1000)} apart; ${count(queued, 'command')} ${queued === 1 ? 'waits' : 'wait'} for a connection`,
  ],
  next: [
    'Look at the server and at the network. Commands wait for it without end by default (ioredis: maxRetriesPerRequest, enableOfflineQueue, commandTimeout).',
  ],
})

/** Servers of which nothing has come, while commands had no answer. */
const silentAmong = ({ clients: before }: ProcessState, { clients }: ProcessState): ClientsState[] =>
  clients.filter(({ server, unanswered, moved }) => {
    const one = before.find(each => each.server === server)
    return unanswered > 0 && (one?.unanswered ?? 0) > 0 && one?.moved === moved
  })

const silentServer = (
  { server, clients, waiting, unanswered, command }: ClientsState,
  seconds: number,
): Finding => ({
  pattern: 'silent-peer',
  title: `The server ${server} does not answer.`,
  evidence: [
    `${count(unanswered, 'command')} without an answer${command === undefined ? '' : ` (${command})`} on ${waiting} of ${count(clients, 'client')} of ioredis, and not one byte has come in ${inSeconds(seconds * 1000)}`,
  ],
  next: [
    'Look at the server: run the doctor on it, or ask it from another client.',
    'Blocking commands (BLPOP, XREAD BLOCK) wait by intention; others need a deadline (commandTimeout, socketTimeout).',
  ],
})

/** How many connections the pools of a process know, for one that has more. */
export function ownedBy({ pools, clients }: ProcessState): string {
  const owned = pools.reduce((sum, { size }) => sum + size, 0)
  const all = clients.reduce((sum, one) => sum + one.clients, 0)
  return `its pools own ${count(owned, 'connection')}${all > 0 ? `, and there are ${all} clients of ioredis` : ''}`
}
