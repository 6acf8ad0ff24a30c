import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { ChildOutput } from '../support/child-output.ts'

for (const kind of ['inspect', 'getters', 'proxy', 'debug.log']) {
  test(`what cannot be printed (${kind}) harms no pool that has to tell of it`, async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'unprintable-child.js'), kind], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DEBUG: 'lifeguard-pool:*' },
    })
    const output = new ChildOutput(child)
    const code = await output.ended
    const { stdout, stderr } = output
    assert.equal(`${stdout.trim()}, ${code}`, 'served, 0', stderr)
    // Node shows an error whose getters throw, in its own way.
    if (kind !== 'inspect' && kind !== 'proxy') return
    assert.match(stderr, /failed, 1 in a row: .*cannot be shown/)
    assert.match(stderr, /#\d+: .*cannot be shown/)
  })
}
