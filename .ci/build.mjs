import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/*
 * The last step of `npm run build`: what says of each folder of dist how Node is to load it, and a folder for each entry
 * point at the root of the package, for tools that do not know the exports of package.json (Jest before 28, old bundlers,
 * TypeScript with moduleResolution node10).
 */

const root = join(import.meta.dirname, '..')
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const write = (file, content) => {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`)
}

cpSync(join(root, 'src/package.json'), join(root, 'dist/package.json'))
write(join(root, 'dist/esm/package.json'), { type: 'module', sideEffects: false })
for (const [entry, { default: target }] of Object.entries(exports)) {
  if (entry === '.' || target === undefined) continue
  const folder = join(root, entry)
  const from = path => relative(folder, join(root, path)).replaceAll('\\', '/')
  write(join(folder, 'package.json'), {
    type: 'commonjs',
    main: from(target.default),
    types: from(target.types),
    sideEffects: false,
  })
}
