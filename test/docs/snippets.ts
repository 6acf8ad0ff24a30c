import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { transform } from 'esbuild'
import { packageRoot } from '../support/package-root.ts'
import type { Block, Page } from './pages.ts'

/* The blocks of the documents as programs: TypeScript for the compiler, JavaScript to run. */

export interface Snippet {
  /** `docs/redis.md:12`. */
  readonly place: string
  readonly page: string
  readonly source: string
  readonly program: string
  readonly block: Block
}

const LANGUAGES = new Set(['ts', 'js'])

const folder = join(packageRoot(), '.build', 'snippets')

export const isProgram = ({ language, notes }: Block): boolean =>
  LANGUAGES.has(language) && notes.from === undefined && notes['not compiled'] === undefined

/** What a block is, with what it is given. It is a module even where it imports nothing. */
function sourceOf({ code, notes }: Block): string {
  const given = notes.given === undefined ? '' : `import { ${notes.given} } from 'given'\n`
  return `${given}${code}export {}\n`
}

/** The servers of the documents are those of the tests. */
const placed = (code: string): string =>
  code.replaceAll(/(['"])rediss?:\/\/[^'"]*\1/g, 'process.env.REDIS_URL')

/** Writes the programs of all pages into a folder of their own, and what the compiler needs to know. */
export async function writeSnippets(pages: readonly Page[]): Promise<Snippet[]> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const snippets: Snippet[] = []
  for (const { name, blocks } of pages) {
    for (const block of blocks.filter(isProgram)) {
      const file = join(folder, `${name.replace(/\W/g, '-')}-${block.line}`)
      const source = sourceOf(block)
      if (block.language !== 'js') writeFileSync(`${file}.mts`, source)
      const { code } = await transform(source, { loader: 'ts', format: 'esm', target: 'node20' })
      const given = relative(folder, join(import.meta.dirname, 'given.js')).replaceAll('\\', '/')
      writeFileSync(`${file}.mjs`, placed(code).replace(/(['"])given\1/, `'${given}'`))
      snippets.push({
        place: `${name}:${block.line}`,
        page: name,
        source: `${file}.mts`,
        program: `${file}.mjs`,
        block,
      })
    }
  }
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: {
      rootDir: '../..',
      noUnusedLocals: false,
      noUnusedParameters: false,
      paths: {
        given: ['../../test/docs/given.ts'],
        'lifeguard-pool': ['../../src/index.mts'],
        'lifeguard-pool/ioredis': ['../../src/adapters/ioredis/index.mts'],
        'lifeguard-pool/net': ['../../src/adapters/net/index.mts'],
        'lifeguard-pool/diagnostics': ['../../src/diagnostics/index.mts'],
        'lifeguard-pool/testing': ['../../src/testing/index.mts'],
      },
    },
    include: ['*.mts'],
    exclude: [],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config, null, 2))
  return snippets
}

export const snippetFolder = folder
