import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { diagnose } from '../../src/cli/doctor/doctor.ts'
import { startRedis } from '../support/redis-server.ts'
import { fixture, HEALTHY_CHILD, noPython, PYTHON, Started, skip } from './support.ts'

/*
 * An alarm for a process that is well would make the doctor worthless.
 */

const redis = skip === false ? await startRedis() : undefined
after(() => redis?.stop())

/** Several at a time. */
const QUIET = [
  'idle',
  'many connections',
  'keep-alive server',
  'half-closing clients',
  'paused socket',
  'idle pool',
  'waiting for a child',
]
/** One after the other: each takes what processor there is. */
const BUSY = [
  'computing',
  'busy server',
  'short connections',
  'pool at work',
  'generic-pool at work',
  'talking',
  'worker threads',
  'short stalls',
]

async function check(started: Started): Promise<void> {
  // What it says is taken, as by a log collector.
  started.child.stdout?.resume()
  try {
    const { findings } = await diagnose(started.pid, { seconds: 1 })
    assert.deepEqual(findings, [])
  } finally {
    await started.kill()
  }
}

async function checkNode(kind: string): Promise<void> {
  const started = new Started(process.execPath, [HEALTHY_CHILD, kind, redis?.url ?? ''])
  assert.match(await started.word, /^(?:ready|x)/)
  await check(started)
}

async function checkPython(kind: string): Promise<void> {
  const started = new Started(PYTHON ?? '', [fixture('healthy.py'), kind])
  assert.equal(await started.word, 'ready')
  await check(started)
}

describe('the doctor raises no alarm for a process that is well, and works', { skip }, () => {
  for (const kind of BUSY) test(`Node, ${kind}`, () => checkNode(kind))
  for (const kind of ['computing', 'threads', 'select'])
    test(`Python, ${kind}`, { skip: noPython }, () => checkPython(kind))
})

describe('the doctor raises no alarm for a process that is well, and has little to do', {
  skip,
  concurrency: 4,
}, () => {
  for (const kind of QUIET) test(`Node, ${kind}`, () => checkNode(kind))
  test('Python, idle', { skip: noPython }, () => checkPython('idle'))
  test('a shell that waits for its child', async () => {
    // Its child outlives it, and would keep whoever reads this file's stderr waiting.
    const started = new Started('/bin/sh', ['-c', 'echo ready; sleep 60; true'], 'ignore')
    await started.word
    await check(started)
  })
  test('a program that waits for its input', async () => {
    const started = new Started('/bin/sh', ['-c', 'echo ready; exec cat'])
    await started.word
    await check(started)
  })
  test('redis-server', async () => {
    const { findings } = await diagnose(redis?.pid ?? 0, { seconds: 1 })
    assert.deepEqual(findings, [])
  })
})
