/* What a victim of a deadlock, and a refused nested acquire, are told: with records for leases and pools. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPool } from '../../src/index.ts'
import type { Connection, Knot, Lease, PoolNode, Wait } from '../../src/nested/host.ts'
import { deadlock, nestedAcquire } from '../../src/nested/messages.ts'
import type { StackTrace } from '../../src/runtime/stack-trace.ts'

const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })
const stats = { ...double.stats(), name: 'one' }
const NO_DETAILS = { heldStacks: [], waitStack: '', pools: [], waitedMillis: 1234.4 }

const poolNamed = (name: string, lent = 1, rivals: readonly PoolNode[] = []): PoolNode =>
  ({ name, lent, rivals: () => rivals }) as unknown as PoolNode

const stack = (text: string): StackTrace => ({ text }) as unknown as StackTrace

function leaseOf(pool: PoolNode, text?: string): Lease {
  const trace = text === undefined ? undefined : stack(text)
  return { connection: { trace } as Connection, pool, loan: 1, isPlain: false }
}

const edge = (pool: PoolNode, ...blocks: Lease[]): Knot[number] => ({ waiter: {} as Wait, pool, blocks })

test('a knot in one pool is a loop of one line, with what the caller held', () => {
  const pool = poolNamed('one', 2)
  const leases = [leaseOf(pool), leaseOf(pool)]
  const knot = leases.map(lease => edge(pool, lease))
  const { message, code, stack: text } = deadlock(stats, leases.slice(0, 1), knot, NO_DETAILS)
  assert.equal(code, 'POOL_DEADLOCK')
  assert.match(message, /^deadlock in pool 'one', ended by this rejection after 1234 ms /)
  assert.match(message, /this acquire waited while its caller held 1 of pool 'one', and\n/)
  assert.match(message, /\n {2}┌► pool 'one': 2 lent, all held by 2 waiting for 'one'\n {2}└──┘\n/)
  assert.match(message, /\nTake one connection per task, or set max ≥ tasks/)
  assert.equal(text, `${deadlock(stats, leases.slice(0, 1), knot, NO_DETAILS).name}: ${message}`)
})

test('a knot of several pools has a line for each, the own one first, and arrows round', () => {
  const [three, two, one] = [poolNamed('three', 3), poolNamed('two', 2), poolNamed('one')]
  const knot = [
    edge(three, leaseOf(two)),
    edge(two, leaseOf(one)),
    edge(two, leaseOf(one)),
    edge(one, leaseOf(three)),
  ]
  const held = [leaseOf(one), leaseOf(two), leaseOf(one)]
  const { message } = deadlock(stats, held, knot, NO_DETAILS)
  assert.match(message, /held 2 of pool 'one' and 1 of pool 'two', and/)
  assert.ok(
    message.includes(
      [
        "  ┌► pool 'one': 1 lent, all held by 2 waiting for 'two'",
        "  │  pool 'three': 3 lent, all held by 1 waiting for 'one'",
        "  └─ pool 'two': 2 lent, all held by 1 waiting for 'three'",
      ].join('\n'),
    ),
    message,
  )
  assert.match(
    message,
    /\nTake one connection per task, or acquire from these pools in the same order everywhere/,
  )
})

test('where a budget is used up, the pools that use it are named with their leases, five at most', () => {
  const rivals = Array.from({ length: 7 }, (_, index) => poolNamed(`rival ${index}`, index))
  const one = poolNamed('one', 0, rivals)
  const [first] = rivals as [PoolNode]
  const { message } = deadlock(stats, [], [edge(one, leaseOf(first))], NO_DETAILS)
  assert.match(message, /pool 'one': 0 lent and its budget used up by 'rival 0' \(0\), 'rival 1' \(1\), /)
  assert.doesNotMatch(message, /rival 5/)
  assert.match(message, /, all held by 1 waiting for 'one'/, 'by a lease of a rival')
  assert.match(message, /or set the max of the budget ≥ tasks/)
})

test('a holder that waits for several pools is counted for each', () => {
  const [one, two] = [poolNamed('one'), poolNamed('two')]
  const lease = leaseOf(one)
  const { message } = deadlock(stats, [lease], [edge(one, lease), edge(two, lease)], NO_DETAILS)
  assert.match(message, /pool 'one': 1 lent, all held by 1 waiting for 'one' and 1 waiting for 'two'/)
})

test('a waiter whose caller holds connections of two pools is counted for both', () => {
  const [one, two] = [poolNamed('one'), poolNamed('two')]
  const { message } = deadlock(
    stats,
    [],
    [edge(one, leaseOf(one), leaseOf(two)), edge(two, leaseOf(one))],
    NO_DETAILS,
  )
  assert.match(message, /pool 'one': 1 lent, all held by 1 waiting for 'one' and 1 waiting for 'two'/)
  assert.match(message, /pool 'two': 1 lent, all held by 1 waiting for 'one'\n/)
})

test('the stack of the wait stands behind the message, and what is known is in the details', () => {
  const one = poolNamed('one')
  const details = { heldStacks: ['held'], waitStack: '    at waiting', pools: ['one'], waitedMillis: 7 }
  const error = deadlock(stats, [leaseOf(one)], [edge(one, leaseOf(one))], details)
  assert.ok(error.stack?.endsWith(`${error.message}\n    at waiting`))
  assert.deepEqual(
    [error.pool, error.heldStacks, error.waitStack, error.pools, error.waitedMillis],
    ['one', ['held'], '    at waiting', ['one'], 7],
  )
})

test('a refused nested acquire names what its caller holds, and where it was taken if that is known', () => {
  const [one, two] = [poolNamed('one'), poolNamed('two')]
  const leases = [leaseOf(one, '    at holding'), leaseOf(two), leaseOf(two, '')]
  const shown = nestedAcquire(stats, leases, stack('    at asking'))
  assert.equal(shown.code, 'POOL_NESTED_ACQUIRE')
  assert.match(shown.message, /holds 1 of pool 'one' and 2 of pool 'two' already/)
  assert.ok(
    shown.message.endsWith(
      [
        '',
        'Held since the acquire',
        '    at holding',
        'Held since the acquire',
        '    (not taken; the next time it will be, see captureStacks)',
        'Held since the acquire',
        '    (not taken; the next time it will be, see captureStacks)',
        'Asked for',
        '    at asking',
      ].join('\n'),
    ),
    shown.message,
  )
  assert.ok(shown.stack?.endsWith(`${shown.message}\n    at asking`))
  assert.deepEqual(
    [shown.heldStacks, shown.waitStack, shown.pools],
    [['    at holding', '', ''], '    at asking', ['one', 'two']],
  )
  const bare = nestedAcquire(stats, leases, undefined)
  assert.doesNotMatch(bare.message, /Held since/)
  assert.deepEqual([bare.heldStacks, bare.waitStack], [[], ''])
  assert.doesNotMatch(bare.stack ?? '', /asking/)
})
