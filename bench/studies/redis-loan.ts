import { cpus } from 'node:os'
import genericPool from 'generic-pool'
import { Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis-5'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { redisFactory } from '../../src/adapters/ioredis/open-redis-pool.ts'
import { HANDLES } from '../../src/connections/handles.ts'
import { createPool } from '../../src/index.ts'
import { startRedis } from '../../test/support/redis-server.ts'

/*
 * node .build/bench/studies/redis-loan.js [--rounds 15] [--only loan]      (after npm run compile)
 *
 * What the handle of a loan costs: a loan with it beside a loan of the same client from the same core without; a GET
 * by way of this pool beside one by way of generic-pool with plain ioredis clients; and each kind of command on a
 * handle beside the same on its client. The contenders run in turn in each round. CPU time of this process, user and
 * system, in microseconds: the least of the rounds, as whatever else the machine does can only add to it.
 */

type Client = Redis6

const option = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
const rounds = Number(option('rounds') ?? 15)
const only = option('only') ?? ''
const key = 'bench:redis-loan'

/** Does something so many times. */
type Task = (count: number) => Promise<unknown>

async function micros(count: number, task: Task): Promise<number> {
  const before = process.cpuUsage()
  await task(count)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

/** The least of the rounds for each of two tasks. */
async function compare(what: string, count: number, base: Task, ours: Task): Promise<void> {
  if (!what.includes(only)) return
  let [bare, own] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let round = 0; round < rounds; round += 1) {
    // Whoever comes second finds caches and heap as the first has left them.
    const isFirst = round % 2 === 0
    const first = await micros(count, isFirst ? base : ours)
    const second = await micros(count, isFirst ? ours : base)
    bare = Math.min(bare, isFirst ? first : second)
    own = Math.min(own, isFirst ? second : first)
  }
  const more = own - bare
  const share = `${more < 0 ? '' : '+'}${((more / bare) * 100).toFixed(1)} %`
  const cells = [bare.toFixed(2), own.toFixed(2), more.toFixed(2), share]
  console.log(what.padEnd(46) + cells.map(cell => cell.padStart(10)).join(''))
}

/** What every pool here has. */
interface AnyPool {
  acquire(): PromiseLike<Client>
  release(client: Client): unknown
  use(work: (client: Client) => Promise<unknown> | undefined): PromiseLike<unknown>
}

const loans =
  (pool: AnyPool): Task =>
  async count => {
    for (let loan = 0; loan < count; loan += 1) pool.release(await pool.acquire())
  }

const uses =
  (pool: AnyPool): Task =>
  async count => {
    for (let loan = 0; loan < count; loan += 1) await pool.use(() => undefined)
  }

/** So many callers at a time, each with a client of its own. */
const gets =
  (pool: AnyPool, callers: number): Task =>
  async count => {
    const caller = async () => {
      for (let got = 0; got < count / callers; got += 1) await pool.use(client => client.get(key))
    }
    await Promise.all(Array.from({ length: callers }, caller))
  }

/** Commands, each sent and awaited `count` times. */
const COMMANDS: Record<string, { count: number; run: (client: Client, count: number) => Promise<unknown> }> =
  {
    'GET, one after the other': {
      count: 3000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 1) await client.get(key)
      },
    },
    'GET, 100 at once': {
      count: 10_000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 100)
          await Promise.all(Array.from({ length: 100 }, () => client.get(key)))
      },
    },
    'GET in a pipeline of 100': {
      count: 20_000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 100) {
          const pipeline = client.pipeline()
          for (let command = 0; command < 100; command += 1) pipeline.get(key)
          await pipeline.exec()
        }
      },
    },
    'WATCH, MULTI, SET, EXEC': {
      count: 1500,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 1) {
          await client.watch(key)
          await client.multi().set(key, sent).exec()
        }
      },
    },
    'CLIENT ID (a command that is looked at)': {
      count: 3000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 1) await client.client('ID')
      },
    },
  }

const server = await startRedis()
console.log(
  `node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}, Redis on loopback; µs of CPU time, least of ${rounds} rounds`,
)
const heading = (what: string, base: string, ours: string): void =>
  console.log(`\n${what.padEnd(46)}${[base, ours, 'more', ''].map(cell => cell.padStart(10)).join('')}`)

for (const [version, Redis] of [
  ['ioredis 5', Redis5 as unknown as typeof Redis6],
  ['ioredis 6', Redis6],
] as const) {
  const options = { fifo: false, max: 10 }
  const make = () => new Redis(server.url)
  const pool = createRedisPool(make, options)
  const withoutHandles = { ...redisFactory(make), [HANDLES]: undefined }
  const core = createPool(withoutHandles, { ...options, validateAfterIdleMillis: 500 })
  const generic = genericPool.createPool(
    { create: async () => make(), destroy: async client => client.disconnect() },
    options,
  )
  heading(version, 'core', 'handle')
  await compare('loan: acquire and release', 50_000, loans(core), loans(pool))
  await compare('loan: use', 50_000, uses(core), uses(pool))
  heading('', 'generic', 'ours')
  await compare('loan: acquire and release, beside generic-pool', 50_000, loans(generic), loans(pool))
  await compare('use and GET, one caller', 3000, gets(generic, 1), gets(pool, 1))
  await compare('use and GET, 10 callers', 10_000, gets(generic, 10), gets(pool, 10))
  heading('', 'client', 'handle')
  const client = await core.acquire()
  const handle = await pool.acquire()
  for (const [what, { count, run }] of Object.entries(COMMANDS))
    await compare(
      what,
      count,
      count => run(client, count),
      count => run(handle, count),
    )
  await Promise.all([pool.release(handle), core.release(client)])
  await Promise.all([pool.close(), core.close(), generic.drain().then(() => generic.clear())])
}
await server.stop()
