import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, test } from 'node:test'
import { packageRoot } from '../support/package-root.ts'
import { type Page, readPages } from './pages.ts'

/* A reader who follows a link arrives; a command that a page names can be given. */

const pages = readPages()
const byName = new Map(pages.map(page => [page.name, page]))

/** What a path in a document may stand for: a folder, a file, or what is made of a TypeScript file. */
const exists = (path: string): boolean => existsSync(join(packageRoot(), path))

function deadLinks({ name, links, anchors }: Page): string[] {
  return links.flatMap(({ target, line }) => {
    if (/^(?:https?|mailto):/.test(target)) return []
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? name : posix.normalize(posix.join(posix.dirname(name), decodeURI(path)))
    if (!exists(file)) return [`line ${line}: ${target}: no such file`]
    const known = path === '' ? anchors : byName.get(file)?.anchors
    return anchor === undefined || known === undefined || known.has(anchor)
      ? []
      : [`line ${line}: ${target}: no such heading; there are ${[...known].join(', ')}`]
  })
}

const { scripts, files } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))

/** Is a file, or a folder, in the package as it is published? */
function isPublished(path: string): boolean {
  const isIn = (entry: string): boolean => path === entry || path.startsWith(`${entry}/`)
  const entries: readonly string[] = ['README.md', 'LICENSE', 'package.json', ...files]
  return entries.some(isIn) && !entries.some(entry => entry.startsWith('!') && isIn(entry.slice(1)))
}

/** Commands of the project in shell blocks and in the text. */
function deadCommands({ text }: Page): string[] {
  const named = [...text.matchAll(/npm run (?:-s |--silent )?([\w:-]+)/g)].map(([, script = '']) => script)
  const files = [...text.matchAll(/node \.build\/([\w./-]+)\.js/g)].map(([, file = '']) => file)
  return [
    ...named
      .filter(script => !Object.hasOwn(scripts, script))
      .map(script => `npm run ${script}: no such script`),
    ...files.filter(file => !exists(`${file}.ts`)).map(file => `.build/${file}.js: there is no ${file}.ts`),
  ]
}

describe('what a reader follows', () => {
  for (const page of pages) {
    test(`${page.name}: every link leads to a file and a heading that exist`, () =>
      assert.deepEqual(deadLinks(page), []))
    test(`${page.name}: every script and program that it names exists`, () =>
      assert.deepEqual(deadCommands(page), []))
  }
})

describe('the pages as a whole', () => {
  test('no link of a page that is published leads to a file that is not', () => {
    const shipped = pages.filter(({ name }) => isPublished(name))
    assert.ok(shipped.length > 30, shipped.map(({ name }) => name).join())
    const dead = shipped.flatMap(({ name, links }) =>
      links.flatMap(({ target, line }) => {
        const [path = ''] = target.split('#')
        if (path === '' || /^(?:https?|mailto):/.test(path)) return []
        const file = posix.normalize(posix.join(posix.dirname(name), decodeURI(path)))
        return isPublished(file) ? [] : [`${name}, line ${line}: ${target}`]
      }),
    )
    assert.deepEqual(dead, [], 'name it as a path, `so`, or add it to "files" of package.json')
  })

  test('what the recipes and the site install is not published with them', () => {
    for (const folder of [
      'docs/site/node_modules',
      'examples/recipes/node_modules',
      'examples/recipes/.build',
    ])
      assert.equal(isPublished(`${folder}/x`), false, folder)
    for (const file of ['docs/api.md', 'examples/recipes/amqp.ts', 'dist/index.js', 'CONTRIBUTING.md'])
      assert.equal(isPublished(file), true, file)
  })

  test('each promise of the README links, in words, to a section that names its tests, and they exist', () => {
    const rows = (byName.get('README.md')?.text ?? '').split('\n').filter(line => /^[|] never /.test(line))
    const sections = (byName.get('docs/promises.md')?.text ?? '').split(/^## /m).slice(1)
    assert.ok(rows.length >= 8)
    assert.equal(sections.length, rows.length)
    for (const row of rows) {
      const [, words = '', anchor = ''] = /\[([^\]]+)\]\(docs\/promises\.md#([\w-]+)\)/.exec(row) ?? []
      assert.ok(words.includes(' ') && !words.includes('`'), row)
      const section = sections.find(text => text.toLowerCase().startsWith(anchor.replaceAll('-', ' ')))
      const files = [...(section ?? '').matchAll(/`(test\/[\w/-]+\.test\.ts)`/g)].map(([, file = '']) => file)
      assert.ok(files.length > 0, anchor)
      assert.deepEqual(
        files.filter(file => !exists(file)),
        [],
      )
    }
  })

  test('every page of docs/ is in the menu of the site', () => {
    const menu = readFileSync(join(packageRoot(), 'docs/site/.vitepress/config.mjs'), 'utf8')
    const missing = pages
      .map(({ name }) => /^docs\/(.+)\.md$/.exec(name)?.[1])
      .filter(name => name !== undefined && !menu.includes(`'${name}'`))
    assert.deepEqual(missing, [])
  })

  test('every page of docs/ can be reached from the README by links', () => {
    const reached = new Set(['README.md'])
    for (const name of reached) {
      for (const { target } of byName.get(name)?.links ?? []) {
        const [path = ''] = target.split('#')
        const file = posix.normalize(posix.join(posix.dirname(name), path))
        if (byName.has(file)) reached.add(file)
      }
    }
    const islands = pages.filter(({ name }) => name.startsWith('docs/') && !reached.has(name))
    assert.deepEqual(
      islands.map(({ name }) => name),
      [],
    )
  })
})
