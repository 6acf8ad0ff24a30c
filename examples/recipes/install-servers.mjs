import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/*
 * `node examples/recipes/install-servers.mjs`: on Debian, and as root, installs the servers of the recipes that are
 * missing; half a minute to three minutes for all of them. Elsewhere it names them, and the recipes of those servers
 * are skipped.
 */

/** Debian's package, and the program that tells whether it is there. */
const SERVERS = [
  ['postgresql', 'postgres'],
  ['mariadb-server', 'mariadbd'],
  ['openssh-server', 'sshd'],
  ['rabbitmq-server', 'rabbitmq-server'],
  ['chromium', 'chromium'],
]

const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : []
const places = [
  ...(process.env.PATH ?? '').split(':'),
  '/usr/sbin',
  ...versions.map(version => `/usr/lib/postgresql/${version}/bin`),
]
const isThere = program => places.some(place => place !== '' && existsSync(join(place, program)))
const missing = SERVERS.filter(([, program]) => !isThere(program)).map(([name]) => name)

function apt(...words) {
  // The packages would start their servers; the recipes start their own, on free ports.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  return spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', '-qq', ...words], { env, encoding: 'utf8' })
}

if (missing.length === 0) process.stdout.write('The servers of the recipes are there.\n')
else if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
  process.stdout.write(`Missing, so their recipes are skipped: ${missing.join(', ')}.\n`)
else {
  process.stdout.write(`Installing ${missing.join(', ')} …\n`)
  apt('update')
  const { status, stderr } = apt('install', '-y', '--no-install-recommends', ...missing)
  process.stdout.write(status === 0 ? 'Installed.\n' : `apt-get failed, so they are skipped: ${stderr}\n`)
}
