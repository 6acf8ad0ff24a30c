import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { BINARY_VARIABLE, ensureRedisBinary, MISSING_VARIABLE } from './support/redis-binary.ts'

/*
 * What `npm test` runs. Arguments that start with '-' go to `node --test`; the others choose files by a part of their
 * path. LIFEGUARD_NODE names another node binary for the tests, for instance that of a newer version. LIFEGUARD_STALLS
 * has them stand still at random, as on a busy machine: see support/stalls.ts.
 */

const words = process.argv.slice(2)
const flags = words.filter(word => word.startsWith('-'))
const parts = words.filter(word => !word.startsWith('-'))

// An explicit list: node 20 would not expand a pattern, and later versions find different files by themselves.
const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.test.js'))
  .filter(name => parts.length === 0 || parts.some(part => name.includes(part)))
  .sort()
  .map(name => join(import.meta.dirname, name))
if (files.length === 0) {
  process.stderr.write(`No test file matches ${parts.join(', ') || '*.test.js'} in ${import.meta.dirname}\n`)
  process.exit(1)
}

// Once, here: parallel test files would race for the package manager.
const binary = await ensureRedisBinary()
if ('missing' in binary)
  process.stderr.write(`Tests that need a redis-server are skipped: ${binary.missing}\n`)
const outcome = 'path' in binary ? { [BINARY_VARIABLE]: binary.path } : { [MISSING_VARIABLE]: binary.missing }

/*
 * A test that never ends must fail and be named, not hold a build for hours. The runner's own limit is one per file on
 * node 20 and 22; from 24 on it is one per test and does not see a file that a forgotten handle keeps alive, but there
 * a SIGTERM makes the runner report what was still running.
 */
const patience = process.env.LIFEGUARD_LONG ? 10 : 1
const fileMillis = patience * 300_000
const totalMillis = patience * 1_500_000

// Node leaves one core free, and of two that is half. Most tests wait most of the time: one more than there are cores. Long
// ones have theirs.
const concurrency = process.env.LIFEGUARD_LONG ? 1 : availableParallelism() + 1

const { NODE_OPTIONS = '', LIFEGUARD_STALLS } = process.env
const preload = pathToFileURL(join(import.meta.dirname, 'support', 'stalls.js')).href
const stalls = LIFEGUARD_STALLS ? { NODE_OPTIONS: `${NODE_OPTIONS} --import ${preload}` } : {}

const node = process.env.LIFEGUARD_NODE || process.execPath
const child = spawn(
  node,
  [
    '--test',
    '--test-reporter=spec',
    `--test-timeout=${fileMillis}`,
    `--test-concurrency=${concurrency}`,
    ...flags,
    ...files,
  ],
  {
    stdio: 'inherit',
    env: { ...process.env, ...outcome, ...stalls },
  },
)
const limit = setTimeout(() => {
  process.stderr.write(`The tests have not ended after ${totalMillis / 1000} s: stopping them\n`)
  child.kill('SIGTERM')
}, totalMillis)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('error', error => {
  clearTimeout(limit)
  process.stderr.write(`${node} could not be started: ${error.message}\n`)
  process.exitCode = 1
})
child.on('exit', code => {
  clearTimeout(limit)
  process.exitCode = code ?? 1
})
