import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where the server's binary is, or why there is none and what to do about it. */
export type RedisBinary = { path: string } | { missing: string }

/** Set by the test runner, so that parallel test files neither search again nor race for the package manager. */
export const BINARY_VARIABLE = 'LIFEGUARD_REDIS_SERVER'
export const MISSING_VARIABLE = 'LIFEGUARD_REDIS_MISSING'

const remedy = 'Install redis-server (Debian, Ubuntu: apt-get install redis-server), or set REDIS_URL.'

function onPath(name: string): string | undefined {
  // A service's PATH often lacks the sbin and local directories in which packages put servers.
  const directories = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/bin',
    '/usr/local/bin',
    '/usr/sbin',
  ]
  for (const directory of directories) {
    if (directory === '') continue
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this directory.
    }
  }
  return undefined
}

function run(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise(resolve => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    let output = ''
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2000)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.on('error', error => resolve({ code: null, output: error.message }))
    child.on('close', code => resolve({ code, output }))
  })
}

async function installWithApt(apt: string): Promise<RedisBinary> {
  process.stderr.write('redis-server not found: installing it with apt-get (once; may take a minute) ...\n')
  // Without the lock timeout a second apt-get on the machine makes this one fail at once.
  const wait = ['-o', 'DPkg::Lock::Timeout=120']
  const update = await run(apt, [...wait, 'update'])
  const install = await run(apt, [...wait, 'install', '-y', '--no-install-recommends', 'redis-server'])
  const path = onPath('redis-server')
  if (path !== undefined) return { path }
  const failed = install.code === 0 ? update : install
  const lastLine = failed.output.trim().split('\n').at(-1) ?? ''
  return { missing: `redis-server is not on PATH and apt-get could not install it (${lastLine}). ${remedy}` }
}

async function findOrInstall(): Promise<RedisBinary> {
  const { [BINARY_VARIABLE]: given, [MISSING_VARIABLE]: missing } = process.env
  if (given) return { path: given }
  if (missing) return { missing }
  const path = onPath('redis-server') || onPath('valkey-server')
  if (path !== undefined) return { path }
  const apt = process.platform === 'linux' ? onPath('apt-get') : undefined
  if (apt === undefined) return { missing: `redis-server is not on PATH. ${remedy}` }
  if (process.getuid?.() !== 0) {
    return { missing: `redis-server is not on PATH and only root may install it. ${remedy}` }
  }
  return installWithApt(apt)
}

let found: Promise<RedisBinary> | undefined

/**
 * The path of a redis-server: `LIFEGUARD_REDIS_SERVER`, else on PATH, else installed with apt-get where that is
 * possible without a question (Linux with apt-get, as root). Never rejects; looks once per process.
 */
export function ensureRedisBinary(): Promise<RedisBinary> {
  found ??= findOrInstall()
  return found
}
