import { cpus } from 'node:os'
import { Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis-5'
import { startRedis } from '../examples/support/redis-server.ts'
import { createRedisPool } from '../src/adapters/ioredis.ts'
import { createPool } from '../src/index.ts'

/*
 * node .build/bench/redis-loan.js [--rounds 9]      (after npm run compile)
 *
 * What the handle of a loan costs: a loan of a client with its handle beside a loan of the bare client from the same
 * core, and each kind of command by way of a handle beside the same client without. Server and client share a machine.
 * Both contenders run in turn in each round; medians over the rounds, in microseconds.
 */

type Client = Redis6

const at = process.argv.indexOf('--rounds')
const rounds = at < 0 ? 9 : Number(process.argv[at + 1])
const key = 'bench:redis-loan'

async function micros(count: number, run: (count: number) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run(count)
  return ((performance.now() - start) * 1000) / count
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number

/** Commands, each sent and awaited `count` times. */
const COMMANDS: Record<string, { count: number; run: (client: Client, count: number) => Promise<unknown> }> =
  {
    'GET, one after the other': {
      count: 5000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 1) await client.get(key)
      },
    },
    'GET, 100 at once': {
      count: 20_000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 100)
          await Promise.all(Array.from({ length: 100 }, () => client.get(key)))
      },
    },
    'GET in a pipeline of 100': {
      count: 30_000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 100) {
          const pipeline = client.pipeline()
          for (let command = 0; command < 100; command += 1) pipeline.get(key)
          await pipeline.exec()
        }
      },
    },
    'WATCH, MULTI, SET, EXEC': {
      count: 2000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 1) {
          await client.watch(key)
          await client.multi().set(key, sent).exec()
        }
      },
    },
    'CLIENT ID (a command that is looked at)': {
      count: 5000,
      run: async (client, count) => {
        for (let sent = 0; sent < count; sent += 1) await client.client('ID')
      },
    },
  }

interface Pair {
  readonly bare: number[]
  readonly handle: number[]
}

function row(what: string, { bare, handle }: Pair): string {
  const [without, beside] = [median(bare), median(handle)]
  return `${what.padEnd(44)}${without.toFixed(2).padStart(9)}${beside.toFixed(2).padStart(9)}${(beside - without).toFixed(2).padStart(9)}`
}

const server = await startRedis()
console.log(
  `node ${process.version}, ${cpus()[0]?.model.trim()}, Redis on loopback; µs, median of ${rounds} rounds`,
)
for (const [version, Redis] of [
  ['ioredis 5', Redis5 as unknown as typeof Redis6],
  ['ioredis 6', Redis6],
] as const) {
  const pool = createRedisPool(() => new Redis(server.url), { fifo: false })
  const bare = createPool(
    { create: async () => new Redis(server.url), destroy: async client => client.disconnect() },
    { fifo: false, validateAfterIdleMillis: 0 },
  )
  console.log(`\n${version.padEnd(44)}${'bare'.padStart(9)}${'handle'.padStart(9)}${'more'.padStart(9)}`)
  const loans: Pair = { bare: [], handle: [] }
  const uses: Pair = { bare: [], handle: [] }
  const lend = (from: typeof bare) => async (count: number) => {
    for (let loan = 0; loan < count; loan += 1) from.release(await from.acquire())
  }
  const use = (from: typeof bare) => async (count: number) => {
    for (let loan = 0; loan < count; loan += 1) await from.use(() => {})
  }
  for (let round = -1; round < rounds; round += 1) {
    const figures = [
      [loans.bare, await micros(100_000, lend(bare))],
      [loans.handle, await micros(100_000, lend(pool))],
      [uses.bare, await micros(100_000, use(bare))],
      [uses.handle, await micros(100_000, use(pool))],
    ] as const
    // The first round is for warming up.
    if (round >= 0) for (const [list, figure] of figures) list.push(figure)
  }
  console.log(row('loan: acquire and release', loans))
  console.log(row('loan: use', uses))
  const client = await bare.acquire()
  const handle = await pool.acquire()
  for (const [what, { count, run }] of Object.entries(COMMANDS)) {
    const pair: Pair = { bare: [], handle: [] }
    for (let round = -1; round < rounds; round += 1) {
      const without = await micros(count, count => run(client, count))
      const beside = await micros(count, count => run(handle, count))
      if (round >= 0) {
        pair.bare.push(without)
        pair.handle.push(beside)
      }
    }
    console.log(row(what, pair))
  }
  await Promise.all([pool.release(handle), bare.release(client)])
  await Promise.all([pool.close(), bare.close()])
}
await server.stop()
