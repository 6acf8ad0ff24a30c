// The declarations as they are published, seen by the compiler of somebody who has it check those of his libraries, too.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { packageRoot } from '../support/package-root.ts'

const root = packageRoot()
const consumer = mkdtempSync(join(tmpdir(), 'lifeguard-pool-types-'))
after(() => rmSync(consumer, { recursive: true, force: true }))

const { exports, name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string
  exports: Record<string, string | { types: string }>
}
const entries = Object.keys(exports)
  .filter(entry => typeof exports[entry] === 'object')
  .map(entry => join(name, entry))

/** The folder of a package, as Node finds it from here. */
function installed(link: string): string {
  for (let folder = root; ; folder = dirname(folder)) {
    const found = join(folder, 'node_modules', link)
    if (existsSync(found)) return found
    assert.notEqual(folder, dirname(folder), `${link} is not installed`)
  }
}

/** A project that has the package and what it asks of its users, and nothing of what this repository has beside. */
function install(): void {
  const modules = join(consumer, 'node_modules')
  cpSync(join(root, 'dist'), join(modules, name, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(modules, name, 'package.json'))
  for (const link of ['@types/node', 'ioredis', '@opentelemetry/api']) {
    mkdirSync(dirname(join(modules, link)), { recursive: true })
    symlinkSync(installed(link), join(modules, link), 'junction')
  }
  const imports = entries.map((entry, index) => `import * as entry${index} from '${entry}'`)
  const uses = `export const all = [${entries.map((_, index) => `entry${index}`).join(', ')}]`
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(consumer, 'consumer.ts'), [...imports, uses, ''].join('\n'))
}

/** What the compiler says; nothing if all is well. */
function compile(files: readonly string[], ...flags: string[]): Promise<string> {
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const always = [
    ...['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022', '--types', 'node'],
    // What the compiler brings along is not ours to check, nor by several checkers, each from the start.
    ...['--skipDefaultLibCheck', '--checkers', '1'],
  ]
  return new Promise(resolve => {
    const options = { cwd: consumer, timeout: 60_000 }
    execFile(process.execPath, [compiler, ...always, ...flags, ...files], options, (error, stdout) =>
      resolve(error === null ? stdout : `${error.message}\n${stdout}`),
    )
  })
}

install()

test('there are entry points to check', () => {
  assert.ok(entries.length >= 4 && entries.includes('lifeguard-pool/ioredis'), entries.join())
})

for (const flags of [
  ['--module', 'nodenext'],
  ['--module', 'node16', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'],
  ['--module', 'esnext', '--moduleResolution', 'bundler'],
]) {
  test(`whoever has his libraries checked can compile every entry point: ${flags.join(' ')}`, async () => {
    assert.equal(await compile(['consumer.ts'], ...flags), '')
  })
}

test('the examples compile where they are copied to, against the package as it is published', async () => {
  const examples = readdirSync(join(root, 'examples')).filter(
    file => file.endsWith('.ts') && file !== 'start.ts',
  )
  const files = [...examples, join('from-generic-pool', 'after.ts')]
  for (const file of files) cpSync(join(root, 'examples', file), join(consumer, file))
  assert.ok(files.length >= 5, files.join())
  assert.equal(await compile(files, '--module', 'nodenext', '--exactOptionalPropertyTypes'), '')
})
