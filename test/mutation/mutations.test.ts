import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Covered, executes } from './coverage.ts'
import { mutated } from './mutations.ts'
import { readMutations } from './places.ts'
import { Tried } from './record.ts'

/** The faults of a program, each as the line that it makes. */
function faultsOf(text: string): string[] {
  const root = mkdtempSync(join(tmpdir(), 'mutations-'))
  try {
    for (const folder of ['src/room', 'mutation']) mkdirSync(join(root, folder), { recursive: true })
    writeFileSync(join(root, 'src/room/file.js'), text)
    return readMutations(root, 'room', '').map(mutation => mutated(text, mutation))
  } finally {
    rmSync(root, { recursive: true })
  }
}

const cases: [before: string, after: string[]][] = [
  ['if (a < b) c()', ['if (true) c()', 'if (false) c()', 'if (a <= b) c()']],
  ['const d = a && b', ['const d = (a)', 'const d = (b)']],
  ['const d = a ?? b', ['const d = (a)', 'const d = (b)']],
  ['d = a === b', [';', 'd = a !== b']],
  ['a.b(true)', [';', 'a.b(false)']],
  ['a.b += c?.d', [';', 'a.b -= c?.d', 'a.b += c.d']],
  ['const d = Math.min(a + 1, b)', ['const d = Math.max(a + 1, b)', 'const d = Math.min(a - 1, b)']],
  ['a.on(() => b())', [';', 'a.on(() => undefined)']],
  ['const d = a ? b : c', ['const d = true ? b : c', 'const d = false ? b : c']],
  ['while (a) { if (b) continue; c() }', []],
]

test('a fault that no rule makes, or that is no program, would say nothing of the tests', () => {
  for (const [before, after] of cases) {
    const faults = faultsOf(before)
    for (const fault of after)
      assert.ok(faults.includes(fault), `${before}: ${fault} is missing in\n${faults.join('\n')}`)
    if (after.length > 0) assert.equal(faults.length, after.length, faults.join('\n'))
    else assert.ok(faults.length > 0)
  }
})

test('messages, log lines and what the compiler adds are left alone: no test should depend on them', () => {
  const text = [
    '"use strict";',
    'Object.defineProperty(exports, "__esModule", { value: true });',
    'exports.a = void 0;',
    'const log_ts_1 = require("./log.js");',
    `const b = \`\${c ? 1 : 2} of \${d + 1}\`;`,
    'log_ts_1.log.acquire("%s", c && d);',
  ].join('\n')
  assert.deepEqual(faultsOf(text), [])
})

test('a test that does not execute a place is not asked about it', () => {
  const covered = {
    sources: { 'room/file.js': { hash: '', executed: [0, 10, 20, 30] } },
  } as unknown as Covered
  const executed = [0, 9, 10, 19, 20, 29, 30].map(offset => executes(covered, 'room/file.js', offset))
  assert.deepEqual(executed, [true, true, false, false, true, true, false])
  assert.equal(executes(covered, 'room/other.js', 5), false)
})

test('what was found of a file that has changed since would count a fault as noticed that was never tried', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tried-'))
  try {
    const path = join(folder, 'tried.txt')
    const tried = new Tried(path)
    tried.set('room/b.js', 'aa', ['killed', undefined, 'survived'])
    tried.set('room/a.js', 'bb', ['hung', 'not executed'])
    tried.set('room/gone.js', 'cc', ['killed'])
    tried.write(file => file !== 'room/gone.js')
    assert.equal(readFileSync(path, 'utf8'), 'room/a.js bb hn\nroom/b.js aa k-s\n')
    const again = new Tried(path)
    const ends = [0, 1, 2, 3].map(index => again.endOf('room/b.js', 'aa', index))
    assert.deepEqual(ends, ['killed', undefined, 'survived', undefined])
    assert.equal(again.endOf('room/b.js', 'ab', 0), undefined)
    assert.equal(again.endOf('room/gone.js', 'cc', 0), undefined)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
