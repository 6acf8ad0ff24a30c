import type { ClientsState, PoolState, ProcessState } from '../../inspect/pools-of.ts'
import { count, type Finding, inSeconds } from '../finding.ts'
import { isAllForgotten } from './reported.ts'

/** What pools that were looked at twice show. */
export function poolFindings(before: ProcessState, after: ProcessState, seconds: number): Finding[] {
  const stuck = after.pools.filter(
    pool => isUsedUp(pool) && !isAllForgotten(pool) && before.pools.some(one => isSame(one, pool)),
  )
  const silent = after.clients.filter(one => isSilent(one, before.clients))
  return [
    // Whoever holds a connection that a silent server does not answer holds it for that reason.
    ...silent.map(one => silentServer(one, seconds)),
    ...(silent.length > 0 ? [] : stuck.map(pool => usedUp(pool, seconds))),
  ]
}

const isUsedUp = ({ lent, max, waiting }: PoolState): boolean => waiting > 0 && lent >= max

/** Nothing of it has moved: no loan has begun or ended. */
const isSame = (one: PoolState, pool: PoolState): boolean =>
  isUsedUp(one) && one.kind === pool.kind && one.name === pool.name && one.moved === pool.moved

function usedUp(pool: PoolState, seconds: number): Finding {
  const { kind, name, lent, max, waiting, atWork, report } = pool
  const isNested = waiting >= lent
  return {
    pattern: 'pool-used-up',
    title: `All connections of ${kind}${name === '' ? '' : ` '${name}'`} are lent, ${waiting} wait for one, and nothing moves.`,
    evidence: [
      `${lent} of ${max} lent, ${waiting} waiting; for at least ${inSeconds(seconds * 1000)} no loan has begun and none has ended`,
      ...(atWork === undefined
        ? []
        : [
            `${count(atWork, 'lent connection')} at work: the holders of the other ${lent - atWork} do not use them`,
          ]),
      isNested
        ? 'as many wait as hold a connection, or more: those who hold one wait for a second (nested acquires)'
        : 'fewer wait than hold a connection: some of these were never given back (a leak), or their holders wait for something else',
      ...(report === undefined
        ? []
        : report
            .split('\n')
            .filter(line => /^ {4}\S/.test(line))
            .slice(0, 3)
            .map(line => line.trim())),
    ],
    next: [
      'Pass the connection on to what is called, instead of acquiring a second one inside; give every acquire a deadline.',
      kind === 'lifeguard-pool'
        ? 'pool.report() has the call sites of holders and waiters.'
        : 'A pool of lifeguard-pool proves such a deadlock, breaks it, and names both call sites.',
    ],
  }
}

function isSilent({ server, unanswered, moved }: ClientsState, before: readonly ClientsState[]): boolean {
  const one = before.find(each => each.server === server)
  return unanswered > 0 && (one?.unanswered ?? 0) > 0 && one?.moved === moved
}

const silentServer = ({ server, clients, unanswered, command }: ClientsState, seconds: number): Finding => ({
  pattern: 'silent-peer',
  title: `The server ${server} does not answer.`,
  evidence: [
    `${count(unanswered, 'command')} without an answer${command === undefined ? '' : ` (${command})`} on ${count(clients, 'client')} of ioredis, and not one byte has come in ${inSeconds(seconds * 1000)}`,
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
