import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { copyLinked } from './files.mjs'

/*
 * `npm run docs`: the site in docs/site/dist. The pages are those of docs/, as they are; the API comes from the docstrings.
 * `npm run docs -- --serve` shows it while it is written.
 */

const here = import.meta.dirname
const root = join(here, '../..')
const pages = join(here, '.pages')

function run(command, words, cwd = here) {
  const { status } = spawnSync(command, words, { cwd, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}

const tool = (...path) => join(here, 'node_modules', ...path)

if (!existsSync(tool('vitepress'))) run('npm', ['ci', '--no-audit', '--no-fund'])

rmSync(pages, { recursive: true, force: true })
mkdirSync(pages, { recursive: true })
// As in the repository, so that a link from one page to another is right in both.
for (const name of readdirSync(join(root, 'docs')).filter(each => each !== 'site'))
  cpSync(join(root, 'docs', name), join(pages, 'docs', name), { recursive: true })
for (const name of ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md'])
  cpSync(join(root, name), join(pages, name))
copyLinked(root, pages, join(pages, 'public/files'))
writeFileSync(join(pages, 'index.md'), readFileSync(join(root, 'README.md')))

run(process.execPath, [tool('typedoc', 'bin', 'typedoc'), '--options', join(here, 'typedoc.json')])

const vitepress = tool('vitepress', 'bin', 'vitepress.js')
run(process.execPath, [vitepress, process.argv.includes('--serve') ? 'dev' : 'build', here])
