import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { type BuildOptions, build } from 'esbuild'
import { packageRoot } from '../support/package-root.ts'
import { withRedis } from '../support/redis.ts'

const run = promisify(execFile)
const redis = await withRedis()
const root = packageRoot()
const folder = mkdtempSync(join(root, '.build', 'bundled-'))
after(() => {
  rmSync(folder, { recursive: true })
  return redis.stop()
})

const ENTRIES = `
  import { createPool } from 'lifeguard-pool'
  import { createRedisPool } from 'lifeguard-pool/ioredis'
  import { createSocketPool } from 'lifeguard-pool/net'
  import { installReportSignal, recordTimeline } from 'lifeguard-pool/diagnostics'
  const found = { entries: [createPool, createRedisPool, createSocketPool, installReportSignal].length }
`
/** A task that holds one lease and asks for the next, of a pool of one. */
const KNOT = `
  const pool = createPool({ create: async () => ({}), destroy: () => {} }, { max: 1 })
  async function task() {
    const outer = await pool.lease()
    try {
      await (await pool.lease()).release()
    } finally {
      await outer.release()
    }
  }
  const knot = () => task().catch(error => { found.knot = error.code }).then(() => pool.close())
`
const DIRT = `
  const clients = createRedisPool(process.env.URL, { max: 1 })
  clients.on('dirty', ({ stack }) => { found.stack = stack })
  async function soils(client) { client.multi({ pipeline: false }); await client.ping() }
  const dirt = async () => {
    for (let times = 0; times < 5; times += 1) await clients.use(soils)
    await clients.close()
  }
`
/** A recording of a loan at once and of one that waits. */
const RECORDED = `
  const recorded = async () => {
    const pool = createPool({ create: async () => ({}), destroy: () => {} }, { max: 1 })
    // A span has a length.
    const work = () => new Promise(resolve => setImmediate(resolve))
    async function asks() { const resource = await pool.acquire(); await work(); await pool.release(resource) }
    async function uses() { await pool.use(work) }
    await asks()
    const recording = recordTimeline()
    await asks()
    await Promise.all([uses(), uses(), asks()])
    const { spans, waits } = recording.stop()
    found.sites = [...spans, ...waits].flatMap(({ site }) => site ?? [])
    await pool.close()
  }
`
const MAIN = 'knot().then(dirt).then(recorded).then(() => console.log(JSON.stringify(found)))'

const FORMATS: readonly [name: string, file: string, BuildOptions][] = [
  ['ES module', 'plain.mjs', { format: 'esm' }],
  ['CommonJS', 'plain.cjs', { format: 'cjs' }],
  ['minified ES module', 'small.mjs', { format: 'esm', minify: true }],
]

describe('bundled into a service', { skip: redis.skip }, () => {
  for (const [name, file, options] of FORMATS) {
    test(`as ${name}: every entry loads, a deadlock of leases is seen, and the user's line is named`, async () => {
      const outfile = join(folder, file)
      await build({
        ...options,
        stdin: {
          contents: ENTRIES + KNOT + DIRT + RECORDED + MAIN,
          resolveDir: root,
          sourcefile: 'service.js',
        },
        outfile,
        bundle: true,
        platform: 'node',
        external: ['ioredis', 'debug', 'generic-pool'],
        logLevel: 'error',
      })
      const env = { ...process.env, URL: redis.url }
      const { stdout } = await run(process.execPath, ['--no-warnings', outfile], { env, timeout: 60_000 })
      const found = JSON.parse(stdout)
      assert.equal(found.entries, 4)
      assert.equal(found.knot, 'POOL_DEADLOCK')
      assert.match(found.stack, new RegExp(file))
      // Both calls, by line and column: a line within the package would be one and the same for all.
      assert.equal(new Set(found.sites).size, 2)
      if (options.minify !== true)
        for (const site of found.sites) assert.match(site, /^(?:async )?(?:asks|uses) \(/)
    })
  }
})
