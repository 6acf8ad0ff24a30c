import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startHangUpServer } from '../../test/support/hang-up-server.ts'
import { type RedisServer, startRedis } from '../../test/support/redis-server.ts'
import { connects, MAKERS, MAX, type Pooled } from '../contenders/faulty.ts'
import { versions } from '../contenders/pools.ts'
import { ROOT } from '../harness/results.ts'

/*
 * node .build/bench/studies/faults.js [--write-docs]: five pools under five faults of a real Redis, each in a process of
 * its own; writes the table of docs/comparison.md. About two minutes.
 */

type Facts = Readonly<Record<string, string>>
type Scene = (make: (port: () => number, max?: number) => Pooled) => Promise<Facts>

/** How many of these fail, and how long until the last has ended. */
async function outcome(tasks: readonly Promise<unknown>[]): Promise<{ failed: number; millis: number }> {
  const start = performance.now()
  const ends = await Promise.allSettled(tasks)
  const failed = ends.filter(({ status }) => status === 'rejected').length
  return {
    failed,
    millis: performance.now() - start,
  }
}

const askAll = (pool: Pooled, count: number): Promise<unknown>[] =>
  Array.from({ length: count }, () => pool.use(client => client.ask()))

/** As many idle connections as there may be. */
async function fill(pool: Pooled): Promise<void> {
  const clients = await Promise.all(Array.from({ length: MAX }, () => pool.acquire()))
  for (const client of clients) await pool.release(client)
  await delay(50)
}

async function withRedis(
  args: Record<string, string>,
  run: (server: RedisServer) => Promise<Facts>,
): Promise<Facts> {
  const server = await startRedis(args)
  try {
    return await run(server)
  } finally {
    await server.stop()
  }
}

const SCENES: Readonly<Record<string, Scene>> = {
  'server idle timeout': make =>
    withRedis({ timeout: '1' }, async ({ port }) => {
      const pool = make(() => port)
      await fill(pool)
      await delay(3500)
      const { failed } = await outcome(askAll(pool, MAX))
      return { 'idle limit of the server: failed of 5': `${failed}` }
    }),

  'blocked loop': make =>
    withRedis({}, async ({ port }) => {
      let lost = 0
      const rounds = 10
      for (let round = 0; round < rounds; round += 1) {
        const pool = make(() => port)
        await fill(pool)
        const admin = await make(() => port, 1).acquire()
        admin.socket.write('CLIENT KILL TYPE normal SKIPME yes\r\n')
        const end = performance.now() + 100
        while (performance.now() < end);
        const { failed } = await outcome(askAll(pool, MAX))
        lost += failed
        admin.close()
      }
      return { 'blocked event loop: failed of 50': `${lost}` }
    }),

  'nested acquires': make =>
    withRedis({}, async ({ port }) => {
      const pool = make(() => port, 2)
      const task = (): Promise<void> =>
        pool.use(async outer => {
          await outer.ask()
          await pool.use(inner => inner.ask())
        })
      const { failed, millis } = await outcome([task(), task()])
      const known = `${failed}`
      return {
        'nested acquires: failed of 2, after': `${known}, ${Math.round(millis)} ms`,
      }
    }),

  restart: make =>
    withRedis({}, async first => {
      const pool = make(() => first.port)
      await fill(pool)
      const asks: Promise<unknown>[] = []
      let servedAt = 0
      let failed = 0
      let back = Number.POSITIVE_INFINITY
      const started = connects.count
      const ticks = setInterval(() => {
        asks.push(
          pool
            .use(client => client.ask())
            .then(
              () => {
                if (servedAt === 0 && performance.now() > back) servedAt = performance.now()
              },
              () => {
                failed += 1
              },
            ),
        )
      }, 10)
      await delay(300)
      await first.stop()
      await delay(1000)
      const dials = connects.count - started
      const second = await startRedis({ port: String(first.port) })
      back = performance.now()
      await delay(1500)
      clearInterval(ticks)
      await Promise.all(asks)
      await second.stop()
      return {
        'restart: failed': `${failed} of ${asks.length}`,
        'restart: connects tried': `${dials}`,
        'restart: served again after': servedAt === 0 ? 'never' : `${Math.round(servedAt - back)} ms`,
      }
    }),

  'hang-up': async make => {
    const server = await startHangUpServer(() => 'at once')
    const pool = make(() => server.port)
    const before = connects.count
    const { failed, millis } = await outcome(askAll(pool, 10))
    const rate = ((connects.count - before) / millis) * 1000
    await server.stop()
    return {
      'hang-up: failed of 10, after': `${failed}, ${Math.round(millis)} ms`,
      'hang-up: connects tried a second': `${Math.round(rate)}`,
    }
  },
}

const COLUMNS = Object.keys(MAKERS)
const LIMIT_MILLIS = 30_000

async function inProcess(scene: string, contender: string): Promise<Facts> {
  const args = [fileURLToPath(import.meta.url), '--one', scene, contender]
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      timeout: LIMIT_MILLIS,
      killSignal: 'SIGKILL',
    })
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  } catch (error) {
    const { killed, stderr = '' } = error as { killed?: boolean; stderr?: string }
    const line = stderr.split('\n').find(each => /Error/.test(each)) ?? ''
    return { [`${scene}:`]: killed ? 'hangs' : `the process ends: ${line.slice(0, 80)}` }
  }
}

async function table(): Promise<string> {
  const rows = new Map<string, Map<string, string>>()
  for (const scene of Object.keys(SCENES))
    for (const contender of COLUMNS) {
      const facts = await inProcess(scene, contender)
      for (const [row, value] of Object.entries(facts)) {
        if (!rows.has(row)) rows.set(row, new Map())
        rows.get(row)?.set(contender, value)
      }
    }
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const body = [...rows].map(([row, cells]) => line([row, ...COLUMNS.map(name => cells.get(name) ?? '')]))
  const known = versions()
  const named = COLUMNS.slice(0, -1).map(name => `${name} ${known[name]}`)
  const where = `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.split(' ').slice(0, 2).join(' ')}`
  const date = new Date().toISOString().slice(0, 10)
  return [
    line(['', ...COLUMNS]),
    line(['---', ...COLUMNS.map(() => '---')]),
    ...body,
    '',
    `${named.join(', ')}; ${where}; ${date}.`,
  ].join('\n')
}

const [, , flag, scene = '', contender = ''] = process.argv
if (flag === '--one') {
  const maker = MAKERS[contender] as (typeof MAKERS)[string]
  const facts = await (SCENES[scene] as Scene)((port, max = MAX) => maker(port, max))
  process.stdout.write(`${JSON.stringify(facts)}\n`, () => process.exit(0))
} else {
  const made = await table()
  process.stdout.write(`${made}\n`)
  if (flag === '--write-docs') {
    const file = join(ROOT, 'docs/comparison.md')
    const page = readFileSync(file, 'utf8')
    writeFileSync(
      file,
      page.replace(
        /(<!-- bench:faults -->\n\n)[\s\S]*?(\n\n<!-- \/bench:faults -->)/,
        (_, a, b) => `${a}${made}${b}`,
      ),
    )
  }
}
