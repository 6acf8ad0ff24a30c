import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

/*
 * Files that the pages link to and that are no pages: examples, tests, sources. The site has a copy of each, as text.
 */

/** The name of the copy. Browsers show text, and VitePress takes .md for a page. A folder is shown by its README. */
export function nameOfCopy(root, file) {
  const path = statSync(join(root, file)).isDirectory() ? posix.join(file, 'README.md') : file
  return `${path}.txt`
}

/** Copies what the pages link to. */
export function copyLinked(root, pages, to) {
  for (const name of readdirSync(pages, { recursive: true }).filter(each => each.endsWith('.md'))) {
    const folder = posix.dirname(name.replaceAll('\\', '/'))
    const text = readFileSync(join(pages, name), 'utf8')
    for (const [, target] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (/^(?:[a-z]+:|\/)/.test(target)) continue
      const file = posix.normalize(posix.join(folder, target))
      const isPage = /\.(?:md|svg)$/.test(file) && existsSync(join(pages, file))
      if (isPage || file.startsWith('..') || !existsSync(join(root, file))) continue
      const copy = nameOfCopy(root, file)
      const from = join(root, copy.slice(0, -'.txt'.length))
      if (!existsSync(from)) continue
      mkdirSync(dirname(join(to, copy)), { recursive: true })
      cpSync(from, join(to, copy))
    }
  }
}
