import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

for (const how of ['use', 'acquire']) {
  test(`the first loans of a process reach nobody else: their callers are independent (${how})`, async () => {
    const script = fileURLToPath(new URL('./fresh-process.js', import.meta.url))
    const { stdout } = await run(process.execPath, [script, how], { timeout: 30_000 })
    assert.equal(stdout, '0 nested')
  })
}

test('a caller that waited when the first acquire was made is not refused for what that caller holds', async () => {
  const script = fileURLToPath(new URL('./first-acquires.js', import.meta.url))
  // What makes stalls would have switched context tracking on.
  const env = { ...process.env, NODE_OPTIONS: '' }
  const { stdout } = await run(process.execPath, [script], { timeout: 30_000, env })
  assert.equal(stdout, 'served')
})

const [major = 0] = process.versions.node.split('.').map(Number)

for (const nested of ['detect', 'forbid', 'reuse']) {
  const switches = nested !== 'detect' && major < 24
  test(`a process that uses a pool has ${switches ? 'the' : 'no'} promise hook on (${nested})`, async () => {
    const script = fileURLToPath(new URL('./no-context.js', import.meta.url))
    // Nothing is loaded before it: what makes stalls has a promise hook of its own.
    const env = { ...process.env, NODE_OPTIONS: '' }
    const { stdout } = await run(process.execPath, [script, nested], { timeout: 30_000, env })
    if (nested === 'detect') assert.equal(stdout, '1 deadlock, ids 0')
    // That the test would see one that is on.
    if (switches) assert.doesNotMatch(stdout, /ids 0$/)
  })
}
