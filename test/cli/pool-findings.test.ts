// What two looks at the pools of a process show, and what they do not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { poolFindings, slowCommands } from '../../src/cli/doctor/inside/pools.ts'
import type { ClientsState, PoolState } from '../../src/cli/inspect/pools-of.ts'

const pool = (more: Partial<PoolState>): PoolState => ({
  ...{ kind: 'generic-pool', name: '', max: 4, size: 4, lent: 4, waiting: 4, moved: 'as before' },
  ...more,
})
const found = (one: PoolState) =>
  poolFindings({ pools: [one], clients: [] }, { pools: [one], clients: [] }, 3).map(
    ({ pattern, evidence }) => `${pattern}: ${evidence.join('; ')}`,
  )

test('a long queue of long jobs is no deadlock: nothing shows that holders wait', () => {
  assert.match(
    found(pool({}))[0] ?? '',
    /^pool-stands-still: .*long jobs, a leak, and nested acquires look the same/,
  )
  assert.match(
    found(pool({ atWork: 4 }))[0] ?? '',
    /^pool-stands-still: .*all 4 have work under way; long commands/,
  )
})

test('connections that nobody uses while as many wait are nested acquires, or a leak', () => {
  const [words = ''] = found(pool({ atWork: 0 }))
  assert.match(words, /^pool-used-up: .*0 lent connections at work: .*nested acquires\), or .*\(a leak\)/)
  assert.match(
    found(pool({ atWork: 0, waiting: 2 }))[0] ?? '',
    /^pool-stands-still: .*no waiting acquire is known/,
  )
})

test('a pool of this package knows which acquires are nested', () => {
  const waiters = [{ waitedMillis: 1, leftMillis: 1, priority: 0, nestedUnder: ["'orders'"] }]
  const json = (waiting: unknown) =>
    ({ waiters: waiting, leases: [], stats: {} }) as unknown as PoolState['json']
  const ours = { kind: 'lifeguard-pool', name: 'orders', atWork: 0 } as const
  assert.match(
    found(pool({ ...ours, json: json(waiters) } as PoolState))[0] ?? '',
    /^pool-used-up: .*1 of the waiting acquires were made by somebody who holds a connection/,
  )
  assert.match(
    found(pool({ ...ours, json: json([]) } as PoolState))[0] ?? '',
    /^pool-stands-still: .*never given back/,
  )
})

test('one slow command is no silent server; several clients without a byte are', () => {
  const clients = (more: Partial<ClientsState>) => ({
    pools: [],
    clients: [
      {
        ...{
          server: 'db:6379',
          clients: 3,
          ready: 3,
          waiting: 1,
          unanswered: 1,
          queued: 0,
          moved: '1,2,3',
          command: 'eval',
        },
        ...more,
      },
    ],
  })
  const one = clients({})
  assert.deepEqual(poolFindings(one, one, 3), [])
  assert.match(
    slowCommands(one, one, 3)[0] ?? '',
    /the first of them eval: a slow command, or a silent server/,
  )
  const more = clients({ waiting: 2, unanswered: 2 })
  assert.deepEqual(
    poolFindings(more, more, 3).map(({ pattern }) => pattern),
    ['silent-peer'],
  )
  assert.deepEqual(slowCommands(more, more, 3), [])
})

test('commands that wait for a connection are at work: whoever holds their clients waits for the server', () => {
  const one = {
    pools: [pool({ atWork: 4 })],
    clients: [
      { ...{ server: 'db:6379', clients: 4, ready: 0, waiting: 0, unanswered: 0, queued: 4, moved: ',,,' } },
    ],
  }
  const [found, ...others] = poolFindings(one, one, 3)
  assert.equal(found?.pattern, 'unreachable')
  assert.match(found.evidence.join(), /0 of 4 clients connected.*4 commands wait for a connection/)
  assert.deepEqual(others, [])
})
