import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { ChildOutput } from '../support/child-output.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/processes.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/*
 * What a new user does with the installed package, in the order of the documents: a service on Redis with metrics and an
 * orderly end, a service of generic-pool of which only the import is changed, a service of Next.
 */

const LIMIT_MILLIS = 180_000

/** A process, and what it has said so far. */
class Service {
  readonly child: ChildProcess
  readonly output: ChildOutput

  constructor(folder: string, words: readonly string[], env: Readonly<Record<string, string>>) {
    this.child = spawn(process.execPath, words, {
      cwd: folder,
      env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', ...env },
      timeout: LIMIT_MILLIS,
      killSignal: 'SIGKILL',
    })
    this.output = new ChildOutput(this.child)
  }

  async says(pattern: RegExp): Promise<string> {
    await until(() => pattern.test(this.output.text) || this.child.exitCode !== null, `${pattern}`)
    const found = pattern.exec(this.output.text)
    if (found === null) throw new Error(`it ended with ${this.child.exitCode}: ${this.output.text}`)
    return found[1] ?? found[0]
  }
}

function expect(what: string, is: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(is, wanted))
    throw new Error(`${what}: ${JSON.stringify(is)}, and not ${JSON.stringify(wanted)}`)
}

async function withRedis(run: (redis: RedisServer) => Promise<void>): Promise<void> {
  const redis = await startRedis()
  try {
    await run(redis)
  } finally {
    await redis.stop()
  }
}

const page = async (url: string): Promise<string> => {
  const response = await fetch(url)
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`)
  return text
}

const serveRedis = (folder: string): Promise<void> =>
  withRedis(async ({ url }) => {
    const service = new Service(folder, [join('path', 'redis-service.mjs')], { REDIS_URL: url })
    try {
      const at = `http://127.0.0.1:${await service.says(/^(\d+)\n/)}`
      const visits = await Promise.all(Array.from({ length: 20 }, () => page(`${at}/visits`)))
      expect('visits', Math.max(...visits.map(Number)), 20)
      expect('health', await page(`${at}/health`), 'PONG')
      const metrics = await page(`${at}/metrics`)
      if (!metrics.includes('visits')) throw new Error(`no metrics of the pool: ${metrics}`)
      service.child.kill('SIGTERM')
      expect('exit code', await service.output.ended, 0)
      await service.says(/drained/)
    } finally {
      service.child.kill('SIGKILL')
    }
  })

const migrate = (folder: string): Promise<void> =>
  withRedis(async ({ url }) => {
    const before = join('path', 'generic-pool-service.cjs')
    const after = join('path', 'migrated-service.cjs')
    const source = readFileSync(join(folder, before), 'utf8')
    const changed = source.replace("require('generic-pool')", "require('lifeguard-pool')")
    if (changed === source) throw new Error('the import was not found')
    writeFileSync(join(folder, after), changed)
    const said: unknown[] = []
    for (const file of [before, after]) {
      const service = new Service(folder, [file], { REDIS_URL: url })
      expect(`exit code of ${file}: ${service.output}`, await service.output.ended, 0)
      said.push(service.output)
    }
    expect('the migrated service says', said[1], said[0])
  })

const next = (folder: string): Promise<void> =>
  withRedis(async ({ url }) => {
    const cli = join(folder, 'node_modules', 'next', 'dist', 'bin', 'next')
    const site = join(folder, 'next')
    const env = { REDIS_URL: url }
    const build = new Service(site, [cli, 'build'], env)
    if ((await build.output.ended) !== 0) throw new Error(build.output.text)
    const port = await freePort()
    const service = new Service(site, [cli, 'start', '-p', String(port), '-H', '127.0.0.1'], env)
    try {
      await service.says(/Ready/)
      const facts = JSON.parse(await page(`http://127.0.0.1:${port}/pool`))
      expect('the route says', facts, { timeout: true, redis: 'PONG', reports: true, metrics: true })
      const html = await page(`http://127.0.0.1:${port}/`)
      if (!html.includes('the answer is 42')) throw new Error(html)
    } finally {
      service.child.kill('SIGKILL')
      await service.output.ended
    }
  })

/** By name: each gets the folder in which the package is installed. */
export const USER_PATH: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  'a service on Redis, with metrics and an orderly end': serveRedis,
  'a service of generic-pool, of which only the import is changed': migrate,
  next,
}
