import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from './embedded-redis.ts'
import { freePort } from './free-port.ts'
import { guardChild, guardedDirectory } from './orphan-guard.ts'
import { addressOf, ping, type RedisAddress } from './ping.ts'
import { ensureRedisBinary } from './redis-binary.ts'

export { ensureRedisBinary } from './redis-binary.ts'

/**
 * Directives of redis.conf; an array repeats one. A value is written as it is, so quote what needs quotes. `port`
 * asks for that port instead of a free one, for instance to come back where an earlier server was.
 */
export type RedisArguments = Record<string, string | readonly string[]>

export interface RedisServerOptions {
  /** Listen on a Unix socket in the server's directory, too; its path is in `unixsocket`. */
  unixsocket?: boolean
  /** Listen with TLS instead of plain TCP. PEM texts; client certificates are not asked for. */
  tls?: { key: string; cert: string }
  /** How long the server may take until it answers. Default 10000 ms. */
  startTimeoutMillis?: number
}

export interface RedisServer {
  host: string
  port: number
  /** `redis://host:port`, or `rediss:` with TLS. */
  url: string
  unixsocket: string | undefined
  pid: number
  child: ChildProcess
  /** Ends the server by its process id and waits until it has exited. May be called again. */
  stop(): Promise<void>
}

const host = '127.0.0.1'

function configuration(dir: string, port: number, args: RedisArguments, options: RedisServerOptions): string {
  const directives: RedisArguments = {
    bind: host,
    port: String(port),
    save: '""',
    appendonly: 'no',
    daemonize: 'no',
    dir: `"${dir}"`,
  }
  if (options.unixsocket) directives.unixsocket = `"${join(dir, 'redis.sock')}"`
  if (options.tls) {
    writeFileSync(join(dir, 'key.pem'), options.tls.key, { mode: 0o600 })
    writeFileSync(join(dir, 'cert.pem'), options.tls.cert)
    Object.assign(directives, {
      port: '0',
      'tls-port': String(port),
      'tls-key-file': `"${join(dir, 'key.pem')}"`,
      'tls-cert-file': `"${join(dir, 'cert.pem')}"`,
      // Its own authority, for servers that talk to each other.
      'tls-ca-cert-file': `"${join(dir, 'cert.pem')}"`,
      'tls-auth-clients': 'no',
    })
  }
  // The port is in the directives: with TLS under another name.
  const { port: _, ...others } = args
  return Object.entries({ ...directives, ...others })
    .flatMap(([name, value]) => (typeof value === 'string' ? [value] : value).map(one => `${name} ${one}\n`))
    .join('')
}

/** Waits until *this* child serves: another server on the same port would answer PING as well, so its log counts. */
async function untilServing(child: ChildProcess, log: string, address: RedisAddress, millis: number) {
  const deadline = performance.now() + millis
  while (child.exitCode === null && child.signalCode === null) {
    if (performance.now() > deadline) return false
    if (readFileSync(log, 'utf8').includes('Ready to accept connections')) {
      const answer = await ping(address).catch(() => '')
      if (answer !== '' && !answer.startsWith('-LOADING')) return true
    }
    await delay(5)
  }
  return false
}

function started(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('spawn', () => resolve(child.pid as number))
  })
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  // A running server does not hold this process, but its end is waited for.
  child.ref()
  // Nothing of the server is to be kept, and a server stopped with SIGSTOP would not heed a gentler signal.
  child.kill('SIGKILL')
  await exited
}

async function attempt(binary: string, args: RedisArguments, options: RedisServerOptions) {
  const dir = mkdtempSync(join(guardedDirectory(), 'server-'))
  const port = typeof args.port === 'string' ? Number(args.port) : await freePort()
  const config = join(dir, 'redis.conf')
  const log = join(dir, 'redis.log')
  writeFileSync(config, configuration(dir, port, args, options))
  // A file and no pipe: the caller may count its own file descriptors.
  const output = openSync(log, 'a')
  const child = spawn(binary, [config], { stdio: ['ignore', output, output] })
  closeSync(output)
  const stop = async () => {
    await stopChild(child)
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const pid = await started(child)
    guardChild(child)
    const tls = options.tls !== undefined
    if (await untilServing(child, log, { host, port, tls }, options.startTimeoutMillis ?? 10_000)) {
      const unixsocket = options.unixsocket ? join(dir, 'redis.sock') : undefined
      const url = `${tls ? 'rediss' : 'redis'}://${host}:${port}`
      child.unref()
      return { host, port, url, unixsocket, pid, child, stop } satisfies RedisServer
    }
  } catch (error) {
    await stop().catch(() => {})
    throw error
  }
  const said = readFileSync(log, 'utf8').trim()
  await stop()
  return said
}

/**
 * Starts a redis-server of its own on a free port of 127.0.0.1, without persistence, in a temporary directory, and
 * resolves once it answers PING. It ends with `stop()`, or with this process. Rejects when there is no binary or the
 * server refuses its arguments; the message then has the end of its log.
 */
export async function startRedis(
  args: RedisArguments = {},
  options: RedisServerOptions = {},
): Promise<RedisServer> {
  const binary = await ensureRedisBinary()
  if ('missing' in binary) throw new Error(binary.missing)
  let said = ''
  for (let attempts = 0; attempts < 5; attempts++) {
    const outcome = await attempt(binary.path, args, options)
    if (typeof outcome !== 'string') return outcome
    said = outcome
    // Between the search for a free port and the server's bind, another process may have taken it.
    if (!said.includes('in use')) break
  }
  throw new Error(`redis-server did not start: ${said.split('\n').slice(-5).join(' | ')}`)
}

/** A Redis server for a demonstration, and in words which one it is. */
export interface FoundRedis {
  url: string
  how: string
  /** False for the embedded stand-in. */
  real: boolean
  stop(): Promise<void>
}

/** Does the server take the name, the password and the database of this URL? */
async function login(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  let said: Error | undefined
  client.on('error', error => {
    said ??= error
  })
  try {
    await client.connect()
    // ioredis goes on with database 0 where it cannot select the one that was asked for.
    await client.select(client.options.db ?? 0)
  } catch (error) {
    throw said ?? error
  } finally {
    client.disconnect()
  }
}

/** `REDIS_URL` if set, else a redis-server started for the purpose, else the embedded stand-in. */
export async function findRedis(): Promise<FoundRedis> {
  const url = process.env.REDIS_URL
  if (url) {
    // The URL may hold a password; the messages name the host only.
    const shown = url.startsWith('/') ? url : (url.match(/^\w+:\/\/(?:[^/]*@)?([^/?]+)/)?.[1] ?? 'that URL')
    try {
      await ping(addressOf(url))
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : cause
      throw new Error(
        `REDIS_URL is set, but no Redis answers at ${shown} (${reason}). Start that server, or unset REDIS_URL.`,
        { cause },
      )
    }
    try {
      await login(url)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : cause
      throw new Error(
        `REDIS_URL is set, but the Redis at ${shown} refuses what it asks for (${reason}). Correct the name, the password ` +
          'or the database in it, or unset REDIS_URL.',
        { cause },
      )
    }
    return { url, how: `the server at ${shown} (REDIS_URL)`, real: true, stop: async () => {} }
  }
  const binary = await ensureRedisBinary()
  if ('path' in binary) {
    const server = await startRedis()
    const how = `a redis-server started for this run (${binary.path}, port ${server.port})`
    return { url: server.url, how, real: true, stop: server.stop }
  }
  const embedded = await startEmbeddedRedis()
  const how = `the small stand-in built into this example, not a real Redis. ${binary.missing}`
  return { url: embedded.url, how, real: false, stop: embedded.stop }
}
