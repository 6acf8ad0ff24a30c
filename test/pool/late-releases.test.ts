import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { createPool } from '../../src/index.ts'
import { ChildOutput } from '../support/child-output.ts'
import { ScriptedFactory, scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

const closedByForce = async (pool: {
  close(options: { timeoutMillis: number }): Promise<void>
}): Promise<void> => {
  assert.equal((await rejection(pool.close({ timeoutMillis: 1 }))).code, 'POOL_DRAIN_TIMEOUT')
}

describe('a loan that a forced close has ended', () => {
  test('may be released or destroyed once more by its borrower, who could not know', async () => {
    const factory = scripted()
    const pool = createPool(factory, { max: 3 })
    const [first, second, third] = [await pool.acquire(), await pool.acquire(), await pool.lease()]
    await closedByForce(pool)
    await pool.release(first)
    await pool.destroy(second)
    await third.release()
    assert.equal(
      (await rejection(pool.release(first))).code,
      'POOL_NOT_BORROWED',
      'a second time is a mistake',
    )
    assert.equal((await rejection(pool.destroy(second))).code, 'POOL_NOT_BORROWED')
    assert.equal(factory.ledger.strayDestroys, 0)
  })

  test('may be a plain value', async () => {
    const pool = createPool(new ScriptedFactory<number>(id => id), { max: 1 })
    const value = await pool.acquire()
    await closedByForce(pool)
    await pool.release(value)
    assert.equal((await rejection(pool.release(value))).code, 'POOL_NOT_BORROWED')
  })

  test('is over for its lease all the same', async () => {
    const pool = createPool(scripted(), { max: 1 })
    const lease = await pool.lease()
    await closedByForce(pool)
    assert.equal(lease.active, false)
    assert.throws(() => lease.resource, { code: 'POOL_LEASE_ENDED' })
    await lease.destroy()
    await lease[Symbol.asyncDispose]()
  })

  for (const how of ['release', 'destroy', 'lease.release', 'lease.destroy', 'dispose']) {
    test(`does not end the process where nobody awaits its ${how}`, async () => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'late-release-child.js'), how], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const output = new ChildOutput(child)
      const code = await output.ended
      assert.deepEqual({ code, said: output.stdout }, { code: 0, said: 'shut down in order\n' })
    })
  }
})
