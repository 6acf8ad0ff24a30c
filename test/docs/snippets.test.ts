import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { packageRoot } from '../support/package-root.ts'
import { withRedis } from '../support/redis.ts'
import { readPages } from './pages.ts'
import { snippetFolder, writeSnippets } from './snippets.ts'

/* A reader who copies a block gets a program that compiles and runs. */

const run = promisify(execFile)
const root = packageRoot()
const redis = await withRedis()
after(() => redis.stop())

const pages = readPages()
const snippets = await writeSnippets(pages)

const failure = (error: unknown): string => {
  const { stdout, stderr, message } = error as { stdout?: string; stderr?: string; message: string }
  return `${stdout ?? ''}\n${stderr ?? ''}`.trim() || message
}

describe('the blocks of the documents', () => {
  test('compile', async () => {
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    // One checker: each of the usual four would check for itself what the blocks import.
    await run(process.execPath, [tsc, '-p', snippetFolder, '--checkers', '1'], { cwd: root }).catch(error => {
      let told = failure(error)
      for (const { source, place } of snippets)
        told = told.replaceAll(relative(root, source).replaceAll('\\', '/'), place)
      assert.fail(told)
    })
  })

  const runnable = snippets.filter(({ block }) => block.notes['not run'] === undefined)
  for (const page of new Set(runnable.map(snippet => snippet.page))) {
    const own = runnable.filter(snippet => snippet.page === page)
    const needsRedis = own.some(({ block }) => block.code.includes('/ioredis'))
    test(`${page}: each of ${own.length} runs`, { skip: needsRedis && redis.skip }, async () => {
      const runner = join(import.meta.dirname, 'snippet-runner.js')
      const files = own.map(({ program }) => program)
      const env = { ...process.env, ...(redis.skip ? {} : { REDIS_URL: redis.url }) }
      await run(process.execPath, ['--no-warnings', runner, ...files], { env, timeout: 60_000 }).catch(
        error => {
          let told = failure(error)
          for (const { program, place } of own) told = told.replaceAll(program, place)
          assert.fail(told)
        },
      )
    })
  }

  test('that are quoted from a file say what the file says', () => {
    const quoted = pages.flatMap(({ name, blocks }) =>
      blocks.flatMap(({ code, line, notes }) =>
        notes.from === undefined ? [] : [{ place: `${name}:${line}`, code, file: notes.from }],
      ),
    )
    const wrong = quoted.filter(({ code, file }) => !readFileSync(join(root, file), 'utf8').includes(code))
    assert.deepEqual(
      wrong.map(({ place, file }) => `${place} is not in ${file}`),
      [],
    )
  })
})
