import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/* Real servers of Debian, each with a folder, a port and an end of its own. */

export interface Server {
  readonly port: number
  readonly folder: string
  stop(): Promise<void>
}

/** Where Debian and others put programs that are not on the PATH of everybody. */
const PLACES = [
  ...(process.env.PATH ?? '').split(':'),
  '/usr/sbin',
  ...['17', '16', '15', '14'].map(version => `/usr/lib/postgresql/${version}/bin`),
  '/usr/lib/rabbitmq/bin',
]

/** The path of the first program that there is. */
export function find(...names: readonly string[]): string | undefined {
  for (const name of names) {
    const place = PLACES.find(folder => existsSync(join(folder, name)))
    if (place !== undefined) return join(place, name)
  }
  return undefined
}

const isRoot = process.getuid?.() === 0

/** Servers that refuse to run as root run as this user. */
function idsOf(user: string): { uid?: number; gid?: number } {
  if (!isRoot) return {}
  const id = (flag: string): number => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function makeFolder(user: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'recipe-'))
  const { uid, gid } = idsOf(user)
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
  chmodSync(folder, 0o755)
  return folder
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

const answers = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

interface Program {
  readonly command: string
  readonly words: readonly string[]
  readonly port: number
  readonly folder: string
  readonly user?: string
  readonly env?: NodeJS.ProcessEnv
  readonly seconds?: number
}

async function start({ command, words, port, folder, user, env, seconds = 30 }: Program): Promise<Server> {
  const told: string[] = []
  const child: ChildProcess = spawn(command, words, {
    ...(user === undefined ? {} : idsOf(user)),
    env: { ...process.env, ...env },
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.unref()
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', data => told.push(String(data)))
    ;(stream as Socket | null)?.unref()
  }
  // A test file that fails before its end leaves none behind.
  process.once('exit', () => child.kill('SIGKILL'))
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await gone
    clearTimeout(late)
    rmSync(folder, { recursive: true, force: true })
  }
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(100)) {
    if (await answers(port)) return { port, folder, stop }
    if (child.exitCode !== null) break
  }
  await stop()
  throw new Error(`${command} has not begun to listen:\n${told.join('')}`)
}

export async function startPostgres(): Promise<Server> {
  const folder = makeFolder('postgres')
  const data = join(folder, 'data')
  const password = join(folder, 'password')
  writeFileSync(password, 'secret\n')
  execFileSync(
    find('initdb') as string,
    ['-D', data, '-U', 'app', '-A', 'scram-sha-256', '--pwfile', password, '--no-sync'],
    { ...idsOf('postgres'), stdio: 'ignore', cwd: folder },
  )
  const port = await freePort()
  const words = [
    '-D',
    data,
    '-p',
    `${port}`,
    '-k',
    folder,
    '-c',
    'fsync=off',
    '-c',
    'listen_addresses=127.0.0.1',
  ]
  return start({ command: find('postgres') as string, words, port, folder, user: 'postgres' })
}

export async function startMariadb(): Promise<Server> {
  const folder = makeFolder('mysql')
  const data = join(folder, 'data')
  execFileSync(
    find('mariadb-install-db') as string,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { ...idsOf('mysql'), stdio: 'ignore', cwd: folder },
  )
  const init = join(folder, 'init.sql')
  writeFileSync(
    init,
    "CREATE DATABASE app;\nCREATE USER app@localhost IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO app@localhost;\n",
  )
  const port = await freePort()
  const words = [
    '--no-defaults',
    `--datadir=${data}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 'socket')}`,
    `--init-file=${init}`,
    '--innodb-buffer-pool-size=16M',
  ]
  return start({ command: find('mariadbd') as string, words, port, folder, user: 'mysql' })
}

/** @returns with the private key that it takes */
export async function startSshd(): Promise<Server & { readonly key: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'recipe-'))
  const [host, key] = [join(folder, 'host'), join(folder, 'key')]
  for (const file of [host, key])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file], { stdio: 'ignore' })
  const port = await freePort()
  const config = join(folder, 'config')
  writeFileSync(
    config,
    `ListenAddress 127.0.0.1
HostKey ${host}
AuthorizedKeysFile ${key}.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
MaxStartups 100
PermitRootLogin yes
Subsystem sftp internal-sftp
`,
  )
  if (isRoot) mkdirSync('/run/sshd', { recursive: true })
  const words = ['-D', '-e', '-f', config, '-p', `${port}`]
  return { ...(await start({ command: find('sshd') as string, words, port, folder })), key }
}

export async function startRabbit(): Promise<Server> {
  const folder = makeFolder('rabbitmq')
  const [port, distribution, mapper] = [await freePort(), await freePort(), await freePort()]
  const plugins = join(folder, 'plugins')
  writeFileSync(plugins, '[].\n')
  const env = {
    HOME: folder,
    RABBITMQ_NODENAME: `recipe${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: `${port}`,
    RABBITMQ_DIST_PORT: `${distribution}`,
    RABBITMQ_MNESIA_BASE: folder,
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_LOGS: '-',
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
    RABBITMQ_CONFIG_FILE: join(folder, 'none'),
    ERL_EPMD_PORT: `${mapper}`,
    ERL_EPMD_ADDRESS: '127.0.0.1',
  }
  const command = '/usr/lib/rabbitmq/bin/rabbitmq-server'
  const server = await start({ command, words: [], port, folder, user: 'rabbitmq', env, seconds: 60 })
  return {
    ...server,
    async stop() {
      await server.stop()
      const epmd = find('epmd')
      // Erlang starts it, and leaves it behind.
      if (epmd !== undefined)
        execFileSync(epmd, ['-port', `${mapper}`, '-kill'], {
          stdio: 'ignore',
          env: { ...process.env, ...env },
        })
    },
  }
}
