import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

/*
 * `npm run test:recipes [PART …]`: installs the clients of the recipes, compiles them against the package as it would be
 * published, and runs them against real servers. What a machine has no server for is skipped, and said.
 */

const here = import.meta.dirname
const root = join(here, '..', '..')

function run(command, words, cwd) {
  const { status } = spawnSync(command, words, { cwd, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}

if (!existsSync(join(here, 'node_modules', 'pg')))
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], here)
// As an installed package: its own exports and declarations, and no copy.
const link = join(here, 'node_modules', 'lifeguard-pool')
if (!existsSync(link)) symlinkSync(root, link, 'junction')
run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', here], root)

const parts = process.argv.slice(2)
const built = join(here, '.build', 'test')
const files = readdirSync(built)
  .filter(name => name.endsWith('.test.js'))
  .filter(name => parts.length === 0 || parts.some(part => name.includes(part)))
  .map(name => join(built, name))
run(process.execPath, ['--test', '--test-reporter=spec', '--test-timeout=120000', ...files], root)
