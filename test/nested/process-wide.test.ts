/* What the pools of a process know of each other, and forget with them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Connection, PoolNode, UseFrame } from '../../src/nested/host.ts'
import {
  addFrame,
  addPool,
  allPools,
  leaseOfUse,
  leasesOfUse,
  nextNumber,
} from '../../src/nested/process-wide.ts'
import type { StackTrace } from '../../src/runtime/stack-trace.ts'

const poolNamed = (name: string): PoolNode => ({ name }) as unknown as PoolNode

const KEY = Symbol.for('lifeguard-pool.nested.v8')
const shared = (): { pools: Set<unknown>; frames: Map<number, unknown> } =>
  (globalThis as never)[KEY] as { pools: Set<unknown>; frames: Map<number, unknown> }

function frameOf(pool: PoolNode | undefined): {
  frame: UseFrame
  connection: { loan: number; state: string }
} {
  const connection = { state: 'lent', loan: 1 }
  const number = nextNumber()
  const frame = {
    number,
    pool,
    connection: connection as unknown as Connection,
    loan: 1,
    users: 1,
  } as UseFrame
  return { frame, connection }
}

test('without a use in the process, the stack of an acquire is not even read', () => {
  const unread = {
    get leases(): never {
      throw new Error('it was read')
    },
  } as unknown as StackTrace
  assert.deepEqual(leasesOfUse(unread), [])
})

test('each number is given once, and a higher one each time', () => {
  const first = nextNumber()
  assert.deepEqual([nextNumber(), nextNumber()], [first + 1, first + 2])
})

test('a use holds its lease as long as the loan lasts and its pool takes part', () => {
  const pool = poolNamed('one')
  const { frame, connection } = frameOf(pool)
  addFrame(frame)
  const { number } = frame
  assert.deepEqual(leaseOfUse(number), { connection, pool, loan: 1, isPlain: false })
  assert.deepEqual(leasesOfUse({ leases: [number, -1] } as unknown as StackTrace).length, 1)
  connection.loan = 2
  assert.equal(leaseOfUse(number), undefined, 'it is lent to another')
  connection.loan = 1
  connection.state = 'resetting'
  assert.equal(leaseOfUse(number), undefined)
  assert.equal(leaseOfUse(-1), undefined)
  Object.assign(frame, { connection: undefined })
  assert.equal(leaseOfUse(number), undefined, 'it waits for one')
  const outside = frameOf(undefined)
  addFrame(outside.frame)
  assert.equal(leaseOfUse(outside.frame.number), undefined, 'its pool allows nesting')
})

test('pools and functions that nobody has any more are forgotten', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const keptPool = poolNamed('kept')
  const { frame: keptFrame } = frameOf(keptPool)
  addPool(keptPool)
  addFrame(keptFrame)
  const before = { pools: shared().pools.size, frames: shared().frames.size }
  for (let count = 0; count < 200; count += 1) {
    const pool = poolNamed(`pool ${count}`)
    addPool(pool)
    addFrame(frameOf(pool).frame)
  }
  assert.equal(shared().pools.size, before.pools + 200)
  for (let turns = 0; turns < 200 && shared().pools.size + shared().frames.size > 100; turns += 1) {
    collect()
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.ok(shared().pools.size < before.pools + 50, `${shared().pools.size} pools`)
  assert.ok(shared().frames.size < before.frames + 50, `${shared().frames.size} functions`)
  assert.ok(allPools().includes(keptPool))
  assert.ok(allPools().every(pool => pool !== undefined))
  assert.notEqual(leaseOfUse(keptFrame.number), undefined)
})

test('a pool that has just been collected is none of the pools, though its reference is not removed yet', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let count = 0; count < 50; count += 1) addPool(poolNamed(`dropped ${count}`))
  await new Promise(resolve => setImmediate(resolve))
  collect()
  // Nothing has run since that could have removed them.
  const names = allPools().map(({ name }) => name)
  assert.ok(shared().pools.size > names.length, `${names.length} are left`)
})
