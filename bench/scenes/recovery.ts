import { setTimeout as delay } from 'node:timers/promises'
import { startRedis } from '../../test/support/redis-server.ts'
import { redisContender } from '../contenders/redis.ts'
import type { Scene } from './scene.ts'
import { quantile } from './timing.ts'

const EVERY_MILLIS = 2
const AWAY_MILLIS = 1000
const AFTERWARDS_MILLIS = 2500
/** Whoever waits longer for a GET does not call that served. */
const SERVED_MILLIS = 50

interface Request {
  readonly at: number
  millis?: number
  failed?: boolean
}

/** A request every two milliseconds, answered or not: nobody's requests wait for others. */
function requests(ask: () => Promise<unknown>): { readonly all: Request[]; stop(): Promise<void> } {
  const all: Request[] = []
  const open = new Set<Promise<void>>()
  let due = performance.now()
  const timer = setInterval(() => {
    for (const now = performance.now(); due <= now; due += EVERY_MILLIS) {
      const request: Request = { at: performance.now() }
      all.push(request)
      const outcome = ask()
        .catch(() => {
          request.failed = true
        })
        .then(() => {
          request.millis = performance.now() - request.at
          open.delete(outcome)
        })
      open.add(outcome)
    }
  }, EVERY_MILLIS)
  return {
    all,
    async stop() {
      clearInterval(timer)
      await Promise.race([Promise.all(open), delay(6000)])
    },
  }
}

/** The server is killed, and comes back a second later at the same address. */
const restart: Scene = {
  group: 'Redis restarts: 500 GETs a second, the server away for a second',
  contenders: [
    'one ioredis client',
    'generic-pool + ioredis, well done',
    'node-redis pool',
    'lifeguard-pool',
  ],
  base: 'generic-pool + ioredis, well done',
  rounds: 2,
  redis: true,
  patience: 30_000,
  async run(contender) {
    const first = await startRedis()
    const redis = await redisContender(contender, first.url)
    const { all, stop } = requests(() => redis.get('lifeguard-bench:value'))
    await delay(800)
    const gone = performance.now()
    await first.stop()
    await delay(AWAY_MILLIS)
    const second = await startRedis({ port: String(first.port) })
    const back = performance.now()
    await delay(AFTERWARDS_MILLIS)
    const over = performance.now()
    await stop()
    const bad = ({ failed, millis }: Request): boolean =>
      failed === true || millis === undefined || millis > SERVED_MILLIS
    const fine = all.filter(request => request.failed !== true && request.millis !== undefined)
    const firstAnswer = Math.min(
      ...fine.map(({ at, millis }) => at + (millis as number)).filter(at => at >= back),
    )
    const lastBad = Math.max(
      back,
      ...all.filter(request => request.at < over && bad(request)).map(({ at }) => at),
    )
    const failures = all.filter(request => request.failed === true || request.millis === undefined)
    await second.stop()
    return [
      { row: 'first answer after its return', unit: 'ms', value: firstAnswer - back },
      { row: `all served within ${SERVED_MILLIS} ms again after`, unit: 'ms', value: lastBad - back },
      { row: 'errors', unit: '', value: failures.length },
      {
        row: 'an error was told after, median',
        unit: 'ms',
        value: quantile(
          failures.flatMap(({ millis }) => millis ?? []),
          0.5,
        ),
      },
      {
        row: 'longest wait for an answer',
        unit: 'ms',
        value: Math.max(...fine.filter(({ at }) => at > gone - 100).map(({ millis }) => millis as number)),
      },
    ]
  },
}

export const SCENES: Readonly<Record<string, Scene>> = { 'Redis: restart': restart }
