import { readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { buildSync } from 'esbuild'

/*
 * Puts the script and the style of each page into one file of src, as text: `npm run pages`. What runs in the browser
 * is thus checked as TypeScript and by the linter, and the package reads no file when it runs: bundlers see a constant,
 * and cannot rename, instrument or downlevel what is in it, as they do with a function that is turned into text. The
 * files are committed, so that nothing has to be built before the types are checked; a test compares them with this.
 */

const root = join(import.meta.dirname, '..')

export const PAGES = [
  { folder: 'pages/live', to: 'src/diagnostics/live/live-page.generated.ts', name: 'LIVE_PAGE' },
  { folder: 'pages/timeline', to: 'src/cli/timeline/timeline-page.generated.ts', name: 'TIMELINE_PAGE' },
]

/** What the generated file of a page has to contain. */
export function generated({ folder, name }) {
  const { outputFiles } = buildSync({
    entryPoints: [join(root, folder, 'main.ts')],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    charset: 'ascii',
    legalComments: 'none',
    minifySyntax: false,
    tsconfigRaw: {},
  })
  // The paths in esbuild's comments depend on where it is called.
  const script = outputFiles[0].text.replaceAll(/^\s*\/\/ .*\n/gm, '')
  const style = ['pages/shared/shared.css', `${folder}/page.css`]
    .map(file => readFileSync(join(root, file), 'utf8'))
    .join('\n')
  return `/* Made from ${folder} by \`npm run pages\`: change it there. */\nexport const ${name}: { readonly script: string; readonly style: string } = {\n  script: ${JSON.stringify(script)},\n  style: ${JSON.stringify(style)},\n}\n`
}

if (process.argv[1] === import.meta.filename) {
  for (const page of PAGES) {
    writeFileSync(join(root, page.to), generated(page))
    process.stdout.write(`${relative(process.cwd(), join(root, page.to))}\n`)
  }
}
