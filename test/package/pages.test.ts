import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { packageRoot } from '../support/package-root.ts'

interface Page {
  readonly folder: string
  readonly to: string
}

const root = packageRoot()
const { PAGES, generated } = (await import(pathToFileURL(join(root, 'pages', 'build.mjs')).href)) as {
  PAGES: readonly Page[]
  generated(page: Page): string
}

for (const page of PAGES) {
  test(`${page.to} is what ${page.folder} gives`, () => {
    const committed = readFileSync(join(root, page.to), 'utf8')
    assert.ok(committed === generated(page), 'run `npm run pages`, and commit what it writes')
    assert.doesNotMatch(
      committed,
      /<\/script|<\/style|<!--|innerHTML|insertAdjacentHTML|\beval\b|new Function/,
    )
  })
}
