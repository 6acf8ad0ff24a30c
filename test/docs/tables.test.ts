import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { PoolError } from '../../src/api/errors.ts'
import { readOptions, resolveOptions } from '../../src/api/options/resolve-options.ts'
import { newTotals } from '../../src/api/stats.ts'
import { Lease } from '../../src/pool/lease.ts'
import { Pool } from '../../src/pool/pool.ts'
import { packageRoot } from '../support/package-root.ts'
import { publicMembersOf } from '../support/public-members.ts'
import { readPage } from './pages.ts'

/* Tables of the documents against the code: an option with another default, a method that nobody has been told of. */

const cells = (row: string): string[] =>
  row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map(cell => cell.trim().replaceAll('\\|', '|'))

/** The rows of a page whose first cell is code. */
const rowsOf = (page: string): string[][] =>
  readPage(page)
    .text.split('\n')
    .filter(line => line.startsWith('| `'))
    .map(cells)

const source = readFileSync(join(packageRoot(), 'src/api/options/options.ts'), 'utf8')
const declared = new Map(
  [
    ...(/interface PoolOptions \{([\s\S]*?\n)\}/.exec(source)?.[1] ?? '').matchAll(
      /^ {2}(\w+)\?:\s*([\s\S]*?)(?= \| undefined\n| {4}\| undefined\n)/gm,
    ),
  ].map(([, name = '', type = '']) => [name, type.trim()] as const),
)

/** What is as good as left out, for a word in the place of a default. */
const isNothing = (value: unknown): boolean =>
  [undefined, Number.POSITIVE_INFINITY, 0, -1, false].includes(value as undefined)

describe('docs/options.md', () => {
  const rows = rowsOf('docs/options.md').filter(row => row.length === 4)
  const documented = new Map(rows.map(([name = '', ...rest]) => [name.replaceAll('`', ''), rest] as const))
  const defaults = resolveOptions(readOptions({}), false) as unknown as Record<string, unknown>

  test('has one row for each option, and no other', () => {
    assert.ok(declared.size > 30, [...declared.keys()].join())
    assert.deepEqual([...documented.keys()].sort(), [...declared.keys()].sort())
    assert.equal(rows.length, declared.size)
  })

  test('says the default that is in force', () => {
    const wrong = [...documented].flatMap(([name, [, text = '']]) => {
      const [, code] = /^`([^`]+)`$/.exec(text) ?? []
      if (code === undefined) {
        const isComputed = ['name', 'unhealthyAfterMillis', 'Promise'].includes(name)
        return isComputed || isNothing(defaults[name])
          ? []
          : [`${name}: ${text}, and it is ${defaults[name]}`]
      }
      const value = code.startsWith("'") ? code.slice(1, -1) : JSON.parse(code)
      return value === defaults[name] ? [] : [`${name}: ${code}, and it is ${defaults[name]}`]
    })
    assert.deepEqual(wrong, [])
  })

  test('says the type as it is declared', () => {
    const wrong = [...documented].flatMap(([name, [text = '']]) => {
      const [, code] = /^`([^`]+)`$/.exec(text) ?? []
      const type = declared.get(name)
      return code === undefined || code.startsWith('{') || code === type
        ? []
        : [`${name}: ${code}, and it is ${type}`]
    })
    assert.deepEqual(wrong, [])
  })
})

describe('docs/errors.md', () => {
  const codes = [
    ...readFileSync(join(packageRoot(), 'src/api/errors.ts'), 'utf8').matchAll(/^ {2}\| '(POOL_\w+)'/gm),
  ]
  const page = readPage('docs/errors.md')

  test('has a heading for each code, to which messages link', () => {
    assert.ok(codes.length > 12)
    const missing = codes
      .filter(([, code = '']) => !page.anchors.has(code.toLowerCase()))
      .map(([, code]) => code)
    assert.deepEqual(missing, [])
  })

  test('is where an error says that it is explained', () => {
    const { docs } = new PoolError('POOL_UNSENT', 'lost')
    const [, file = '', anchor = ''] = /^node_modules\/lifeguard-pool\/(docs\/[\w.]+)#(\w+)$/.exec(docs) ?? []
    assert.equal(file, page.name)
    assert.ok(page.anchors.has(anchor), docs)
    assert.match(inspect(new PoolError('POOL_UNSENT', 'lost')), /errors\.md#pool_unsent/)
  })

  test('names each field that an error can have', () => {
    const details = /interface PoolErrorDetails \{([\s\S]*?)\n\}/.exec(
      readFileSync(join(packageRoot(), 'src/api/errors.ts'), 'utf8'),
    )?.[1]
    const fields = [...(details ?? '').matchAll(/^ {2}(\w+)\?:/gm)].map(([, name = '']) => name)
    assert.ok(fields.length > 8)
    assert.deepEqual(
      fields.filter(field => !page.text.includes(`\`${field}\``)),
      [],
    )
  })
})

describe('docs/api.md', () => {
  const { text } = readPage('docs/api.md')
  const asCode = (text.match(/`[^`\n]+`/g) ?? []).join('\n')
  const isNamed = (name: string): boolean => new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(asCode)

  test('names each method and getter of a pool and of a lease', () => {
    const all = [...publicMembersOf(Pool as never), ...publicMembersOf(Lease as never)]
    assert.ok(all.length > 20, all.join())
    assert.deepEqual(
      all.filter(name => !isNamed(name)),
      [],
    )
  })

  test('names each counter', () =>
    assert.deepEqual(
      Object.keys(newTotals()).filter(name => !isNamed(name)),
      [],
    ))

  test('names each field of stats()', () => {
    const stats = readFileSync(join(packageRoot(), 'src/api/stats.ts'), 'utf8')
    const body = /interface PoolStats \{([\s\S]*?)\n\}/.exec(stats)?.[1] ?? ''
    const fields = [...body.matchAll(/(?:^ {2,4}|[{;] )(\w+)\??: /gm)].map(([, name = '']) => name)
    assert.ok(fields.length > 30)
    assert.deepEqual(
      [...new Set(fields)].filter(field => !isNamed(field)),
      [],
    )
  })
})
