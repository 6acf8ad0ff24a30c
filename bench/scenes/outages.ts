import { setTimeout as delay } from 'node:timers/promises'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { type HangUp, startHangUpServer } from '../../test/support/hang-up-server.ts'
import { startRedis } from '../../test/support/redis-server.ts'
import { startStallingProxy } from '../../test/support/stalling-proxy.ts'
import { redisContender } from '../contenders/redis.ts'
import { countDials, eager, startLoad, within } from './outage-load.ts'
import { OUTAGE_BASE, OUTAGE_CONTENDERS } from './recovery.ts'
import type { Figure, Scene } from './scene.ts'
import { quantile } from './timing.ts'

const KEY = 'lifeguard-bench:value'
const common = { contenders: OUTAGE_CONTENDERS, base: OUTAGE_BASE, rounds: 1, redis: true, patience: 60_000 }

/** How long a promise takes, whichever way it ends; `most` if it does not in that time. */
async function took(promise: Promise<unknown>, most: number): Promise<{ millis: number; failed: boolean }> {
  const start = performance.now()
  const failed = await Promise.race([
    promise.then(
      () => false,
      () => true,
    ),
    delay(most, true),
  ])
  return { millis: performance.now() - start, failed }
}

const away: Scene = {
  ...common,
  group: 'Redis is away for 30 s, 500 GETs a second; from the sixth second on',
  async run(contender) {
    const server = await startRedis()
    const redis = await redisContender(contender, server.url)
    const load = startLoad(() => redis.get(KEY))
    await delay(500)
    await server.stop()
    const gone = performance.now()
    await delay(30_000)
    const over = performance.now()
    const late = load.requests.filter(({ at }) => at > gone + 6000 && at < over - 6000)
    const told = late.filter(({ failed }) => failed).map(({ millis }) => millis as number)
    return [
      { row: 'told that it is away', unit: '%', value: (told.length / late.length) * 100 },
      { row: 'told after, median', unit: 'ms', value: quantile(told, 0.5) },
      { row: 'told after, 99th percentile', unit: 'ms', value: quantile(told, 0.99) },
      {
        row: 'connects tried a second',
        unit: '/s',
        value: (within(load.dials, gone + 6000, over) / (over - gone - 6000)) * 1000,
      },
    ]
  },
}

const hangUp: Scene = {
  ...common,
  group: 'A server that accepts and hangs up, 30 eager callers, 2 s',
  async run(contender) {
    const figures: Figure[] = []
    for (const way of ['at once', 'at the first byte'] satisfies HangUp[]) {
      const server = await startHangUpServer(() => way)
      // Those that connect before anybody asks get no further; they go on trying all the same.
      const making = redisContender(contender, `redis://127.0.0.1:${server.port}`)
      const redis = await Promise.race([making.catch(() => undefined), delay(300, undefined)])
      const before = server.accepted
      if (redis === undefined) await delay(2000)
      else await eager(30, 2000, () => redis.get(KEY))
      figures.push({ row: `connects, hung up ${way}`, unit: '', value: server.accepted - before })
      await server.stop()
    }
    return figures
  },
}

const limited: Scene = {
  ...common,
  group: 'A Redis with room for 3 clients, 30 callers with 10 GETs each, max 10',
  async run(contender) {
    const server = await startRedis({ maxclients: '3' })
    const dials = countDials()
    let served = 0
    const start = performance.now()
    const redis = await redisContender(contender, server.url)
    const caller = async (): Promise<void> => {
      for (let call = 0; call < 10; call += 1) {
        const { failed } = await took(redis.get(KEY), 6000)
        if (!failed) served += 1
        await delay(20)
      }
    }
    await Promise.all(Array.from({ length: 30 }, caller))
    const millis = performance.now() - start
    dials.stop()
    await server.stop()
    return [
      { row: 'served, of 300', unit: '', value: served },
      { row: 'connects', unit: '', value: dials.at.length },
      { row: 'until all have been', unit: 'ms', value: millis },
    ]
  },
}

const silent: Scene = {
  ...common,
  group: '100 idle connections fall silent, new ones are answered; one caller',
  async run(contender) {
    const server = await startRedis()
    const proxy = await startStallingProxy(server.port)
    const redis = await redisContender(contender, `redis://127.0.0.1:${proxy.port}`, 100)
    // All at once, so that a pool has to have a hundred.
    await Promise.all(Array.from({ length: 100 }, () => redis.blpop('lifeguard-bench:nothing', 0.2)))
    await delay(1500)
    proxy.stall()
    const { millis, failed } = await took(redis.get(KEY), 10_000)
    await proxy.stop()
    await server.stop()
    return [{ row: failed ? 'given up after' : 'served after', unit: 'ms', value: millis }]
  },
}

const wrongPassword: Scene = {
  ...common,
  group: 'A wrong password, one caller after the other',
  async run(contender) {
    const server = await startRedis({ requirepass: 'right' })
    const dials = countDials()
    const url = server.url.replace('redis://', 'redis://:wrong@')
    const start = performance.now()
    const making = redisContender(contender, url)
    const ask = async (): Promise<unknown> => (await making).get(KEY)
    const first = await took(ask(), 6000)
    await eager(5, Math.max(5000 - (performance.now() - start), 1), ask)
    dials.stop()
    await server.stop()
    return [
      { row: 'told after', unit: 'ms', value: first.failed ? first.millis : Number.NaN },
      { row: 'logins in 5 s', unit: '', value: within(dials.at, start, start + 5000) },
    ]
  },
}

const min: Scene = {
  ...common,
  contenders: ['lifeguard-pool'],
  base: 'lifeguard-pool',
  group: 'min: 3, the server hangs up on one or two of the first three; 100 pools',
  async run() {
    let kept = 0
    const round = async (index: number): Promise<void> => {
      const bad = index % 2 === 0 ? [1 + (index % 3)] : [1 + (index % 3), 1 + ((index + 1) % 3)]
      const way = (['at once', 'after 5 ms', 'with a reset'] as const)[index % 3]
      const server = await startHangUpServer(connection => (bad.includes(connection) ? way : undefined))
      const pool = createSocketPool({ host: '127.0.0.1', port: server.port }, { min: 3, max: 5 })
      await delay(2000)
      if (pool.available === 3 && server.open.size === 3) kept += 1
      await pool.close()
      await server.stop()
    }
    await Promise.all(Array.from({ length: 100 }, (_, index) => round(index)))
    return [{ row: 'with 3 again within 2 s, of 100', unit: '', value: kept }]
  },
}

export const SCENES: Readonly<Record<string, Scene>> = {
  'outage: away': away,
  'outage: hang up': hangUp,
  'outage: limit': limited,
  'outage: silent': silent,
  'outage: wrong password': wrongPassword,
  'outage: min': min,
}
