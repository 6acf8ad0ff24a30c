/* Other versions of Node, for tests: the binaries of the npm package `node`, installed once into a folder of their own. */

import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from './package-root.ts'

const run = promisify(execFile)
/** A binary that is installed here is not removed by `npm run clean`. Another folder: LIFEGUARD_NODES. */
const cache = process.env.LIFEGUARD_NODES ?? join(packageRoot(), 'node_modules/.nodes')

export async function nodeOf(major: string): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const folder = join(cache, major)
  const binary = join(folder, 'node_modules/node/bin/node')
  const isThere = await access(binary).then(
    () => true,
    () => false,
  )
  if (!isThere) {
    process.stderr.write(`installing node@${major} into ${folder}\n`)
    await run('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', folder, `node@${major}`])
  }
  return binary
}

export const versionOf = async (binary: string): Promise<string> =>
  (await run(binary, ['--version'])).stdout.trim()
