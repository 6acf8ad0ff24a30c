import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { packageRoot } from '../support/package-root.ts'

const run = promisify(execFile)

const POOL = `
  const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { name: 'seen' })
  await pool.use(() => {})
  await pool.close()`

async function told(code: string, env: Record<string, string> = {}) {
  const flags = ['--input-type=module', '--no-warnings', '-e', code]
  const options = {
    cwd: packageRoot(),
    env: { ...process.env, DEBUG: 'lifeguard-pool:*', ...env },
    timeout: 60_000,
  }
  return run(process.execPath, flags, options)
}

test("the user's own debug.log is respected, set after the package was loaded", async () => {
  const { stdout, stderr } = await told(`
    import debug from 'debug'
    import { createPool } from 'lifeguard-pool'
    debug.log = (...args) => process.stdout.write('mine ' + args[0] + '\\n')
    ${POOL}`)
  assert.equal(stderr, '')
  assert.match(stdout, /^mine .*lifeguard-pool:lend/m)
})

test("the user's own debug.log is respected, set before the package was loaded", async () => {
  const { stdout, stderr } = await told(`
    import debug from 'debug'
    debug.log = console.log.bind(console)
    const { createPool } = await import('lifeguard-pool')
    ${POOL}`)
  assert.equal(stderr, '')
  assert.match(stdout, /lifeguard-pool:lend/)
})

test('format and colours are as debug makes them', async () => {
  const code = `import { createPool } from 'lifeguard-pool'; ${POOL}`
  const plain = await told(code)
  assert.match(plain.stderr, /^\d{4}-\d\d-\d\dT[\d:.]+Z lifeguard-pool:create seen #1: connecting$/m)
  const coloured = await told(code, { DEBUG_COLORS: 'yes' })
  assert.ok(coloured.stderr.includes('\u001b[3'), coloured.stderr)
  const dateless = await told(code, { DEBUG_HIDE_DATE: 'yes' })
  assert.match(dateless.stderr, /^lifeguard-pool:create seen/m)
})
