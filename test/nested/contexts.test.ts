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
