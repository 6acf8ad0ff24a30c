import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { metricsText } from '../../src/adapters/prometheus/index.ts'
import { createBudget } from '../../src/index.ts'
import { CountingFactory } from '../support/factories.ts'
import { packageRoot } from '../support/package-root.ts'
import { open } from '../support/pools.ts'

const root = packageRoot()
const pageOf = (name: string): string => readFileSync(join(root, 'docs', name), 'utf8')

const blocksOf = (page: string, language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code]) => code as string,
  )

/** What each block must say, in order. */
const PAGES: Readonly<Record<string, readonly RegExp[]>> = {
  'channels.md': [/^cache: use waited [\d.]+ ms\ncache: POOL_CLOSED\ncache: acquire waited 0 ms$/, /^$/],
  'otel.md': [/^$/, /db\.client\.connection\.wait_time/],
  'prometheus.md': [
    /db_client_connection_max\{db_client_connection_pool_name="cache"\} 1/,
    /^$/,
    /db_client_connection_wait_time_seconds_count\{db_client_connection_pool_name="cache"\} 1/,
  ],
}

for (const [name, expected] of Object.entries(PAGES)) {
  const blocks = blocksOf(pageOf(name), 'js')
  test(`every block of docs/${name} runs, says what it must, and ends`, async () => {
    assert.equal(blocks.length, expected.length)
    for (const [index, block] of blocks.entries()) {
      const flags = ['--no-warnings', '--input-type=module', '-e', block]
      const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd: root, timeout: 60_000 })
      assert.match(stdout.trim(), expected[index] as RegExp, block)
    }
  })
}

test('every metric that the documents and alerts name is there, and every metric is documented', async () => {
  const budget = createBudget({ max: 5, name: 'shared' })
  const pool = open(new CountingFactory(), { name: 'documented', budget })
  await pool.destroy(await pool.acquire())
  const text = metricsText()
  const there = new Set([...text.matchAll(/^([a-z_]+)[{ ]/gm)].map(([, name]) => name as string))
  const [alerts = ''] = blocksOf(pageOf('prometheus.md'), 'promql')
  // The labels by which an alert groups are no metrics.
  for (const [name] of alerts
    .replaceAll(/\bby \([^)]*\)/g, '')
    .matchAll(/\b(?:lifeguard|db_client)_(?!client_connection_pool_name|connection_pool)\w+/g))
    if (name !== 'db_client_connection_pool_name') assert.ok(there.has(name), name)
  const otel = pageOf('otel.md')
  for (const [, family] of text.matchAll(/^# TYPE (\w+)/gm)) {
    const words = (family as string)
      .replace(/_seconds|_total/g, '')
      .replace(/^(?:db_client_connection|lifeguard)_/, '')
    const pattern = new RegExp(`[.\`]${words.replaceAll('_', '[._]')}\``)
    assert.match(otel, pattern, `${family} is not in docs/otel.md`)
  }
})
