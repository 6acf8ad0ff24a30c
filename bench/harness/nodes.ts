import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** The binary of a version of Node: this one, or that of the npm package `node`, installed once for the purpose. */
export async function nodeBinary(version: string | undefined): Promise<string> {
  if (version === undefined || process.versions.node.startsWith(`${version}.`)) return process.execPath
  // Beside the compiled scripts it would go with the next build.
  const folder = join(import.meta.dirname, `../../../node_modules/.bench/node-${version}`)
  const binary = join(folder, 'node_modules/node/bin/node')
  try {
    await access(binary)
  } catch {
    process.stderr.write(`installing node@${version} …\n`)
    await execute('npm', ['install', '--no-save', '--no-audit', '--prefix', folder, `node@${version}`])
  }
  return binary
}

export async function versionOf(node: string): Promise<string> {
  return (await execute(node, ['--version'])).stdout.trim().slice(1)
}
