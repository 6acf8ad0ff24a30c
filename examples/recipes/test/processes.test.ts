import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { createWorkerPool } from '../processes.ts'
import { reasonsOf, until } from './dangers.ts'

describe('child processes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'recipe-'))
  after(() => rmSync(folder, { recursive: true }))
  const program = join(folder, 'worker.cjs')
  writeFileSync(
    program,
    `process.on('message', ({ say, die, never }) => {
      if (die) process.exit(3)
      if (!never) process.send({ said: say, pid: process.pid })
    })
    process.send('ready')`,
  )

  test('a worker answers, and is lent again', async () => {
    await using pool = createWorkerPool(program, { max: 1 })
    const first = await pool.use(worker => worker.ask({ say: 1 }))
    const second = await pool.use(worker => worker.ask({ say: 2 }))
    assert.deepEqual(second, { ...(first as object), said: 2 })
  })

  test('a worker that dies under a question fails it, and is replaced', async () => {
    await using pool = createWorkerPool(program, { max: 1 })
    await assert.rejects(
      pool.use(worker => worker.ask({ die: true })),
      /ended with 3/,
    )
    assert.equal(((await pool.use(worker => worker.ask({ say: 1 }))) as { said: number }).said, 1)
  })

  test('a worker that ends while it is idle is replaced before anybody comes', async () => {
    await using pool = createWorkerPool(program, { max: 1, min: 1 })
    await pool.ready()
    const reasons = reasonsOf(pool)
    const pid = await pool.use(worker => worker.process.pid ?? 0)
    process.kill(pid, 'SIGKILL')
    await until('it is replaced', () => reasons.length > 0 && pool.available === 1)
    assert.deepEqual(reasons, ['invalidated'])
  })

  test('a worker that is still busy is killed and not lent on', async () => {
    await using pool = createWorkerPool(program, { max: 1 })
    const reasons = reasonsOf(pool)
    let pid = 0
    await pool.use(worker => {
      pid = worker.process.pid ?? 0
      worker.ask({ never: true }).catch(() => {})
    })
    await pool.use(worker => worker.ask({ say: 1 }))
    assert.deepEqual(reasons, ['dirty'])
    await until('its process is gone', () => {
      try {
        return !process.kill(pid, 0)
      } catch {
        return true
      }
    })
  })

  test('close leaves no process behind', async () => {
    const pool = createWorkerPool(program, { max: 3, min: 3 })
    await pool.ready()
    const pids = await Promise.all([1, 2, 3].map(() => pool.use(async worker => worker.process.pid ?? 0)))
    await pool.close()
    for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  })
})
