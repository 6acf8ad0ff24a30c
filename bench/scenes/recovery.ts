import { setTimeout as delay } from 'node:timers/promises'
import { startRedis } from '../../test/support/redis-server.ts'
import { redisContender } from '../contenders/redis.ts'
import { startLoad, within } from './outage-load.ts'
import type { Scene } from './scene.ts'
import { quantile } from './timing.ts'

const AFTERWARDS_MILLIS = 2500
/** Whoever waits longer for a GET does not call that served. */
const SERVED_MILLIS = 50
/** All is well again when it has been for so long. */
const CALM_MILLIS = 250

export const OUTAGE_CONTENDERS = [
  'one ioredis client',
  'generic-pool + ioredis, well done',
  'node-redis pool',
  'lifeguard-pool',
]
export const OUTAGE_BASE = 'generic-pool + ioredis, well done'

/** From when on nothing was bad for a while: what a busy machine does to a request much later is not the outage's. */
function wellAgain(back: number, bad: readonly number[]): number {
  let well = back
  for (const at of bad) if (at >= well && at < well + CALM_MILLIS) well = at
  return well
}

/** The server is killed, and comes back at the same address. */
const restart = (awayMillis: number): Scene => ({
  group: `Redis restarts: 500 GETs a second, the server away for ${awayMillis / 1000} s`,
  contenders: OUTAGE_CONTENDERS,
  base: OUTAGE_BASE,
  rounds: 2,
  redis: true,
  patience: 30_000,
  async run(contender) {
    const first = await startRedis()
    const redis = await redisContender(contender, first.url)
    const { requests: all, dials, stop } = startLoad(() => redis.get('lifeguard-bench:value'))
    await delay(800)
    await first.stop()
    const gone = performance.now()
    await delay(awayMillis)
    // From here on it may be there already: it listens before it is known to serve.
    const starting = performance.now()
    const second = await startRedis({ port: String(first.port) })
    const back = performance.now()
    await delay(AFTERWARDS_MILLIS)
    const over = performance.now()
    await stop()
    const hasFailed = ({ failed, millis }: (typeof all)[number]): boolean =>
      failed === true || millis === undefined
    const isBad = (request: (typeof all)[number]): boolean =>
      hasFailed(request) || (request.millis as number) > SERVED_MILLIS
    const fine = all.filter(request => !hasFailed(request))
    const answers = fine.map(({ at, millis }) => at + (millis as number)).filter(at => at >= back)
    const well = wellAgain(
      back,
      all.filter(each => each.at >= back - 100 && isBad(each)).map(({ at }) => at),
    )
    const failures = all.filter(hasFailed)
    await second.stop()
    return [
      { row: 'first answer after its return', unit: 'ms', value: Math.min(...answers) - back },
      { row: `all served within ${SERVED_MILLIS} ms again after`, unit: 'ms', value: well - back },
      // A command that had been sent by then may have run: its caller has to be told.
      {
        row: 'errors of those not in flight',
        unit: '',
        value: failures.filter(({ at }) => at >= gone).length,
      },
      { row: 'errors of those in flight', unit: '', value: failures.filter(({ at }) => at < gone).length },
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
      {
        row: 'connects tried a second, while it is away',
        unit: '/s',
        value: (within(dials, gone, starting) / (starting - gone)) * 1000,
      },
      { row: 'connects at its return', unit: '', value: within(dials, starting, over) },
    ]
  },
})

export const SCENES: Readonly<Record<string, Scene>> = {
  'Redis: restart': restart(1000),
  'Redis: restart, 2 s': restart(2000),
}
