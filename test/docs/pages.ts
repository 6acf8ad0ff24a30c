import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'

/* The Markdown pages of the project, taken apart: headings, links, blocks of code. */

const FOLDERS = ['docs', 'examples']
const AT_THE_TOP = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md']

export interface Block {
  readonly language: string
  readonly code: string
  /** The line of its first fence, from 1. */
  readonly line: number
  /** The comment right before it: `<!-- given: pool -->`, `<!-- not run: why -->`, `<!-- from: examples/x.ts -->`. */
  readonly notes: Readonly<Record<string, string>>
}

export interface Page {
  /** Its path from the root, with slashes. */
  readonly name: string
  readonly text: string
  readonly blocks: readonly Block[]
  readonly anchors: ReadonlySet<string>
  /** Targets of links and pictures, those in HTML included. */
  readonly links: readonly { readonly target: string; readonly line: number }[]
}

const NOTE = /^<!-- (given|not run|not compiled|from): (.*) -->$/

/** As GitHub makes them, and as the site is set up to. */
export const slugOf = (heading: string): string =>
  heading
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/<[^>]*>/g, '')
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-')

export function readPage(name: string): Page {
  const text = readFileSync(join(packageRoot(), name), 'utf8')
  const blocks: Block[] = []
  const anchors = new Set<string>()
  const links: { target: string; line: number }[] = []
  let open: { language: string; line: number; code: string[]; notes: Record<string, string> } | undefined
  let notes: Record<string, string> = {}
  for (const [index, line] of text.split('\n').entries()) {
    const [, fence] = /^```(.*)$/.exec(line) ?? []
    if (open !== undefined) {
      if (fence === undefined) open.code.push(line)
      else {
        blocks.push({ ...open, code: `${open.code.join('\n')}\n` })
        open = undefined
      }
      continue
    }
    if (fence !== undefined) {
      open = { language: fence.trim(), line: index + 1, code: [], notes }
      notes = {}
      continue
    }
    if (line !== '' && !line.startsWith('<!--')) notes = {}
    const [, key, value] = NOTE.exec(line) ?? []
    if (key !== undefined && value !== undefined) notes[key] = value
    const [, heading] = /^#+ (.*)$/.exec(line) ?? []
    if (heading !== undefined) {
      const slug = slugOf(heading)
      let free = slug
      for (let again = 1; anchors.has(free); again += 1) free = `${slug}-${again}`
      anchors.add(free)
    }
    const prose = line.replace(/`[^`]*`/g, code => '`'.repeat(code.length))
    for (const [, inMarkdown, inHtml] of prose.matchAll(/\]\(([^)\s]+)\)|(?:href|src)="([^"]+)"/g))
      links.push({ target: inMarkdown ?? inHtml ?? '', line: index + 1 })
  }
  return { name, text, blocks, anchors, links }
}

/** Not into what is installed or built: the recipes link the package itself, a circle without an end. */
export function markdownIn(folder: string): string[] {
  return readdirSync(join(packageRoot(), folder), { withFileTypes: true }).flatMap(entry => {
    const name = `${folder}/${entry.name}`
    if (entry.isDirectory()) return /^[.]|^node_modules$/.test(entry.name) ? [] : markdownIn(name)
    return name.endsWith('.md') ? [name] : []
  })
}

/** All of them, in the order of their names. */
export function readPages(): Page[] {
  const inFolders = FOLDERS.flatMap(markdownIn)
  return [...AT_THE_TOP, ...inFolders.sort()].map(readPage)
}
