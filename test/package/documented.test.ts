import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { markdownIn } from '../docs/pages.ts'
import { packageRoot } from '../support/package-root.ts'
import { entryPoints, readSources } from '../support/sources.ts'

/*
 * What users give and get must stand in a document that users read: each option, event, error code and hook by its name,
 * as code. The names come from the declarations, so that a new one is missed on the day on which it is added.
 */

/** Pages for those who work on the package, and tables of figures: no place for what a user must know. */
const NOT_FOR_USERS = new Set(['architecture.md', 'where.md', 'performance.md'])

const pages = [
  'README.md',
  ...markdownIn('docs').filter(name => !NOT_FOR_USERS.has(name.slice('docs/'.length))),
].map(name => readFileSync(join(packageRoot(), name), 'utf8'))

/** All that stands in them as code: `so`, or in a block of its own. */
const asCode = pages.flatMap(page => page.match(/```[\s\S]*?```|`[^`\n]+`/g) ?? []).join('\n')

const sources = readSources()
const entries = entryPoints().map(entry => sources.find(({ name }) => name === entry)?.code ?? '')
const exported = new Set(
  entries.flatMap(code => {
    const lists = [...code.matchAll(/export\s+(?:type\s+)?\{([^}]*)\}/g)].flatMap(
      ([, list]) => list?.split(',') ?? [],
    )
    const listed = lists.map(name => name.replace(/^\s*(?:type\s)?\s*(\w+)[\s\S]*$/, '$1'))
    return [...listed, ...[...code.matchAll(/^export interface (\w+)/gm)].map(([, name = '']) => name)]
  }),
)

interface Declared {
  readonly name: string
  readonly body: string
}

const interfaces: Declared[] = sources.flatMap(({ code }) =>
  [...code.matchAll(/^export interface (\w+)[^{]*\{\n([\s\S]*?)^\}/gm)].map(([, name = '', body = '']) => ({
    name,
    body,
  })),
)

/** The members of an interface; with `nested`, those of objects in it, too. */
function membersOf({ body }: Declared, nested: boolean): string[] {
  const member = nested
    ? /^ {2,}(?:readonly )?'?([\w-]+)'?\??[:(<]/gm
    : /^ {2}(?:readonly )?'?([\w-]+)'?\??[:(<]/gm
  return [...body.matchAll(member)].map(([, name = '']) => name)
}

const codes = sources.flatMap(({ code }) =>
  [...code.matchAll(/'(POOL_[A-Z_]+)'/g)].map(([, name = '']) => name),
)

const isDocumented = (name: string): boolean => new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(asCode)

function allDocumented(what: string, names: readonly string[], least: number): void {
  assert.ok(names.length >= least, `only ${names.length} found: ${names.join(', ')}`)
  const missing = [...new Set(names)].filter(name => !isDocumented(name))
  assert.deepEqual(
    missing,
    [],
    `${what} in no document that users read (README.md, docs/): say it on the page of its subject`,
  )
}

/** What `docs/where.md` says of each option and error code: in which file it acts. */
const where = readFileSync(join(packageRoot(), 'docs', 'where.md'), 'utf8')

describe('those who change the package find the place', () => {
  const names = new Set(sources.map(({ name }) => name))

  test('every file of src that a document names is there', () => {
    const gone: string[] = []
    let found = 0
    for (const page of [
      'CONTRIBUTING.md',
      ...readdirSync(join(packageRoot(), 'docs')).map(name => join('docs', name)),
    ]) {
      if (!page.endsWith('.md')) continue
      const rooms = [
        ...new Set([...names].filter(name => name.includes('/')).map(name => name.split('/')[0])),
      ].join('|')
      const paths = new RegExp(`(?<![\\w./-])(?:src/)?((?:${rooms})/[\\w/-]+\\.ts)`, 'g')
      for (const [, path = ''] of readFileSync(join(packageRoot(), page), 'utf8').matchAll(paths)) {
        found += 1
        if (!names.has(path)) gone.push(`${page}: ${path}`)
      }
    }
    assert.ok(found > 80, `only ${found} paths found`)
    assert.deepEqual(gone, [], 'documents name files that are not in src')
  })

  test('every option and every error code has its line in docs/where.md', () => {
    const options = interfaces.find(({ name }) => name === 'PoolOptions')
    assert.ok(options !== undefined)
    const missing = [...membersOf(options, false), ...codes].filter(name => !where.includes(`\`${name}\``))
    assert.deepEqual([...new Set(missing)], [])
  })

  test('every room has its line in docs/architecture.md', () => {
    const page = readFileSync(join(packageRoot(), 'docs', 'architecture.md'), 'utf8')
    const rooms = new Set([...names].filter(name => name.includes('/')).map(name => name.split('/')[0]))
    assert.equal(rooms.size, 13)
    for (const room of rooms) assert.match(page, new RegExp(`^\\| \\d \\| \`${room}\` \\|`, 'm'))
  })
})

describe('what users give and get is documented', () => {
  for (const declared of interfaces) {
    if (!exported.has(declared.name)) continue
    if (/(?:Options|Target)$/.test(declared.name))
      test(`every member of ${declared.name}`, () => allDocumented('options', membersOf(declared, true), 1))
    if (declared.name === 'Factory')
      test('every hook of a factory', () => allDocumented('hooks', membersOf(declared, false), 8))
    if (declared.name === 'PoolEvents')
      test('every event', () => allDocumented('events', membersOf(declared, false), 10))
  }

  test('every error code', () => {
    allDocumented('error codes', codes, 14)
  })

  test('every function and class that can be imported', () => {
    const values = entries.flatMap(code => {
      const lists = [...code.matchAll(/^export\s+\{([^}]*)\}/gm)].flatMap(
        ([, list]) => list?.split(',') ?? [],
      )
      const listed = lists.map(name => name.trim()).filter(name => /^\w+$/.test(name))
      const made = [...code.matchAll(/^export (?:const|function|class) (\w+)/gm)].map(([, name = '']) => name)
      return [...listed, ...made]
    })
    // Marked as internal, and stripped from the declarations.
    const internal = new Set(['openRedisPool', 'redisFactory'])
    const names = values.filter(name => !internal.has(name))
    allDocumented('functions or classes', names, 10)
  })

  test('every reason of the event destroy', () => {
    const [, union = ''] =
      /type DestroyReason =([^;]*?)\n\n/.exec(sources.map(({ code }) => code).join('\n')) ?? []
    allDocumented(
      'reasons',
      [...union.matchAll(/'([\w-]+)'/g)].map(([, name = '']) => name),
      10,
    )
  })

  test('the interfaces are found', () => {
    const found = interfaces.filter(({ name }) => exported.has(name)).map(({ name }) => name)
    for (const name of [
      'PoolOptions',
      'AcquireOptions',
      'RedisPoolOptions',
      'SocketTarget',
      'Factory',
      'PoolEvents',
    ])
      assert.ok(found.includes(name), `${name} is not among ${found.join(', ')}`)
  })
})
