import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { inWorker } from '../support/in-worker.ts'
import { packageRoot } from '../support/package-root.ts'

const run = promisify(execFile)

const root = packageRoot()

/** Runs code in a process of its own; a process that does not end by itself fails the test. */
async function child(code: string, type: 'module' | 'commonjs'): Promise<string> {
  const flags = [`--input-type=${type}`, '--no-warnings', '-e', code]
  const { stdout } = await run(process.execPath, flags, { cwd: root, timeout: 60_000 })
  return stdout.trim()
}

const FACTORY = '{ create: async () => ({}), destroy: async () => {} }'

test('the package can be required, and has the same names as when it is imported', async () => {
  const list = 'console.log(Object.keys(p).sort().join())'
  const required = await child(`const p = require('lifeguard-pool'); ${list}`, 'commonjs')
  const imported = await child(`import * as p from 'lifeguard-pool'; ${list}`, 'module')
  for (const name of ['createPool', 'createBudget', 'Pool', 'Lease', 'PoolError', 'isPoolError']) {
    assert.ok(required.split(',').includes(name), `${name} is missing: ${required}`)
  }
  assert.equal(required.replace('__esModule,', ''), imported)
})

test('every entry point can be required and imported', async () => {
  for (const [entry, name] of [
    ['lifeguard-pool/ioredis', 'createRedisPool'],
    ['lifeguard-pool/net', 'createSocketPool'],
    ['lifeguard-pool/diagnostics', 'installReportSignal'],
    ['lifeguard-pool/otel', 'instrumentAll'],
    ['lifeguard-pool/prometheus', 'metricsText'],
    ['lifeguard-pool/testing', 'createSimulation'],
  ]) {
    assert.equal(await inWorker(`tell(typeof require('${entry}').${name})`, 'commonjs'), 'function')
    assert.equal(
      await inWorker(`import { ${name} } from '${entry}'; tell(typeof ${name})`, 'module'),
      'function',
    )
  }
})

test('what is published holds the compiled sources and their types, and nothing else', () => {
  const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })
  assert.ok(files.includes('index.d.ts') && files.includes('index.js'))
  assert.ok(!files.some(name => /(?:^|[/\\])test[/\\]|\.test\./.test(name)), files.join())
})

test('the examples that are published import the package by its name, and nothing that is not published', async () => {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const [{ files }] = JSON.parse((await run('npm', args, { cwd: root, timeout: 60_000 })).stdout)
  const examples = (files as { path: string }[])
    .map(({ path }) => path)
    .filter(path => /^examples\/.*ts$/.test(path))
  assert.ok(examples.includes('examples/http-service.ts'), examples.join())
  for (const example of examples) {
    const [foreign] = /from '\.[^']*'/.exec(readFileSync(join(root, example), 'utf8')) ?? []
    assert.equal(foreign, undefined, `${example} imports ${foreign}`)
  }
})

test('a pool with idle connections, timers and a history keeps no process alive', async () => {
  const code = `
    import { createPool } from 'lifeguard-pool'
    const options = { min: 2, max: 4, idleTimeoutMillis: 60_000, maxLifetimeMillis: 60_000 }
    const pool = createPool(${FACTORY}, options)
    const held = await Promise.all([1, 2, 3, 4].map(() => pool.acquire()))
    const waiting = pool.acquire()
    pool.release(held[0])
    await waiting
    console.log(pool.borrowed)`
  assert.equal(await child(code, 'module'), '4')
})

test('an acquire that waits keeps the process alive until it is settled', async () => {
  const code = `
    import { createPool } from 'lifeguard-pool'
    const pool = createPool(${FACTORY}, { acquireTimeoutMillis: 300 })
    await pool.acquire()
    pool.acquire().catch(error => console.log(error.code))`
  assert.equal(await child(code, 'module'), 'POOL_ACQUIRE_TIMEOUT')
})

test('a waiting drain keeps the process alive until its deadline', async () => {
  const code = `
    import { createPool } from 'lifeguard-pool'
    const pool = createPool(${FACTORY})
    await pool.acquire()
    pool.close({ timeoutMillis: 200 }).catch(error => console.log(error.code))`
  assert.equal(await child(code, 'module'), 'POOL_DRAIN_TIMEOUT')
})

test('debug output is silent unless asked for, and tells the life of a connection when it is', async () => {
  const code = `
    const { createPool } = require('lifeguard-pool')
    const pool = createPool(${FACTORY}, { name: 'seen' })
    pool.use(() => {}).then(() => pool.close())`
  const seen = async (DEBUG: string): Promise<string> => {
    const env = { ...process.env, DEBUG }
    const flags = ['--input-type=commonjs', '--no-warnings', '-e', code]
    return (await run(process.execPath, flags, { cwd: root, env, timeout: 60_000 })).stderr
  }
  assert.equal(await seen(''), '')
  const told = await seen('lifeguard-pool:*')
  for (const part of [
    'pool seen: made',
    'create seen #1: connecting',
    'lend seen #1: lent',
    'destroy seen #1',
  ]) {
    assert.ok(told.includes(`lifeguard-pool:${part}`), `${part} is missing:\n${told}`)
  }
})
