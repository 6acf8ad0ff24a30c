/*
 * What `npm run test:dependents` runs: packages that depend on generic-pool, from the registry, with this package in its
 * place, at their own work. Each case is a program of its own in a temporary folder; arguments choose cases by a part of
 * their names. Real servers where the machine has them.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ChildOutput } from '../support/child-output.ts'
import { freePort } from '../support/free-port.ts'
import { packageRoot } from '../support/package-root.ts'
import { withRedis } from '../support/redis.ts'

const run = promisify(execFile)
const root = packageRoot()
const CASE_MILLIS = 90_000
/** A server that has not ended by then is killed. */
const STOP_MILLIS = 20_000

const DEPENDENTS = {
  '@dailydotdev/ts-ioredis-pool': '1.0.2',
  amqplib: '^0.10.9',
  'ioredis-conn-pool': '1.0.0',
  mssql: '4.3.9',
  mysql2: '^3.11.0',
  'node-cache-redis': '6.4.2',
  rascal: '21.0.1',
  redis: '4.7.1',
  sequelize: '4.44.4',
  'snowflake-sdk': '3.3.0',
}

/** Installs them, each with our package under the name generic-pool; ours alone has the real one. */
async function install(folder: string): Promise<void> {
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  })
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  const overrides = { 'generic-pool': { '.': `file:./${filename}`, 'generic-pool': '3.9.0' } }
  const manifest = { name: 'dependents', private: true, dependencies: DEPENDENTS, overrides }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: folder,
    timeout: 300_000,
  })
}

interface Mysql {
  readonly port: number
  /** Settles when its process has ended: until then it writes into its folder. */
  stop(): Promise<void>
}

/** A MariaDB of our own, if the machine has one. */
async function startMysql(folder: string): Promise<Mysql | undefined> {
  const data = join(folder, 'mysql')
  const settings = ['--no-defaults', `--datadir=${data}`]
  const user = process.geteuid?.() === 0 ? ['--user=root'] : []
  try {
    await run('mariadb-install-db', [...settings, ...user, '--auth-root-authentication-method=normal'], {
      timeout: 60_000,
    })
  } catch (error) {
    process.stdout.write(`No MariaDB, so sequelize works on doubles: ${String(error).split('\n')[0]}\n`)
    return undefined
  }
  const port = await freePort()
  const server = spawn(
    'mariadbd',
    [...settings, ...user, `--port=${port}`, '--bind-address=127.0.0.1', `--socket=${join(data, 's')}`],
    { stdio: 'ignore' },
  )
  const ended = new Promise<void>(resolve => {
    server.once('exit', () => resolve())
    server.once('error', () => resolve())
  })
  const stop = async (): Promise<void> => {
    server.kill()
    const limit = setTimeout(() => server.kill('SIGKILL'), STOP_MILLIS)
    await ended
    clearTimeout(limit)
  }
  for (let tries = 0; tries < 100; tries += 1) {
    const client = [
      '--no-defaults',
      `--socket=${join(data, 's')}`,
      '-u',
      'root',
      '-e',
      'CREATE DATABASE IF NOT EXISTS test',
    ]
    const isUp = await run('mariadb', client).then(
      () => true,
      () => false,
    )
    if (isUp) return { port, stop }
    await new Promise(done => setTimeout(done, 200))
  }
  await stop()
  return undefined
}

const PROGRAM = `
  require(process.argv[1])(JSON.parse(process.argv[2])).then(
    () => process.stdout.write('done'),
    error => { process.stderr.write(require('node:util').inspect(error)); process.exit(1) },
  )`

/** Runs one case; it has to end by itself, with all its connections closed. @returns what went wrong */
function failureOf(file: string, folder: string, servers: object): Promise<string | undefined> {
  return new Promise(resolve => {
    const given = ['-e', PROGRAM, file, JSON.stringify(servers)]
    const child: ChildProcess = spawn(process.execPath, given, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const output = new ChildOutput(child)
    const limit = setTimeout(() => child.kill('SIGKILL'), CASE_MILLIS)
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      const isDone = code === 0 && output.stdout.includes('done')
      resolve(isDone ? undefined : `${signal ?? `exit code ${code}`}\n${output.text}`)
    })
  })
}

const parts = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'lifeguard-dependents-'))
const redis = await withRedis()
let mysql: Mysql | undefined
let failed = 0
let passed = 0
try {
  await install(folder)
  mysql = await startMysql(folder)
  const cases = join(folder, 'cases')
  cpSync(join(root, 'test', 'dependents', 'cases'), cases, { recursive: true })
  const servers = {
    ...(redis.skip ? {} : { redisUrl: redis.url }),
    ...(mysql === undefined ? {} : { mysql: { port: mysql.port } }),
  }
  for (const name of readdirSync(cases).sort()) {
    if (parts.length > 0 && !parts.some(part => name.includes(part))) continue
    const failure = await failureOf(join(cases, name), folder, servers)
    if (failure === undefined) passed += 1
    else failed += 1
    process.stdout.write(failure === undefined ? `ok      ${name}\n` : `failed  ${name}: ${failure}\n`)
  }
} finally {
  await mysql?.stop()
  await redis.stop()
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
