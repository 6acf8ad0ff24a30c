import { IOREDIS_LENDERS, REDIS, type RedisContender, redisContender } from '../contenders/redis.ts'
import type { Figure, Scene } from './scene.ts'
import { callers, cpuMicros, perOperation, quantile, turn } from './timing.ts'

const KEY = 'lifeguard-bench:value'
const BASE = 'generic-pool + ioredis'
/** V8 takes its time with the code of a client and a pool: in the first two seconds it makes each over again. */
const WARM_UP_MILLIS = 2000
const MEASURED_MILLIS = 600
const url = (): string => process.env.BENCH_REDIS ?? 'redis://127.0.0.1:6379'

/** Callers in a loop for a while: how many are answered, what each costs this process, how long each waits. */
async function load(
  title: string,
  count: number,
  ask: (caller: number) => Promise<unknown>,
  measuredMillis = MEASURED_MILLIS,
  warmUpMillis = WARM_UP_MILLIS,
): Promise<Figure[]> {
  const start = performance.now() + warmUpMillis
  const end = start + measuredMillis
  const waits: number[] = []
  let cpu = 0
  const loop = async (caller: number): Promise<void> => {
    for (let now = performance.now(); now < end; ) {
      await ask(caller)
      const asked = now
      now = performance.now()
      if (asked < start) cpu = cpuMicros()
      else waits.push((now - asked) * 1000)
    }
  }
  await callers(count, loop)
  const used = cpuMicros() - cpu
  return [
    { row: `${title}: answers`, unit: '/s', value: (waits.length * 1000) / measuredMillis },
    { row: `${title}: CPU of the client`, unit: 'µs', value: used / waits.length },
    { row: `${title}: p50`, unit: 'µs', value: quantile(waits, 0.5) },
    { row: `${title}: p99`, unit: 'µs', value: quantile(waits, 0.99) },
  ]
}

/** GETs of twenty callers while five others wait for a job that does not come. */
async function besideBlpop(redis: RedisContender): Promise<Figure[]> {
  let over = false
  const workers = callers(5, async worker => {
    while (!over) await redis.blpop(`lifeguard-bench:none:${worker}`, 0.1)
  })
  const figures = await load('GET, 20 callers, beside 5 in BLPOP', 20, () => redis.get(KEY), 1200)
  over = true
  await workers
  return figures.filter(({ row }) => !row.includes('CPU'))
}

type Ask = (redis: RedisContender) => Promise<Figure[]>

function endToEnd(rounds: number, ask: Ask, contenders = REDIS): Scene {
  return {
    group: 'Redis, end to end, max 10',
    contenders,
    base: BASE,
    rounds,
    redis: true,
    run: async contender => ask(await redisContender(contender, url())),
  }
}

/** Read, and written only if nobody else has: nothing for a connection that is shared. */
const transactions: Ask = redis => {
  const transact = async (caller: number): Promise<unknown> =>
    redis.transaction?.(`lifeguard-bench:account:${caller}`)
  // The most code of all scenes, run the least often: V8 is done with it later.
  return load('WATCH, GET, MULTI, SET, EXEC, 20 callers', 20, transact, MEASURED_MILLIS, 2 * WARM_UP_MILLIS)
}

/** What lending a client costs when nothing is done with it: the handle, the taint watch, the half-close check. */
const loans: Scene = {
  group: 'Redis, a loan without a command',
  contenders: IOREDIS_LENDERS,
  base: BASE,
  rounds: 3,
  redis: true,
  async run(contender) {
    const redis = await redisContender(contender, url())
    const figures: Figure[] = []
    for (const [row, lend] of [
      ['acquire+release, 1 worker, a turn of the loop every 20', redis.loan],
      ['use, 1 worker, a turn of the loop every 20', redis.use],
    ] as const) {
      if (lend === undefined) continue
      const cost = await perOperation(async count => {
        for (let done = 0; done < count; done += 1) {
          await lend()
          if (done % 20 === 0) await turn()
        }
      })
      figures.push({ row, unit: 'ns', ...cost })
    }
    return figures
  },
}

export const SCENES: Readonly<Record<string, Scene>> = {
  'Redis: GET, 50 callers': {
    ...endToEnd(3, redis => load('GET, 50 callers', 50, () => redis.get(KEY))),
    quickRounds: 2,
  },
  'Redis: GET, 10 callers': endToEnd(3, redis => load('GET, 10 callers', 10, () => redis.get(KEY))),
  'Redis: transactions': endToEnd(3, transactions, REDIS.slice(1)),
  'Redis: beside BLPOP': endToEnd(3, besideBlpop),
  'Redis: loans': loans,
}
