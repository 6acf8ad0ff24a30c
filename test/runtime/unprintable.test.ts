import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'

for (const kind of ['inspect', 'getters', 'proxy', 'debug.log']) {
  test(`what cannot be printed (${kind}) harms no pool that has to tell of it`, async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'unprintable-child.js'), kind], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DEBUG: 'lifeguard-pool:*' },
    })
    let said = ''
    let told = ''
    child.stdout.on('data', text => {
      said += text
    })
    child.stderr.on('data', text => {
      told += text
    })
    const [code] = await once(child, 'close')
    assert.equal(`${said.trim()}, ${code}`, 'served, 0', told)
    // Node shows an error whose getters throw, in its own way.
    if (kind !== 'inspect' && kind !== 'proxy') return
    assert.match(told, /failed, 1 in a row: .*cannot be shown/)
    assert.match(told, /#\d+: .*cannot be shown/)
  })
}
